//! What the tests share: an ordinary container's limits on one process tree, a small fuzzer, and gRPC messages as bytes.
#![forbid(unsafe_code)]

pub mod confine;
pub mod mutate;
#[cfg(feature = "grpc")]
pub mod raw;
