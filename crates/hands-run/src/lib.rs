//! The front-ends `run`, `batch` and `shell`, and the commands by which people ask about actions.
//!
//! Turns what a person typed into actions, shows what comes back, and decides the exit code. Talks to the cluster
//! through `hands-client` alone; reads no configuration and no environment (the caller hands them in); prints through
//! `hands_front::Out` alone. Everything here ends with the command that the person typed.
#![forbid(unsafe_code)]

mod again;
pub mod args;
mod batch;
mod engine;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hints;
mod image;
mod jobs;
mod quote;
mod report;
mod run;
mod shell;
mod streams;
mod tty;

#[cfg(test)]
mod tests;

pub use batch::batch;
pub use jobs::{attach, cancel, drain, fetch, logs, ps, status, wait, why, workers};
pub use run::run;
pub use shell::shell;
