//! One job.

use std::sync::Arc;
use std::time::Duration;

use crate::effect::SkipReason;

/// A job of one graph: its number in the order of adding, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub(crate) u32);

impl JobId {
    /// How many jobs were added before this one: its place in a vector that the caller keeps beside the graph.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A job as it is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSpec {
    /// The name by which other jobs wait for it; no other job of the graph has it.
    pub name: String,
    /// How long it is expected to take. At least a microsecond is counted, so that without any estimate the job with the
    /// most jobs behind it in a row goes first.
    pub expected: Duration,
    /// Names of jobs that must be done before, beside those in `inputs`.
    pub after: Vec<String>,
    /// Outputs of other jobs that it takes.
    pub inputs: Vec<OutputRef>,
    /// Names of its outputs, for the `inputs` of other jobs.
    pub outputs: Vec<String>,
}

/// An output of a job, by names. What stands behind the names is the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRef {
    /// The job that makes it.
    pub job: String,
    /// Which of its outputs.
    pub output: String,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for so many jobs.
    Waiting {
        /// How many of the jobs that it waits for are not done.
        missing: u32,
    },
    /// It may run as soon as there is room.
    Ready,
    /// It was submitted and has not ended.
    Out {
        /// Whether [`Effect::Cancel`](crate::Effect::Cancel) was said about it.
        cancelling: bool,
    },
    /// It ended well.
    Done,
    /// It ended badly.
    Failed,
    /// It was cancelled while it was out.
    Cancelled,
    /// It was never submitted and never will be.
    Skipped(SkipReason),
}

/// A job in the graph.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: Arc<str>,
    /// Microseconds, at least one.
    pub(crate) expected: u64,
    /// Microseconds of the longest way from its start to the end of the graph.
    pub(crate) path: u64,
    /// Its place in one order of all jobs in which each stands behind those that it waits for.
    pub(crate) rank: u32,
    pub(crate) state: JobState,
    /// What it waits for, each job once.
    pub(crate) after: Box<[u32]>,
    /// Jobs that wait for it. Emptied when it ends: then nobody waits any more.
    pub(crate) dependants: Vec<u32>,
    pub(crate) inputs: Box<[(u32, Box<str>)]>,
    pub(crate) outputs: Box<[Box<str>]>,
}

impl Job {
    /// Whether something can still become of it.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, JobState::Waiting { .. } | JobState::Ready | JobState::Out { .. })
    }
}
