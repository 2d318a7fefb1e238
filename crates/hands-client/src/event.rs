//! What happens to an action, in words that every front-end shares.

use bytes::Bytes;

use crate::JobResult;

/// Which of an action's streams. A terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happens to a job, in this order: `Queued` once, then any of the others, `Done` last.
#[derive(Clone, Debug)]
pub enum Event {
    /// The hub has the action, durably. It has this id.
    Queued {
        /// The operation's id.
        id: String,
    },
    /// It waits, and this is why: one sentence of the hub's.
    Waiting {
        /// The reason, printable.
        reason: String,
    },
    /// A worker runs it. May come again, when a worker was lost.
    Started {
        /// The worker's name, printable; empty where the engine does not tell.
        worker: String,
        /// The attempt's number; 0 where the engine does not tell.
        attempt: u32,
    },
    /// An attempt was lost with its worker, and the action is run again. Comes for each such attempt, also where it was lost
    /// before this program looked.
    Again {
        /// The attempt that was lost.
        lost: LostAttempt,
        /// The number of the attempt that runs now, or brought the result; 0 where the cluster does not know the action any
        /// more, so that it was submitted again.
        attempt: u32,
        /// The worker that has it, printable; may be empty.
        worker: String,
        /// Whether something that was handed out comes anew, from its first byte ([`crate::Job::restart`]).
        anew: bool,
    },
    /// An attempt was lost, and the action ends without the result of another. Comes just before the end for each such attempt
    /// that was not told.
    Lost {
        /// The attempt.
        lost: LostAttempt,
    },
    /// A piece of a stream; without [`crate::Logs::Live`] there are none.
    Output {
        /// Which stream.
        stream: JobStream,
        /// The attempt that wrote it; 0 where the engine does not tell.
        attempt: u32,
        /// The bytes as the action wrote them.
        data: Bytes,
    },
    /// The end. All output has come before.
    Done(Box<JobResult>),
}

/// An attempt that was lost with its worker, or given up by it. Its command may have been started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The worker's name, printable; may be empty.
    pub worker: String,
    /// Why, as a fragment of a sentence, printable; may be empty.
    pub reason: String,
    /// Its worker was not lost: the attempt was given up, or its result could not be used, as the reason says.
    pub given_up: bool,
    /// It was not lost: the other attempt, which was begun beside it because it took long, has ended first.
    pub overtaken: bool,
}

impl LostAttempt {
    /// One of which nobody says why.
    pub(crate) const fn unexplained(attempt: u32, worker: String) -> Self {
        Self { attempt, worker, reason: String::new(), given_up: false, overtaken: false }
    }
}
