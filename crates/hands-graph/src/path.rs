//! How much remains after a job: the longest way to the end of the graph.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::graph::Graph;
use crate::job::JobState;

impl Graph {
    /// Computes the paths of new jobs, given in an order in which each stands behind those that it waits for, and makes
    /// those of older jobs longer where needed. A new job that is skipped counts for nobody.
    pub(crate) fn lengthen(&mut self, first_new: u32, order: &[u32]) {
        let mut longer = BinaryHeap::new();
        for at in order.iter().rev() {
            if !self.jobs[*at as usize].is_open() {
                continue;
            }
            for (of, path) in self.ways(*at).collect::<Vec<_>>() {
                if of < first_new {
                    longer.push((self.jobs[of as usize].rank, path, of));
                } else {
                    let job = &mut self.jobs[of as usize];
                    job.path = job.path.max(path);
                }
            }
        }
        // The highest rank first: when a job's turn comes, all that waits for it has its path. So each is made longer once.
        while let Some((_, path, at)) = longer.pop() {
            let job = &mut self.jobs[at as usize];
            if path <= job.path || !job.is_open() {
                continue;
            }
            job.path = path;
            if job.state == JobState::Ready {
                self.ready.push((path, Reverse(at)));
            }
            let ways = self.ways(at).map(|(of, path)| (self.jobs[of as usize].rank, path, of));
            longer.extend(ways.collect::<Vec<_>>());
        }
    }

    /// The jobs that one waits for, each with the length of its way through it.
    fn ways(&self, at: u32) -> impl Iterator<Item = (u32, u64)> {
        let job = &self.jobs[at as usize];
        job.after.iter().map(|of| (*of, job.path.saturating_add(self.jobs[*of as usize].expected)))
    }
}
