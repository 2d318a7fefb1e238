//! Merkle trees, path rules, eviction policy (pure).
