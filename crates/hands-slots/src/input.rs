//! What the worker's shell tells the slot machine.

use std::time::Duration;

use hands_types::{Attempt, OperationId, Resources};

/// Names one lease. All messages about it carry both parts, so that a late one can't hit the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The operation.
    pub operation: OperationId,
    /// The lease's number.
    pub attempt: Attempt,
}

/// What the slot machine must know of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// What it takes while it runs. Counters that this worker does not have are not counted.
    pub resources: Resources,
    /// Whether its result may be accepted after its lease has run out. False for uncached actions: those are ended then,
    /// because another attempt has taken their place.
    pub outlives_lease: bool,
}

/// What happened. Late, duplicate and unknown inputs are ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// The first message of a session was sent, made at this moment from [`Slots::held`](crate::Slots::held) and
    /// [`Slots::resumes`](crate::Slots::resumes). What is said from now on comes after it, so there is no need to wait for
    /// the answer; finished results are reported again.
    SessionOpened {
        /// How long leases live without contact.
        lease: Duration,
    },
    /// The hub has answered the first message: it knows what this worker holds.
    Welcomed,
    /// The session was lost. Work goes on; what may not outlive its lease ends when that has run out.
    SessionLost,
    /// No hub is there: its machine says that nobody listens, or the hub's process stands still. What does not run gives
    /// nothing to others, and when it runs again it grants the leases that it knows anew; so they live on.
    HubAbsent,
    /// The hub grants a lease. Only meaningful in a session.
    Lease {
        /// Which.
        lease: LeaseId,
        /// What it takes.
        terms: LeaseTerms,
    },
    /// The hub cancels a lease: end it and forget it, its result included. It is not reported.
    Cancel {
        /// Which.
        lease: LeaseId,
    },
    /// The hub asks for a lease back if its command was not started.
    Recall {
        /// Which.
        lease: LeaseId,
    },
    /// The inputs are here and staged as far as that needs no slot.
    Fetched {
        /// Which.
        lease: LeaseId,
    },
    /// The command has ended, on its own, by its deadline or killed, and nothing of it is left: the slot is free.
    Ran {
        /// Which.
        lease: LeaseId,
    },
    /// The outputs are in the hub's store and the result is complete.
    Uploaded {
        /// Which.
        lease: LeaseId,
    },
    /// There is a result although the command did not run or its outputs could not be collected: an input that is
    /// missing from the store, a command that does not exist. It is reported as it is. Valid in every stage; in stage
    /// `Run` it says too that the slot is free.
    Concluded {
        /// Which.
        lease: LeaseId,
    },
    /// This worker can't do it, which is no fault of the action: out of descriptors, disk full. The lease is handed back;
    /// valid until there is a result. In stage `Run` it says too that the slot is free.
    Unable {
        /// Which.
        lease: LeaseId,
        /// Why, as a fragment of a sentence.
        reason: String,
    },
    /// The hub has the result for good.
    Acknowledged {
        /// Which.
        lease: LeaseId,
    },
    /// The hub does not want the result.
    Refused {
        /// Which.
        lease: LeaseId,
    },
    /// Take nothing new, hand back what was not started, finish the rest.
    Drain,
    /// The worker itself was away for so long: its process stood still, or its machine did not let it run. It could not
    /// have found its hub meanwhile, which knows what it has given to others. To be said before anything else is.
    Late {
        /// How long.
        by: Duration,
    },
    /// Time has passed; see [`Slots::next_deadline`](crate::Slots::next_deadline).
    Tick,
}
