//! Deterministic simulation of a whole cluster: one seed, one history.
//!
//! The real hub core and the real worker cores run against a model of everything else: connections that delay, break and
//! stay half open, workers that are killed or drained, a hub that is killed and restored from its durable table, clients
//! that cancel, inputs that were evicted. Each seed draws its own fault rates, so that some histories have none of a
//! kind. An independent audit watches what really happens; it shares no code with the cores.
//!
//! A failing seed is printed with the command that repeats it. Planted bugs ([`Bug`]) prove that the audit sees.
#![forbid(unsafe_code)]

mod audit;
mod faults;
mod hub;
mod pause;
mod rng;
mod work;
mod worker;
mod world;

pub use faults::Bug;
pub use rng::Rng;
pub use world::{Log, Outcome, run};

#[cfg(test)]
mod tests;
