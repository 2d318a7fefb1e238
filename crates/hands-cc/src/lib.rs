//! The front-end `cc`: a C or C++ compile as an action, and a cache of them.
//!
//! A compile's own process ([`client`]) hands its command line to the agent and waits; the work is done by a part of the
//! agent ([`CcPart`]). Whatever this crate can't do rightly is a [`Reason`], and the compiler then runs where it was called:
//! a build must never fail, and no object ever differ, because of us.
#![forbid(unsafe_code)]

mod action;
pub mod client;
mod closure;
mod command;
mod compiler;
mod dependencies;
mod elf;
mod known;
mod loader;
mod options;
mod part;
mod place;
mod reason;
mod response;
mod stats;
mod text;
mod toolchain;
mod wire;

#[cfg(test)]
mod tests;

pub use part::{CcPart, FindTarget};
pub use reason::Reason;
pub use stats::Stats;
pub use wire::PART;
