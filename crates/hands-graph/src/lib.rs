//! Jobs that wait for each other, as a pure state machine.
//!
//! [`Graph::add`] takes jobs, at the start and while it runs; [`Graph::step`] takes what became of a job. Both append
//! [`Effect`]s: which job to submit, to skip or to cancel. The core has no clock, no I/O and no randomness, and it never
//! sees what a job does: a job is a name, the names that it waits for and how long it is expected to take.
//!
//! What a caller may rely on:
//! - Every job that was added gets exactly one of [`Effect::Submit`] and [`Effect::Skip`], a submitted one after all
//!   jobs that it waits for are done.
//! - No more jobs are out at once than the [`GraphConfig`] allows, and none is held back while there is room.
//! - Of the jobs that may run, the one with the longest remaining path goes first, of equal ones the one added first.
//! - A job that waits, directly or not, for one that failed or was cancelled is skipped at once, and is told which one.
//!
//! Cost: `V` jobs with `E` edges take `O(V log V + E)` from the first `add` to the last end. A later `add` also costs the
//! jobs that have not ended and whose remaining path it makes longer. Paths are those of the graph as it was given: what
//! is skipped after a failure still counts in them.
//!
//! It stops by being dropped. Nothing of it is durable: a front-end that starts anew adds its jobs anew.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
#![warn(missing_docs)]

mod add;
mod check;
mod config;
mod cycle;
mod effect;
mod end;
mod error;
mod graph;
mod job;
mod path;

#[cfg(test)]
mod tests;

pub use config::{GraphConfig, OnFailure};
pub use effect::{Effect, SkipReason};
pub use error::AddError;
pub use graph::{Counts, Graph, Input};
pub use job::{JobId, JobSpec, JobState, OutputRef};
