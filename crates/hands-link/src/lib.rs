//! Addresses, listeners and connections.
