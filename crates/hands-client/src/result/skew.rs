//! By how much a worker's clock differs from this machine's, as far as a result proves it.
//!
//! A worker has begun after this machine asked for the action, and was done before this machine had the answer. Where its
//! own times say otherwise, its clock is wrong by at least the difference. Times that are nearer than that can't be told
//! from right ones, and need no mending: what an action made is then older than the answer and younger than the question.

use std::time::SystemTime;

use hands_types::Mtime;
use prost_types::Timestamp;

use super::JobResult;

/// File systems stamp with a clock that ticks up to a hundred times a second.
const TICK: i128 = 10_000_000;

/// What to add to a worker's times, nanoseconds, and to those between which of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    add: i128,
    from: i128,
    to: i128,
}

impl Skew {
    /// The time of a file as this machine's clock had it. One from before the command began or after it ended was not made
    /// by it: it is the time of an input, or one that the command chose. To a worker whose clock is behind, all that was
    /// edited or mended here in the last hour is in the future.
    pub(crate) fn mend(self, mtime: Mtime) -> Mtime {
        let nanos = mtime.total_nanos();
        if self.add == 0 || !(self.from..=self.to).contains(&nanos) {
            return mtime;
        }
        // Beyond the year 2262 nobody compares.
        i64::try_from(nanos + self.add).map_or(mtime, Mtime::from_nanos)
    }
}

impl JobResult {
    /// How far the worker's clock is ahead of this machine's, nanoseconds; negative where it is behind. 0 where nothing
    /// proves a difference.
    pub fn clock_ahead(&self) -> i128 {
        -self.skew().add
    }

    pub(crate) fn skew(&self) -> Skew {
        let Some(metadata) = self.metadata().filter(|_| !self.cached) else {
            return Skew::default();
        };
        let of_worker = |time: &Option<Timestamp>| time.as_ref().map(nanos_of);
        let here = |time: Option<SystemTime>| time.map(|time| nanos_of(&Timestamp::from(time)));
        let began = of_worker(&metadata.worker_start_timestamp);
        let done = of_worker(&metadata.worker_completed_timestamp);
        let add = match (began, done, here(self.asked), here(self.answered)) {
            (_, Some(done), _, Some(answered)) if done > answered => answered - done,
            (Some(began), _, Some(asked), _) if began < asked => asked - began,
            _ => 0,
        };
        let from = of_worker(&metadata.execution_start_timestamp).or(began).unwrap_or_default();
        let to = of_worker(&metadata.execution_completed_timestamp).or(done).unwrap_or_default();
        Skew { add, from: from - TICK, to: to + TICK }
    }
}

fn nanos_of(time: &Timestamp) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}
