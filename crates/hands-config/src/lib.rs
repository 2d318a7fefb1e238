//! Files, environment and flags.
