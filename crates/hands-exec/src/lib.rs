//! One action on one machine: run it in a sandbox slot, stream what it writes, collect what it leaves.
//!
//! This crate gets paths of staged trees and hands back pieces of streams and a [`Ran`]; [`collect()`] then reads the declared
//! outputs out of the tree that the action left. It knows no hub, no protocol and no store: file contents go to an
//! [`OutputStore`]. It never decides what runs next, and it never follows a path that an action chose.
//!
//! Dropping the future of [`Executor::run`] kills the action; dropping the [`Executor`] ends all slots.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod collect;
mod command;
mod error;
mod executor;
mod expose;
mod outcome;
mod pool;
mod request;
mod run;
mod stdin;
mod streams;
mod terminal;
mod watch;

pub use crate::collect::{
    CollectError, Collection, Declared, DeclaredKind, LeftOut, LeftOutEntry, OutputItem,
    OutputKind, OutputSpec, OutputStore, Places, collect,
};
pub use crate::command::INSIDE_VARIABLE;
pub use crate::error::ExecError;
pub use crate::executor::{ExecConfig, Executor};
pub use crate::expose::{toolchain_variables, toolchains};
pub use crate::outcome::{ActionTree, End, Ran, Timings, Usage};
pub use crate::request::{
    Command, ControlEvent, ExecIo, ExecRequest, InputEvent, Piece, Stream, Terminal,
};
pub use hands_sandbox::{
    ExposedPath, InputRoot, Isolation, LauncherConfig, Layer, Limits, Network, Privilege,
    ROOT_INSIDE, Scratch, default_host_paths, probe,
};

#[cfg(test)]
mod tests;
