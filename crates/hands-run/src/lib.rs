//! The front-ends `run`, `batch` and `shell`, and the commands by which people ask about actions.
//!
//! Turns what a person typed into actions, shows what comes back, and decides the exit code. Talks to the cluster
//! through `hands-client` alone; reads no configuration and no environment (the caller hands them in); prints through
//! `Out` alone. Everything here ends with the command that the person typed.

pub mod args;
mod batch;
mod error;
mod quote;
mod signals;
mod streams;
mod out;
mod table;
pub mod terminal;

pub use error::{RunError, chain};
pub use quote::shell_quoted;
pub use out::{Closed, Out};
pub use table::Table;
