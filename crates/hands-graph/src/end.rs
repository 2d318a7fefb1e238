//! What the end of a job means for the others.

use std::cmp::Reverse;

use crate::config::OnFailure;
use crate::effect::{Effect, SkipReason};
use crate::graph::Graph;
use crate::job::{JobId, JobState};

impl Graph {
    pub(crate) fn done(&mut self, job: JobId) {
        if !self.ended(job, JobState::Done) {
            return;
        }
        for at in std::mem::take(&mut self.jobs[job.index()].dependants) {
            // One that was skipped meanwhile waits for nothing.
            let JobState::Waiting { missing } = self.jobs[at as usize].state else { continue };
            if missing > 1 {
                self.put(at, JobState::Waiting { missing: missing - 1 });
            } else {
                self.put(at, JobState::Ready);
                self.ready.push((self.jobs[at as usize].path, Reverse(at)));
            }
        }
    }

    pub(crate) fn failed(&mut self, job: JobId, out: &mut Vec<Effect>) {
        if !self.ended(job, JobState::Failed) {
            return;
        }
        self.skip_dependants(job, SkipReason::Needs(job), out);
        if self.config.on_failure == OnFailure::Stop {
            self.stop(SkipReason::Stopped(job), out);
        }
    }

    pub(crate) fn cancelled(&mut self, job: JobId, out: &mut Vec<Effect>) {
        if self.ended(job, JobState::Cancelled) {
            self.skip_dependants(job, SkipReason::Cancelled(job), out);
        }
    }

    pub(crate) fn cancel(&mut self, job: JobId, out: &mut Vec<Effect>) {
        match self.jobs.get(job.index()).map(|job| job.state) {
            Some(JobState::Waiting { .. } | JobState::Ready) => {
                let reason = SkipReason::Cancelled(job);
                self.put(job.0, JobState::Skipped(reason));
                out.push(Effect::Skip { job, reason });
                self.skip_dependants(job, reason, out);
            }
            Some(JobState::Out { cancelling: false }) => {
                self.put(job.0, JobState::Out { cancelling: true });
                out.push(Effect::Cancel { job });
            }
            Some(
                JobState::Out { cancelling: true }
                | JobState::Done
                | JobState::Failed
                | JobState::Cancelled
                | JobState::Skipped(_),
            )
            | None => {}
        }
    }

    /// Skips all that was not submitted and cancels all that was. Only the first reason counts.
    pub(crate) fn stop(&mut self, reason: SkipReason, out: &mut Vec<Effect>) {
        if self.stopped.is_some() {
            return;
        }
        self.stopped = Some(reason);
        self.ready.clear();
        for (job, at) in (0..).zip(0..self.jobs.len()) {
            let job = JobId(job);
            match self.jobs[at].state {
                JobState::Waiting { .. } | JobState::Ready => {
                    self.put(job.0, JobState::Skipped(reason));
                    self.jobs[at].dependants = Vec::new();
                    out.push(Effect::Skip { job, reason });
                }
                JobState::Out { cancelling: false } => self.cancel(job, out),
                JobState::Out { cancelling: true }
                | JobState::Done
                | JobState::Failed
                | JobState::Cancelled
                | JobState::Skipped(_) => {}
            }
        }
    }

    /// Whether the job was out, so that this is its end.
    fn ended(&mut self, job: JobId, state: JobState) -> bool {
        let is_out =
            self.jobs.get(job.index()).is_some_and(|job| matches!(job.state, JobState::Out { .. }));
        if is_out {
            self.put(job.0, state);
        }
        is_out
    }

    /// Skips all that waits for this job, nearest first. Each job is skipped once in its life, so that all of them cost
    /// what there are edges.
    fn skip_dependants(&mut self, job: JobId, reason: SkipReason, out: &mut Vec<Effect>) {
        let mut queue = std::mem::take(&mut self.jobs[job.index()].dependants);
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            if self.jobs[at as usize].is_open() {
                self.put(at, JobState::Skipped(reason));
                out.push(Effect::Skip { job: JobId(at), reason });
                queue.append(&mut self.jobs[at as usize].dependants);
            }
        }
    }
}
