//! Leases actions from a hub and executes them: the asynchronous shell around `hands-slots`.
//!
//! One task owns the slot machine, the attempts and the session ([`core`]); tasks of its own fetch, run and upload, and tell
//! it how that ended. It dials the hub, never the reverse, and dials again by itself for ever; what runs goes on
//! meanwhile, and the streams are kept until the hub has acknowledged the result.
//!
//! What it must never do: run what was not leased, hand out a slot twice, say that an action has ended while a process of
//! it lives. It stops by [`Worker::drain`], gently, or by [`Worker::stop`] and by being dropped, which kills what runs.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod attempt;
mod config;
mod core;
mod doubts;
mod error;
mod fetch;
mod host_root;
mod isolation;
mod link;
mod metrics;
mod offer;
mod output;
mod outputs;
mod parts;
mod place;
mod report;
mod room;
mod run;
mod seed;
mod spool;
mod worker;

pub use crate::config::{IsolationChoice, PROTOCOL, WorkerConfig};
pub use crate::error::WorkerError;
pub use crate::isolation::Level;
pub use crate::worker::Worker;

#[cfg(test)]
mod tests;
