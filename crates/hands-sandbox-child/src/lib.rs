//! What runs between clone and exec: no allocation, no libc state.
