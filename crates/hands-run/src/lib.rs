//! The front-ends `run`, `batch` and `shell`, and the commands by which people ask about actions.
//!
//! Turns what a person typed into actions, shows what comes back, and decides the exit code. Talks to the cluster
//! through `hands-client` alone; reads no configuration and no environment (the caller hands them in); prints through
//! `Out` alone. Everything here ends with the command that the person typed.
#![forbid(unsafe_code)]

mod again;
pub mod args;
mod batch;
mod caller;
mod engine;
mod error;
mod follow;
mod front_end;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hints;
mod image;
mod jobs;
mod out;
mod quote;
mod report;
mod run;
mod shell;
mod signals;
mod spec;
mod stdio;
mod streams;
mod table;
pub mod terminal;
mod trace;
mod verdict;

#[cfg(test)]
mod tests;

pub use batch::batch;
pub use caller::Caller;
pub use error::{RunError, chain};
pub use front_end::{FrontEnd, bytes};
/// Foreign text, safe to print.
pub use hands_client::printable;
pub use jobs::{attach, cancel, drain, fetch, logs, ps, status, wait, why, workers};
pub use out::{Out, StdoutError, print_raw};
pub use quote::shell_quoted;
pub use run::run;
pub use shell::shell;
pub use stdio::Stdin;
pub use table::Table;
