//! The kit for front-ends: what each of them needs and none of them owns.
//!
//! Owns the flags that say what an action needs, the way to a person (printing, tables, times and sizes for the eye, the
//! terminal), signals, traces, and what a result means to whoever asked for it. Reads no configuration and no
//! environment: the caller hands them in. Knows no command: each belongs to a front-end above this crate.
#![forbid(unsafe_code)]

pub mod args;
mod behind;
mod caller;
mod error;
pub mod eye;
mod facts;
mod front_end;
mod live;
mod out;
mod quote;
mod signals;
pub mod spec;
pub mod stdio;
mod table;
pub mod terminal;
mod trace;
pub mod verdict;

#[cfg(test)]
mod tests;

pub use caller::Caller;
pub use error::{RunError, chain};
pub use facts::Facts;
pub use front_end::{Around, FrontEnd, Own};
/// Foreign text, safe to print.
pub use hands_client::printable;
pub use live::Live;
pub use out::{Out, StdoutError, print_raw};
pub use quote::shell_quoted;
pub use signals::{Caught, Signals};
pub use table::Table;
pub use trace::{Flight, Trace, traced};
pub use verdict::{End, Verdict};
