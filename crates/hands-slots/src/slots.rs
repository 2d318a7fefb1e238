//! The state machine.

use hands_types::{Attempt, OperationId, Resources, Time};

use crate::{Effect, Input, LeaseId};

/// What the worker has.
#[derive(Clone, Debug)]
pub struct SlotsConfig {
    /// Commands that may run at the same time.
    pub slots: u32,
    /// Cpus, memory (0: not counted) and counters.
    pub resources: Resources,
    /// Leases whose inputs may be fetched at the same time.
    pub fetches: u32,
}

/// Where a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits until its inputs may be fetched.
    Waiting,
    /// Inputs are being fetched.
    Fetching,
    /// Waits for a slot.
    Ready,
    /// The command runs.
    Running {
        /// Where.
        slot: u32,
    },
    /// Outputs are being uploaded.
    Uploading,
    /// The result waits for the hub's acknowledgement.
    Finished,
    /// Cancelled; the command is being killed.
    Killing {
        /// Where.
        slot: u32,
    },
}

/// One lease, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Which.
    pub lease: LeaseId,
    /// Where it is.
    pub stage: Stage,
}

/// A worker's leases and slots.
#[derive(Debug)]
pub struct Slots {
    config: SlotsConfig,
}

impl Slots {
    /// A worker without leases and without a session.
    pub const fn new(config: SlotsConfig) -> Self {
        Self { config }
    }

    /// Takes one input and appends what is to be done to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        unimplemented!("{now:?} {input:?} {out:?} {:?}", self.config)
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// What the first message of a session names: all leases that are worked on or whose results are not acknowledged.
    pub fn held(&self) -> Vec<(OperationId, Attempt)> {
        Vec::new()
    }

    /// All leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = LeaseView> {
        std::iter::empty()
    }

    /// Whether it is being drained.
    pub const fn draining(&self) -> bool {
        false
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {}
}
