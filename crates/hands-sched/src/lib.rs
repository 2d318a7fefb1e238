//! The hub's scheduler as a pure state machine.
//!
//! [`Scheduler::step`] is the whole interface for change: no clock, no randomness, no I/O, no async, no locks. The hub
//! turns sessions, submissions and timers into [`Input`]s and carries out [`Effect`]s; the simulator does the same with
//! a seeded source of chance. The core owns the queue, the leases and what each worker has free. It never sees an
//! action's content or result: merging equal actions, the action cache and durable rows are the hub's.
//!
//! What a caller may rely on:
//! - Every submitted or restored operation ends in exactly one of [`Effect::Accept`], [`Effect::Fail`] and
//!   [`Effect::Cancelled`]; after that the core has forgotten it.
//! - At most one [`Effect::Accept`] per operation. The hub acts on a worker's result only when the core accepted it.
//! - What a worker runs by the core's account never exceeds what it offered.
//! - An action is left in the queue only while no worker that could take it has room.
//!
//! It stops by being dropped: all that matters is in the hub's table, from which [`Input::Restore`] rebuilds it.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
#![warn(missing_docs)]

mod action;
mod check;
mod classes;
mod config;
mod effect;
mod explain;
mod id_table;
mod input;
mod late;
mod leases;
mod needs;
mod offer;
mod operations;
mod place;
mod queue;
mod scheduler;
mod seldom;
mod sessions;
mod slab;
mod state;
mod trees;
mod view;

#[cfg(test)]
mod tests;

pub use action::{ActionSpec, Held, Tree};
pub use config::SchedulerConfig;
pub use effect::{Effect, FailReason, RequeueReason};
pub use input::{Input, Opening, RejectReason};
pub use needs::{Needs, NeedsError};
pub use offer::Offer;
pub use scheduler::Scheduler;
pub use view::{Counts, OperationView, Place, Short, Waiting, WorkerView};
