//! What lists and explanations show. Nothing here changes the scheduler.

use std::fmt;
use std::time::Duration;

use hands_types::{Attempt, InvocationId, OperationId, Resources, SessionId, Time, WorkerId};

/// Where an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the queue.
    Queued,
    /// A worker has it and is expected back: its connection, or the hub, was gone.
    Away {
        /// The worker.
        worker: WorkerId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// A connected worker has the lease and has not said that it started.
    Leased {
        /// The worker.
        worker: WorkerId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// A connected worker runs it.
    Running {
        /// The worker.
        worker: WorkerId,
        /// The lease's number.
        attempt: Attempt,
        /// Since when, on the hub's clock.
        since: Time,
    },
}

/// One operation that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationView {
    /// Its id.
    pub operation: OperationId,
    /// Its invocation.
    pub invocation: InvocationId,
    /// Its priority.
    pub priority: i32,
    /// Where it is.
    pub place: Place,
    /// The highest number of a lease so far; none before the first.
    pub attempt: Option<Attempt>,
    /// When it was submitted or restored.
    pub since: Time,
}

/// One worker session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerId,
    /// Its session.
    pub session: SessionId,
    /// The name that it offered.
    pub name: String,
    /// What it offered.
    pub offered: Resources,
    /// What is taken of it.
    pub used: Resources,
    /// Leases that count as running.
    pub n_running: usize,
    /// Leases handed out ahead.
    pub n_ahead: usize,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Whether it is connected; if not, it has leases and is expected back.
    pub connected: bool,
    /// When it last gave a sign of life.
    pub last_seen: Time,
}

/// Sums, kept up to date; cheap to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations in the queue.
    pub n_queued: usize,
    /// Operations with a lease.
    pub n_leased: usize,
    /// Connected workers.
    pub n_workers: usize,
}

/// Why a queued operation waits. Its `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// No worker is connected.
    NoWorkers,
    /// No connected worker could ever take it.
    Unmet {
        /// What is unmet, such as `no worker offers arch=aarch64; 3 workers offer x86_64`.
        unmet: String,
    },
    /// All that could take it are busy.
    Busy {
        /// Workers that could take it.
        n_workers: usize,
        /// Queued actions of the same needs, without this one.
        n_others: usize,
    },
    /// It has a lease and the worker is away.
    Away {
        /// The name of the worker, or its id.
        worker: String,
        /// How long until it is queued again.
        remaining: Duration,
    },
    /// A worker has the lease and has not started it yet.
    Preparing {
        /// The name of the worker.
        worker: String,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        match self {
            Self::NoWorkers => f.write_str("waiting: no worker is connected"),
            Self::Unmet { unmet } => write!(f, "waiting: {unmet}"),
            Self::Busy { n_workers, n_others } => write!(
                f,
                "waiting: the {n_workers} worker{} that could take it {} busy; {n_others} other action{} of its kind {} queued",
                s(*n_workers),
                if *n_workers == 1 { "is" } else { "are" },
                s(*n_others),
                if *n_others == 1 { "is" } else { "are" },
            ),
            Self::Away { worker, remaining } => write!(
                f,
                "waiting: worker {worker} has it and is not connected; it is queued again in {} s",
                remaining.as_secs()
            ),
            Self::Preparing { worker } => {
                write!(f, "worker {worker} has it and has not started it yet")
            }
        }
    }
}
