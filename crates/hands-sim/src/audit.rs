//! What must be true of every history, seen from outside the cores.

use std::collections::{BTreeMap, BTreeSet};

use hands_types::{Attempt, OperationId, SessionId, WorkerId};

use crate::work::{Machine, Work};

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Accepted,
    Failed,
    Cancelled,
}

/// What really happened.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) ended: BTreeMap<OperationId, End>,
    /// Which workers sent a result for which attempt.
    reported: BTreeSet<(WorkerId, OperationId, Attempt)>,
    /// Leases that the hub declared void.
    void: BTreeSet<(OperationId, Attempt)>,
    /// Commands that exist at this moment, by worker.
    processes: BTreeMap<(usize, OperationId, Attempt), u32>,
    n_runs: BTreeMap<OperationId, u32>,
}

pub(crate) type Verdict = Result<(), String>;

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(message()) }
}

impl Audit {
    pub(crate) fn ended(&mut self, id: OperationId, end: End) -> Verdict {
        ensure(!self.ended.contains_key(&id), || {
            format!("{id} ended twice: {:?} and {end:?}", self.ended[&id])
        })?;
        self.ended.insert(id, end);
        Ok(())
    }

    pub(crate) fn reported(&mut self, worker: WorkerId, id: OperationId, attempt: Attempt) {
        self.reported.insert((worker, id, attempt));
    }

    pub(crate) fn voided(&mut self, id: OperationId, attempt: Attempt) {
        self.void.insert((id, attempt));
    }

    /// A result was taken for the operation's one result.
    pub(crate) fn accepted(&mut self, work: &Work, worker: WorkerId, attempt: Attempt) -> Verdict {
        let id = work.id;
        ensure(self.reported.contains(&(worker, id, attempt)), || {
            format!("{id} #{} was accepted from a worker that did not report it", attempt.0)
        })?;
        ensure(work.spec.cacheable || !self.void.contains(&(id, attempt)), || {
            format!("the late result of uncached {id} #{} was accepted", attempt.0)
        })?;
        self.ended(id, End::Accepted)
    }

    /// The hub may tell a worker to drop its copy only when the result is safe.
    pub(crate) fn acknowledged(&self, id: OperationId, durable: bool) -> Verdict {
        ensure(durable && self.ended.contains_key(&id), || {
            format!("{id} was acknowledged before it was durable")
        })
    }

    pub(crate) fn leased(work: &Work, machine: &Machine, session: SessionId) -> Verdict {
        let compatible = work.arch == machine.arch
            && work.gpus <= machine.gpus
            && work.cpus <= machine.cpus
            && work.memory <= machine.memory;
        ensure(compatible, || format!("{} was leased to {session}, which can't take it", work.id))
    }

    pub(crate) fn process_starts(
        &mut self,
        work: &[Work],
        machine: (usize, &Machine),
        id: OperationId,
        attempt: Attempt,
        slot: u32,
    ) -> Verdict {
        let (at, machine) = machine;
        let find = |id: OperationId| work.iter().find(|w| w.id == id);
        self.processes.insert((at, id, attempt), slot);
        let n_runs = self.n_runs.entry(id).or_default();
        *n_runs += 1;
        let rerun = find(id).is_none_or(|w| w.spec.rerun);
        ensure(rerun || *n_runs == 1, || format!("{id} must not be run again and was"))?;
        let mine = || self.processes.iter().filter(|((worker, ..), _)| *worker == at);
        let slots: BTreeSet<u32> = mine().map(|(_, slot)| *slot).collect();
        ensure(slots.len() == mine().count(), || format!("two commands share a slot of w{at}"))?;
        let (mut cpus, mut memory, mut gpus) = (0, 0, 0);
        for work in mine().filter_map(|((_, id, _), _)| find(*id)) {
            cpus += work.cpus;
            memory += work.memory;
            gpus += work.gpus;
        }
        let fits = cpus <= machine.cpus && memory <= machine.memory && gpus <= machine.gpus;
        ensure(fits, || {
            format!("w{at} is over-committed: {cpus} cpus, {memory} bytes, {gpus} gpus")
        })
    }

    pub(crate) fn process_ends(&mut self, at: usize, id: OperationId, attempt: Attempt) {
        self.processes.remove(&(at, id, attempt));
    }

    pub(crate) fn worker_dies(&mut self, at: usize) {
        self.processes.retain(|(worker, ..), _| *worker != at);
    }

    /// A cancelled operation's command must be gone soon.
    pub(crate) fn processes_of_ended(&self) -> impl Iterator<Item = OperationId> {
        self.processes.keys().map(|(_, id, _)| *id).filter(|id| self.ended.contains_key(id))
    }
}
