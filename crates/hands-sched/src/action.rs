//! What the scheduler knows about one action.

use std::sync::Arc;
use std::time::Duration;

use hands_types::{Attempt, Digest, InvocationId, WorkerId};

use crate::needs::Needs;

/// What the scheduler must know of an action to place it.
#[derive(Clone, Debug)]
pub struct ActionSpec {
    /// The group that shares fairly with other groups.
    pub invocation: InvocationId,
    /// REAPI's priority: lower is sooner, 0 is usual.
    pub priority: i32,
    /// What a worker must offer, and what the action takes of it. Equal ones may share one `Arc`.
    pub needs: Arc<Needs>,
    /// How long it is expected to run, from history. Longest first; the unknown ones come before the known.
    pub expected: Option<Duration>,
    /// Input root and layers, for locality: a worker that holds the most bytes of them is preferred.
    pub inputs: Vec<Tree>,
    /// Whether any attempt's result will do. False for `do_not_cache`: then only the current attempt's result counts.
    pub cacheable: bool,
    /// Whether it may be run again after an attempt was lost with its worker. False where an attempt may have had
    /// effects outside (host network, terminal) and no retry was asked for. Such an action is never leased ahead.
    pub rerun: bool,
    /// How long it may wait while no connected worker could ever take it; then it fails. None waits for ever.
    pub queue_timeout: Option<Duration>,
    /// Whether that time was asked for: it is waited for even where nobody else comes.
    pub asked_to_wait: bool,
}

/// A directory tree in the store and how much it would cost to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The root's digest.
    pub digest: Digest,
    /// Bytes of all files beneath it, as far as known. Trees below 1 MiB do not count for locality.
    pub bytes: u64,
}

/// A lease that a hub granted before it was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The worker that has it.
    pub worker: WorkerId,
    /// Its number.
    pub attempt: Attempt,
    /// How long, from now, the worker has to come back with it.
    pub lease: Duration,
}
