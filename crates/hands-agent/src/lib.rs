//! The per-user background process.
