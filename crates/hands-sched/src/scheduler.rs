//! The state machine.

use hands_types::{OperationId, Time};

use crate::{Counts, Effect, Input, OperationView, SchedulerConfig, Waiting, WorkerView};

/// The hub's queue, leases and account of what each worker has free.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
}

impl Scheduler {
    /// Trees that are remembered per worker for locality.
    pub const MAX_HELD: usize = 64;

    /// An empty queue without workers.
    pub const fn new(config: SchedulerConfig) -> Self {
        Self { config }
    }

    /// Takes one input and appends what is to be done to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        unimplemented!("{now:?} {input:?} {out:?} {:?}", self.config)
    }

    /// When [`Input::Tick`] is due at the latest; none while there is nothing to wait for.
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Why an operation does not run yet; none if it runs or is unknown.
    pub fn explain(&self, _now: Time, _operation: OperationId) -> Option<Waiting> {
        None
    }

    /// One operation; none once it has ended.
    pub fn operation(&self, _operation: OperationId) -> Option<OperationView> {
        None
    }

    /// All operations that have not ended, by id, that is by time.
    pub fn operations(&self) -> impl Iterator<Item = OperationView> {
        std::iter::empty()
    }

    /// All sessions that are connected or expected back.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        std::iter::empty()
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// Asserts every invariant. For tests: it costs as much as the queue is long.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {}
}
