//! What the scheduler wants done.

use std::fmt;
use std::sync::Arc;

use hands_types::{Attempt, OperationId, SessionId, WorkerId};

/// What the hub must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the lease to the worker.
    Lease {
        /// To whom.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// Fences late results.
        attempt: Attempt,
    },
    /// The worker brought this lease into its new session and it counts there: go on with it.
    Adopted {
        /// The new session.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// Tell the worker to end the attempt and forget it, its result included.
    CancelLease {
        /// To whom.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// Ask the worker to hand the lease back if it has not started it: another worker is idle. The worker answers by
    /// `Rejected` with `Recalled`, or not at all.
    Recall {
        /// To whom.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// The lease is void and the operation is queued again. The next lease has a higher number.
    Requeued {
        /// The operation.
        operation: OperationId,
        /// The lease that was lost.
        attempt: Attempt,
        /// Why.
        reason: RequeueReason,
        /// Whether its command was started, as far as anybody can know: it may have had effects.
        started: bool,
    },
    /// The lease is void, and another lease of the same operation goes on: it was given a second worker as a straggler.
    Lost {
        /// The operation.
        operation: OperationId,
        /// The lease that was lost.
        attempt: Attempt,
        /// Why.
        reason: RequeueReason,
        /// Whether its command was started, as far as anybody can know.
        started: bool,
    },
    /// This attempt's result is the operation's one result. Acknowledge it to the worker when it is durable. The core
    /// has forgotten the operation.
    Accept {
        /// Who brought it.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The lease's number.
        attempt: Attempt,
    },
    /// This result does not count: late, of an unknown operation or of a lease that the session does not hold. Tell the
    /// worker to forget it.
    Refuse {
        /// Who brought it.
        session: SessionId,
        /// The operation.
        operation: OperationId,
        /// The number it named.
        attempt: Attempt,
    },
    /// The operation ends without a result. The core has forgotten it.
    Fail {
        /// The operation.
        operation: OperationId,
        /// Why; its `Display` is the sentence for the user.
        reason: FailReason,
    },
    /// The operation ended by [`Input::Cancel`](crate::Input::Cancel). The core has forgotten it.
    Cancelled {
        /// The operation.
        operation: OperationId,
    },
    /// No connected worker can ever take this queued operation: tell those who wait.
    Waiting {
        /// The operation.
        operation: OperationId,
        /// The sentence, as [`Scheduler::explain`](crate::Scheduler::explain) gives it.
        explanation: Arc<str>,
    },
    /// Close this session's connection: it was replaced, its lease ran out in silence, or it is unknown. The worker will
    /// come back with a new one.
    CloseSession {
        /// The session.
        session: SessionId,
    },
}

/// Why a lease became void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequeueReason {
    /// The worker gave no sign of life for its lease's length.
    LeaseExpired {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker came back and no longer has it: its process was restarted, or the lease never reached it.
    NotHeld {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker handed it back.
    HandedBack {
        /// The worker.
        worker: WorkerId,
        /// What it said.
        reason: crate::RejectReason,
    },
}

/// Why an operation ends without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// Each of so many attempts was lost with its worker. Class infrastructure, no retry.
    Poisonous {
        /// Attempts lost.
        attempts: u32,
    },
    /// It was started so many times, and each time either its worker was lost or its result could not be used; not all of
    /// them were lost workers.
    NoResult {
        /// Starts that brought nothing.
        starts: u32,
        /// Why the last one was given up; none if it was lost with its worker.
        last: Option<String>,
    },
    /// No worker could take it for as long as it would wait. FAILED_PRECONDITION.
    NoWorker {
        /// Which property is unmet.
        explanation: String,
    },
    /// An attempt was lost or given up and may have had effects outside, so that it is not run again.
    NotRerunnable {
        /// The attempt that was lost.
        attempt: Attempt,
        /// The worker that had it.
        worker: WorkerId,
        /// Why the worker gave it up; none if it was lost with its worker.
        why: Option<String>,
    },
    /// Worker after worker handed it back.
    Rejected {
        /// How often.
        times: u32,
        /// What the last one said.
        last: String,
    },
    /// Too many different sets of needs are queued.
    TooManyClasses {
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisonous { attempts } => {
                write!(
                    f,
                    "the action is poisonous: {attempts} attempts were lost together with their workers"
                )
            }
            Self::NoResult { starts, last } => {
                let last = last.as_deref().unwrap_or("its worker was lost");
                write!(
                    f,
                    "the action was started {starts} times and brought no result, the last time because: {last}"
                )
            }
            Self::NoWorker { explanation } => f.write_str(explanation),
            Self::NotRerunnable { attempt, worker: _, why: None } => write!(
                f,
                "attempt {} was lost with its worker and may have had effects outside, so it is not run again; `--retry N` allows that",
                attempt.0
            ),
            Self::NotRerunnable { attempt, worker: _, why: Some(why) } => write!(
                f,
                "attempt {} was given up by its worker: {why}; it may have had effects outside, so it is not run again, and `--retry N` allows that",
                attempt.0
            ),
            Self::Rejected { times, last } => {
                write!(
                    f,
                    "{times} times a worker handed the action back, the last one because: {last}"
                )
            }
            Self::TooManyClasses { limit } => write!(
                f,
                "actions with more than {limit} different sets of platform properties and resources are queued at once"
            ),
        }
    }
}
