//! Submit, follow, fetch.
