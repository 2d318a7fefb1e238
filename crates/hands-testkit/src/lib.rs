//! What the tests share: an ordinary container's limits on one process tree.
#![forbid(unsafe_code)]

pub mod confine;
