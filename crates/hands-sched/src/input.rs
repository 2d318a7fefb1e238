//! What the hub tells the scheduler.

use std::time::Duration;

use hands_types::{Attempt, Digest, OperationId, SessionId, WorkerId};

use crate::action::{ActionSpec, Held};
use crate::offer::Offer;

/// What happened. Late, duplicate and unknown inputs are normal and never an error. Every input of a session is a sign
/// of life of its worker.
#[derive(Clone, Debug)]
pub enum Input {
    /// A worker connected, for the first time or again. An older session of the same worker ends by this.
    SessionOpened(Box<Opening>),
    /// The connection of a session was lost or closed. Its leases live on until they run out, in case the worker comes
    /// back. A hub that saw the worker leave for good (it was drained and said goodbye) sends this too.
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// A sign of life.
    Heartbeat {
        /// The session.
        session: SessionId,
    },
    /// The worker takes nothing new from now on; it finishes what runs and hands back the rest.
    Draining {
        /// The session.
        session: SessionId,
    },
    /// Which trees the worker's store holds; replaces what was said before. The latest used first: only the first
    /// [`Scheduler::MAX_HELD`](crate::Scheduler::MAX_HELD) count. The trees of what it ran are added by the core itself.
    Holds {
        /// The session.
        session: SessionId,
        /// Root digests of input roots and layers.
        trees: Vec<Digest>,
    },
    /// A new operation. One that is known already is ignored.
    Submit {
        /// Its id, never used before.
        operation: OperationId,
        /// What it is.
        spec: ActionSpec,
    },
    /// After a restart of the hub, before the first session opens: an operation from the hub's table. The hub keeps there
    /// what [`Effect::Lease`](crate::Effect::Lease) (before the lease is sent), `Adopted` and `Requeued` say.
    Restore {
        /// Its id.
        operation: OperationId,
        /// What it is.
        spec: ActionSpec,
        /// The highest number of a lease so far; none before the first. Numbers are never used again.
        attempt: Option<Attempt>,
        /// The lease that was out, as far as the table knows; none for one that was queued.
        held: Option<Held>,
    },
    /// Nobody wants the operation any more.
    Cancel {
        /// The operation.
        operation: OperationId,
    },
    /// The operation must not be run again from now on, nor a second time beside itself: somebody joined it who wants that.
    RunOnce {
        /// The operation.
        operation: OperationId,
    },
    /// An attempt's command was started.
    Started {
        /// Who says so.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// An attempt has a result, whatever it is: an exit code, a deadline, an input that is missing. Answered at once by
    /// [`Effect::Accept`](crate::Effect::Accept) or [`Effect::Refuse`](crate::Effect::Refuse).
    Finished {
        /// Who says so.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// The worker hands a lease back without a result and without having started the command.
    Rejected {
        /// Who says so.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
        /// Why.
        reason: RejectReason,
    },
    /// The hub itself was away for so long: its process stood still, or its machine did not let it run. What workers said
    /// meanwhile has not been heard yet, so that nobody's silence counts. To be said before anything else is once it is
    /// back.
    Late {
        /// How long.
        by: Duration,
    },
    /// Time has passed; see [`Scheduler::next_deadline`](crate::Scheduler::next_deadline).
    Tick,
}

/// A worker's first words in a session.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The new session.
    pub session: SessionId,
    /// The worker.
    pub worker: WorkerId,
    /// What it has.
    pub offer: Offer,
    /// How long its leases live without a sign of life: 10 s on fast links, 60 s on slow ones.
    pub lease: Duration,
    /// Whether what the worker does not name in `holds` was never received or never started by it. False for a process
    /// that was just started, and for one that gave up leases that had run out.
    pub resumes: bool,
    /// Attempts that it has and still works on, or whose results were not acknowledged. Those that are still wanted are
    /// answered by [`Effect::Adopted`](crate::Effect::Adopted), the others by
    /// [`Effect::CancelLease`](crate::Effect::CancelLease).
    pub holds: Vec<(OperationId, Attempt)>,
}

/// Why a worker hands a lease back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The worker is being drained.
    Draining,
    /// It was recalled, and had not been started.
    Recalled,
    /// This worker can't do it now, in words: out of file descriptors, disk full. The worker is left alone for a moment,
    /// and the action goes elsewhere if there is an elsewhere.
    Unable(String),
    /// It ran, and the hub had no room for what it made, in words. That is nobody's failure who has to do with it.
    NoRoom(String),
}
