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
    /// No worker is connected that takes actions.
    NoWorkers {
        /// Those that are connected and are being drained.
        n_drained: usize,
    },
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
        /// What one of them has too little of while it has a cpu to spare.
        short: Option<Short>,
    },
    /// It has a lease and the worker is away.
    Away {
        /// The name of the worker, or its id.
        worker: String,
        /// How long until the worker is given up.
        remaining: Duration,
        /// Whether it is queued again then; if not, it may have had effects and fails.
        again: bool,
    },
    /// A worker has the lease and room for it, and has not started it yet.
    Preparing {
        /// The name of the worker.
        worker: String,
    },
    /// A worker was given it ahead of the room for it.
    Ahead {
        /// The name of the worker.
        worker: String,
        /// Others that it was given ahead and starts before this one.
        n_before: usize,
        /// What it has too little of; none while it only has to start what is before.
        short: Option<Short>,
    },
}

/// What a worker has too little of for an action. Its `Display` goes on after the worker's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Short {
    /// Cpus, in thousandths.
    Cpu {
        /// What the action takes.
        wanted: u32,
        /// What is taken.
        used: u32,
        /// What there is.
        total: u32,
    },
    /// Bytes of memory.
    Memory {
        /// What the action takes.
        wanted: u64,
        /// What is taken.
        used: u64,
        /// What there is.
        total: u64,
    },
    /// A counter such as `gpu`.
    Counter {
        /// Its name.
        name: String,
        /// What the action takes.
        wanted: u32,
        /// What is taken.
        used: u32,
        /// What there is.
        total: u32,
    },
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = |millis: &u32| f64::from(*millis) / 1000.0;
        let mebibytes = |bytes: &u64| bytes.div_ceil(1 << 20);
        match self {
            Self::Cpu { wanted, used, total } => write!(
                f,
                "{} of {} cpus in use and it needs {}",
                cpus(used),
                cpus(total),
                cpus(wanted)
            ),
            Self::Memory { wanted, used, total } => write!(
                f,
                "{}M of {}M memory in use and it needs {}M",
                mebibytes(used),
                mebibytes(total),
                mebibytes(wanted)
            ),
            Self::Counter { name, wanted, used, total } => {
                let name = name.escape_debug();
                write!(f, "{used} of {total} {name} in use and it needs {wanted}")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        match self {
            Self::NoWorkers { n_drained: 0 } => f.write_str("waiting: no worker is connected"),
            Self::NoWorkers { n_drained: 1 } => {
                f.write_str("waiting: no worker is connected but one that is being drained")
            }
            Self::NoWorkers { n_drained } => {
                write!(f, "waiting: no worker is connected but {n_drained} that are being drained")
            }
            Self::Unmet { unmet } => write!(f, "waiting: {unmet}"),
            Self::Busy { n_workers, n_others, short } => {
                write!(f, "waiting: the {n_workers} worker{} that could take it ", s(*n_workers))?;
                match (short, *n_workers) {
                    (Some(short), 1) => write!(f, "has {short}")?,
                    (Some(short), _) => write!(f, "are short, the first with {short}")?,
                    (None, 1) => f.write_str("is busy")?,
                    (None, _) => f.write_str("are busy")?,
                }
                let are = if *n_others == 1 { "is" } else { "are" };
                write!(f, "; {n_others} other action{} of its kind {are} queued", s(*n_others))
            }
            Self::Away { worker, remaining, again } => {
                let then = if *again { "is queued again" } else { "fails" };
                write!(
                    f,
                    "waiting: worker {worker} has it and is not connected; if it does not come back, the action {then} in {} s",
                    remaining.as_secs()
                )
            }
            Self::Preparing { worker } => {
                write!(f, "waiting: worker {worker} has it and has not started it yet")
            }
            Self::Ahead { worker, n_before, short } => {
                write!(f, "waiting: worker {worker} has it ")?;
                match n_before {
                    0 => f.write_str("next")?,
                    n => write!(f, "after {n} other{}", s(*n))?,
                }
                match short {
                    Some(short) => write!(f, ", with {short}"),
                    None => Ok(()),
                }
            }
        }
    }
}
