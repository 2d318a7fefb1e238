//! The hub's scheduler (pure).
