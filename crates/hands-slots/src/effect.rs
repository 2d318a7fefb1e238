//! What the slot machine wants done.

use crate::input::LeaseId;

/// What the worker's shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fetch and stage the inputs; answer by `Fetched`, `Concluded` or `Unable`.
    Fetch {
        /// Which.
        lease: LeaseId,
    },
    /// Run the command in this slot; answer by `Ran` or `Concluded`, or by `Unable` if it could not be started.
    Run {
        /// Which.
        lease: LeaseId,
        /// The slot, from 0; nothing else runs in it.
        slot: u32,
    },
    /// Tell the hub that the command was started. Comes with `Run`, and again in a new session.
    Started {
        /// Which.
        lease: LeaseId,
    },
    /// Kill the running command; answer by `Ran` as usual.
    Kill {
        /// Which.
        lease: LeaseId,
    },
    /// Collect the outputs, upload what the hub misses and keep the result; answer by `Uploaded`, `Concluded` or `Unable`.
    /// May come without a session: the shell then waits for the hub and goes on.
    Upload {
        /// Which.
        lease: LeaseId,
    },
    /// Send the result to the hub. It may be asked for again in a later session.
    Report {
        /// Which.
        lease: LeaseId,
    },
    /// Tell the hub that the lease was not started and comes back.
    HandBack {
        /// Which.
        lease: LeaseId,
        /// Why.
        reason: HandBackReason,
    },
    /// Stop whatever is still done for this lease and drop all that was kept for it. The last effect of a lease. Answers
    /// to earlier effects that still come are ignored.
    Forget {
        /// Which.
        lease: LeaseId,
    },
    /// The worker was drained and nothing is left: say goodbye and leave. Comes once.
    Drained,
}

/// Why a lease is handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandBackReason {
    /// The worker is being drained.
    Draining,
    /// The hub asked for it.
    Recalled,
    /// This worker can't do it.
    Unable(String),
}
