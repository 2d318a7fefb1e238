//! What a graph wants done.

use crate::job::JobId;

/// What the caller must do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start this job. It is out until an [`Input`](crate::Input) tells its end.
    Submit {
        /// The job.
        job: JobId,
    },
    /// This job will never be submitted: tell those who wait for it.
    Skip {
        /// The job.
        job: JobId,
        /// Why.
        reason: SkipReason,
    },
    /// End this job, which is out. It stays out until its end is told, whichever it is.
    Cancel {
        /// The job.
        job: JobId,
    },
}

/// Why a job is skipped. Where a job of the same graph is the reason, it is the one that failed or was cancelled itself,
/// not one between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It waits, directly or not, for this job, which failed.
    Needs(JobId),
    /// It waits, directly or not, for this job, which was cancelled; or it is this job.
    Cancelled(JobId),
    /// This job failed, and the graph stops at the first failure.
    Stopped(JobId),
    /// Everything was cancelled.
    CancelledAll,
}
