//! Adding jobs: at the start, and while others run.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cycle;
use crate::effect::{Effect, SkipReason};
use crate::error::AddError;
use crate::graph::Graph;
use crate::job::{Job, JobId, JobSpec, JobState};

/// A new job whose names are numbers.
#[derive(Debug)]
pub(crate) struct Draft {
    expected: u64,
    pub(crate) after: Vec<u32>,
    inputs: Vec<(u32, Box<str>)>,
    outputs: Box<[Box<str>]>,
}

impl Graph {
    /// Adds jobs, which may wait for each other in any order and for jobs that were added before, and appends what is to
    /// be done to `out`. All of them are added or, with an error, none. They are numbered as they are given, on from the
    /// last job that was added. A job that waits for one that has failed, or that comes after the graph stopped, is skipped.
    pub fn add(&mut self, jobs: Vec<JobSpec>, out: &mut Vec<Effect>) -> Result<(), AddError> {
        let all = self.jobs.len().checked_add(jobs.len());
        all.and_then(|all| u32::try_from(all).ok()).ok_or(AddError::TooMany)?;
        let first_new = u32::try_from(self.jobs.len()).map_err(|_| AddError::TooMany)?;
        let names = self.names(&jobs, first_new)?;
        let drafts = self.drafts(&jobs, &names, first_new)?;
        let order = cycle::order(&drafts, first_new).map_err(|cycle| {
            let name = |at| jobs[(at - first_new) as usize].name.clone();
            AddError::Cycle(cycle.into_iter().map(name).collect())
        })?;
        self.insert(drafts, &names, &order, first_new);
        if self.by_name.is_empty() {
            self.by_name = names;
        } else {
            self.by_name.extend(names);
        }
        for at in &order {
            self.begin(*at, out);
        }
        self.lengthen(first_new, &order);
        let new = self.jobs[first_new as usize..].iter().zip(first_new..);
        let ready = new.filter(|(job, _)| job.state == JobState::Ready);
        self.ready.extend(ready.map(|(job, at)| (job.path, Reverse(at))));
        self.submit(out);
        Ok(())
    }

    fn names(&self, jobs: &[JobSpec], first_new: u32) -> Result<BTreeMap<Arc<str>, u32>, AddError> {
        let mut names = BTreeMap::new();
        for (at, job) in (first_new..).zip(jobs) {
            let twice = self.by_name.contains_key(job.name.as_str())
                || names.insert(Arc::from(job.name.as_str()), at).is_some();
            if twice {
                return Err(AddError::Twice(job.name.clone()));
            }
        }
        Ok(names)
    }

    /// Turns names into numbers.
    fn drafts(
        &self,
        jobs: &[JobSpec],
        names: &BTreeMap<Arc<str>, u32>,
        first_new: u32,
    ) -> Result<Vec<Draft>, AddError> {
        let find = |job: &JobSpec, name: &str| {
            let at = names.get(name).or_else(|| self.by_name.get(name)).copied();
            at.ok_or_else(|| AddError::NoJob { job: job.name.clone(), after: name.to_owned() })
        };
        let mut drafts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut after = Vec::with_capacity(job.after.len() + job.inputs.len());
            for name in &job.after {
                after.push(find(job, name)?);
            }
            let mut inputs = Vec::with_capacity(job.inputs.len());
            for input in &job.inputs {
                let of = find(job, &input.job)?;
                let output = input.output.as_str();
                let is_there = match of.checked_sub(first_new) {
                    None => self.jobs[of as usize].outputs.iter().any(|o| **o == *output),
                    Some(at) => jobs[at as usize].outputs.iter().any(|o| *o == output),
                };
                if !is_there {
                    return Err(AddError::NoOutput {
                        job: job.name.clone(),
                        of: input.job.clone(),
                        output: output.to_owned(),
                    });
                }
                after.push(of);
                inputs.push((of, Box::from(output)));
            }
            after.sort_unstable();
            after.dedup();
            let expected = u64::try_from(job.expected.as_micros()).unwrap_or(u64::MAX).max(1);
            drafts.push(Draft {
                expected,
                after,
                inputs,
                outputs: job.outputs.iter().map(|o| Box::from(o.as_str())).collect(),
            });
        }
        Ok(drafts)
    }

    fn insert(
        &mut self,
        drafts: Vec<Draft>,
        names: &BTreeMap<Arc<str>, u32>,
        order: &[u32],
        first_new: u32,
    ) {
        self.counts.n_waiting += drafts.len();
        self.jobs.extend(drafts.into_iter().map(|draft| Job {
            name: Arc::default(),
            expected: draft.expected,
            path: draft.expected,
            rank: 0,
            state: JobState::Waiting { missing: 0 },
            after: draft.after.into(),
            dependants: Vec::new(),
            inputs: draft.inputs.into(),
            outputs: draft.outputs,
        }));
        for (name, at) in names {
            self.jobs[*at as usize].name = Arc::clone(name);
        }
        for (rank, at) in (first_new..).zip(order) {
            self.jobs[*at as usize].rank = rank;
        }
    }

    /// What becomes of a new job at once. Those that it waits for were asked before.
    fn begin(&mut self, at: u32, out: &mut Vec<Effect>) {
        let mut missing = 0;
        let mut reason = None;
        for of in &self.jobs[at as usize].after {
            let because = match self.jobs[*of as usize].state {
                JobState::Done => None,
                JobState::Waiting { .. } | JobState::Ready | JobState::Out { .. } => {
                    missing += 1;
                    None
                }
                JobState::Failed => Some(SkipReason::Needs(JobId(*of))),
                JobState::Cancelled => Some(SkipReason::Cancelled(JobId(*of))),
                JobState::Skipped(because @ (SkipReason::Needs(_) | SkipReason::Cancelled(_))) => {
                    Some(because)
                }
                // As it is for this one.
                JobState::Skipped(SkipReason::Stopped(_) | SkipReason::CancelledAll) => None,
            };
            reason = reason.or(because);
        }
        // What a job waits for says more than that the graph has stopped.
        if let Some(reason) = reason.or(self.stopped) {
            self.put(at, JobState::Skipped(reason));
            out.push(Effect::Skip { job: JobId(at), reason });
            return;
        }
        for of in 0..self.jobs[at as usize].after.len() {
            let of = self.jobs[at as usize].after[of] as usize;
            // Nobody waits for a job that has ended.
            if self.jobs[of].is_open() {
                self.jobs[of].dependants.push(at);
            }
        }
        let waits = missing > 0;
        self.put(at, if waits { JobState::Waiting { missing } } else { JobState::Ready });
    }
}
