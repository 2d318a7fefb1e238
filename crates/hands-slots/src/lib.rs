//! The worker's slot machine as a pure state machine.
//!
//! [`Slots::step`] decides what a worker does with its leases: `fetch → run in a slot → upload → report → forget`, while
//! the inputs of the next ones are fetched. It owns the slots and the account of cpus, memory and counters, and never
//! hands out more than there is. It never sees a path, a process or a byte: the shell performs its [`Effect`]s and says
//! how they ended by [`Input`]s.
//!
//! What a caller may rely on:
//! - For every lease that it took: effects come in the order of the stages, and the last one is [`Effect::Forget`].
//! - Between [`Effect::Run`] and [`Input::Ran`] the slot and the resources belong to that lease alone.
//! - A result is reported in every new session until it is acknowledged or refused.
//!
//! It stops by [`Input::Drain`], when [`Effect::Drained`] comes out.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
#![warn(missing_docs)]

mod effect;
mod input;
mod slots;

#[cfg(test)]
mod tests;

pub use effect::{Effect, HandBackReason};
pub use input::{Input, LeaseId, LeaseTerms};
pub use slots::{LeaseView, Slots, SlotsConfig, Stage};
