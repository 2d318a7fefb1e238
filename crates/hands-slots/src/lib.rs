//! The worker's slot machine (pure).
