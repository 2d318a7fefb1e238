//! What the tests share: an ordinary container's limits on one process tree, and a small fuzzer.
#![forbid(unsafe_code)]

pub mod confine;
pub mod mutate;
