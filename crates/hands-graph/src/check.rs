//! What is always true between two calls.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::graph::{Counts, Graph};
use crate::job::JobState;

impl Graph {
    /// Asserts every invariant. For tests: it costs as much as there are jobs and edges.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        let mut counts = Counts::default();
        let ready: BTreeSet<_> = self.ready.iter().copied().collect();
        assert_eq!(self.by_name.len(), self.jobs.len(), "each job has one name");
        for (at, job) in (0..).zip(&self.jobs) {
            let name = &job.name;
            *counts.of(job.state) += 1;
            assert_eq!(self.by_name.get(name), Some(&at), "{name} is found by its name");
            for of in &job.after {
                let of = &self.jobs[*of as usize];
                assert!(of.rank < job.rank, "{name} stands behind {}", of.name);
                let least = job.path.saturating_add(of.expected);
                assert!(!job.is_open() || !of.is_open() || of.path >= least, "{name}'s path");
                let waits = of.dependants.contains(&at);
                assert_eq!(waits && job.is_open(), of.is_open() && job.is_open());
            }
            let undone = |of: &&u32| self.jobs[**of as usize].state != JobState::Done;
            let missing = job.after.iter().filter(undone).count();
            match job.state {
                JobState::Waiting { missing: counted } => {
                    assert_eq!(counted as usize, missing, "{name} waits for what is not done");
                    assert!(missing > 0, "{name} waits for something");
                    let dead = |of: &u32| !self.jobs[*of as usize].is_open();
                    let lost = job.after.iter().filter(undone).any(dead);
                    assert!(!lost, "{name} waits for what never comes");
                }
                JobState::Ready => {
                    assert_eq!(missing, 0, "{name} may run");
                    assert!(ready.contains(&(job.path, Reverse(at))), "{name} stands in line");
                }
                JobState::Out { .. } | JobState::Done | JobState::Failed | JobState::Cancelled => {
                    assert_eq!(missing, 0, "{name} ran after what it waits for");
                }
                JobState::Skipped(_) => {}
            }
        }
        assert_eq!(counts, self.counts, "the counts are kept");
        if let Some(limit) = self.config.limit {
            assert!(counts.n_out <= limit.get(), "no more are out than may be");
            assert!(counts.n_ready == 0 || counts.n_out == limit.get(), "room is used");
        } else {
            assert_eq!(counts.n_ready, 0, "without a limit nothing is held back");
        }
        let idle = counts.n_waiting + counts.n_ready;
        assert!(self.stopped.is_none() || idle == 0, "a stopped graph holds nothing back");
    }
}
