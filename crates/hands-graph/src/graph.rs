//! The state machine: its table, its entrance for what became of jobs, and what can be read from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use crate::config::GraphConfig;
use crate::effect::{Effect, SkipReason};
use crate::job::{Job, JobId, JobState};

/// Jobs, and what is to happen to them next.
#[derive(Debug)]
pub struct Graph {
    pub(crate) config: GraphConfig,
    /// By number, that is in the order of adding.
    pub(crate) jobs: Vec<Job>,
    pub(crate) by_name: BTreeMap<Arc<str>, u32>,
    /// Jobs that may run, by what remains after them. One whose path has become longer has a second entry, which comes first;
    /// what is met of a job that is no longer ready is passed over.
    pub(crate) ready: BinaryHeap<(u64, Reverse<u32>)>,
    pub(crate) counts: Counts,
    /// Why nothing is submitted any more.
    pub(crate) stopped: Option<SkipReason>,
}

/// What became of a job, or what is wanted of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A job that was out ended well.
    Done {
        /// The job.
        job: JobId,
    },
    /// A job that was out ended badly.
    Failed {
        /// The job.
        job: JobId,
    },
    /// A job that was out was cancelled, by us or by others.
    Cancelled {
        /// The job.
        job: JobId,
    },
    /// Nobody wants this job any more: cancel it, or skip it where it was not submitted yet.
    Cancel {
        /// The job.
        job: JobId,
    },
    /// Nobody wants any job any more.
    CancelAll,
}

/// How many jobs there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that wait for others.
    pub n_waiting: usize,
    /// Those that may run as soon as there is room.
    pub n_ready: usize,
    /// Those that were submitted and have not ended.
    pub n_out: usize,
    /// Those that ended well.
    pub n_done: usize,
    /// Those that ended badly.
    pub n_failed: usize,
    /// Those that were cancelled while they were out.
    pub n_cancelled: usize,
    /// Those that are never submitted.
    pub n_skipped: usize,
}

impl Graph {
    /// A graph without jobs.
    pub const fn new(config: GraphConfig) -> Self {
        Self {
            config,
            jobs: Vec::new(),
            by_name: BTreeMap::new(),
            ready: BinaryHeap::new(),
            counts: Counts {
                n_waiting: 0,
                n_ready: 0,
                n_out: 0,
                n_done: 0,
                n_failed: 0,
                n_cancelled: 0,
                n_skipped: 0,
            },
            stopped: None,
        }
    }

    /// Takes one input and appends what is to be done to `out`. An end of a job that is not out says nothing: it is late
    /// or was told before.
    pub fn step(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Done { job } => self.done(job),
            Input::Failed { job } => self.failed(job, out),
            Input::Cancelled { job } => self.cancelled(job, out),
            Input::Cancel { job } => self.cancel(job, out),
            Input::CancelAll => self.stop(SkipReason::CancelledAll, out),
        }
        self.submit(out);
    }

    /// The job of this name.
    pub fn find(&self, name: &str) -> Option<JobId> {
        self.by_name.get(name).map(|at| JobId(*at))
    }

    /// A job's name.
    pub fn name(&self, job: JobId) -> &str {
        &self.jobs[job.index()].name
    }

    /// Where a job is.
    pub fn state(&self, job: JobId) -> JobState {
        self.jobs[job.index()].state
    }

    /// The longest way from this job's start to the end of the graph, by what jobs are expected to take.
    pub fn path(&self, job: JobId) -> Duration {
        Duration::from_micros(self.jobs[job.index()].path)
    }

    /// The outputs of other jobs that a job takes, in the order in which they were given.
    pub fn inputs(&self, job: JobId) -> impl Iterator<Item = (JobId, &str)> {
        self.jobs[job.index()].inputs.iter().map(|(of, output)| (JobId(*of), &**output))
    }

    /// How many jobs there are of each kind.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether every job has ended or was skipped. More may be added.
    pub const fn is_finished(&self) -> bool {
        self.counts.n_waiting + self.counts.n_ready + self.counts.n_out == 0
    }

    /// Hands out what may run, while there is room.
    pub(crate) fn submit(&mut self, out: &mut Vec<Effect>) {
        while self.config.limit.is_none_or(|limit| self.counts.n_out < limit.get()) {
            let Some((_, Reverse(at))) = self.ready.pop() else { return };
            let job = &self.jobs[at as usize];
            if job.state == JobState::Ready {
                self.put(at, JobState::Out { cancelling: false });
                out.push(Effect::Submit { job: JobId(at) });
            }
        }
    }

    /// Changes a job's state and keeps the counts.
    pub(crate) fn put(&mut self, at: u32, state: JobState) {
        let old = std::mem::replace(&mut self.jobs[at as usize].state, state);
        *self.counts.of(old) -= 1;
        *self.counts.of(state) += 1;
    }
}

impl Counts {
    pub(crate) const fn of(&mut self, state: JobState) -> &mut usize {
        match state {
            JobState::Waiting { .. } => &mut self.n_waiting,
            JobState::Ready => &mut self.n_ready,
            JobState::Out { .. } => &mut self.n_out,
            JobState::Done => &mut self.n_done,
            JobState::Failed => &mut self.n_failed,
            JobState::Cancelled => &mut self.n_cancelled,
            JobState::Skipped(_) => &mut self.n_skipped,
        }
    }
}
