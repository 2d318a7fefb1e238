//! What lists show of the core. Nothing here changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hands_proto::v1;
use hands_sched::{Needs, Place};
use hands_types::OperationId;
use hands_types::platform::property;

use super::sessions::offer;
use super::{Core, OpState, Stage};
use crate::db::Record;
use crate::jobs::job_of;
use crate::operations::Filter;
use crate::time::timestamp;

impl Core {
    /// One operation that has not ended, or has ended a moment ago.
    pub(crate) fn job(&self, id: OperationId) -> Option<v1::Job> {
        if let Some(ticket) = self.recent.get(&id) {
            let done = ticket.state.borrow().done.clone()?;
            return Some(job_of(&ticket.record, Some(&done)));
        }
        let operation = self.operations.get(&id)?;
        let mut job = job_of(&operation.record, None);
        job.detached = operation.record.options.detach;
        let state = operation.state.borrow();
        let executing = state.stage == Stage::Executing;
        job.attempt = state.attempt;
        job.started = state.started.map(timestamp);
        // The worker itself may have gone.
        let name = state.worker.clone();
        let view = self.sched.operation(id);
        let (state, worker) = match view.map(|view| view.place) {
            None | Some(Place::Queued) => (v1::JobState::Queued, None),
            Some(Place::Leased { worker, .. }) if !executing => {
                (v1::JobState::Queued, Some(worker))
            }
            Some(
                Place::Leased { worker, .. }
                | Place::Away { worker, .. }
                | Place::Running { worker, .. },
            ) => (v1::JobState::Running, Some(worker)),
        };
        job.state = state.into();
        let name = worker.map(|worker| name.unwrap_or_else(|| self.worker_name(worker)));
        job.worker = name.map(|name| name.as_ref().to_owned()).unwrap_or_default();
        job.waiting =
            self.sched.explain(self.now(), id).map(|why| why.to_string()).unwrap_or_default();
        Some(job)
    }

    /// All operations that have not ended.
    pub(crate) fn jobs(&self, invocation: &str) -> Vec<v1::Job> {
        let wanted = |id: &OperationId| {
            let operation = &self.operations[id];
            invocation.is_empty() || operation.record.metadata.tool_invocation_id == invocation
        };
        let mut ids: Vec<OperationId> =
            self.operations.keys().filter(|id| wanted(id)).copied().collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.into_iter().filter_map(|id| self.job(id)).collect()
    }

    /// One operation's state.
    pub(crate) fn state(&self, id: OperationId) -> Option<(Arc<Record>, OpState)> {
        if let Some(ticket) = self.recent.get(&id) {
            return Some((Arc::clone(&ticket.record), ticket.state.borrow().clone()));
        }
        let operation = self.operations.get(&id)?;
        Some((Arc::clone(&operation.record), operation.state.borrow().clone()))
    }

    /// States of what has not ended and is wanted, newest first, of ids below `before`.
    pub(crate) fn states(
        &self,
        limit: usize,
        before: u128,
        filter: &Filter,
    ) -> Vec<(Arc<Record>, OpState)> {
        let mut ids: Vec<OperationId> = self
            .operations
            .values()
            .map(|operation| &operation.record)
            .filter(|r| r.id.0 < before)
            .filter(|r| filter.fits_active(&r.instance, &r.metadata.tool_invocation_id))
            .map(|r| r.id)
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.into_iter().take(limit).filter_map(|id| self.state(id)).collect()
    }

    /// All connected workers.
    pub(crate) fn workers(&self) -> Vec<v1::WorkerInfo> {
        let busy: BTreeMap<_, _> = self
            .sched
            .workers()
            .map(|view| (view.session, (view.n_running, view.draining)))
            .collect();
        let mut workers: Vec<v1::WorkerInfo> = self
            .sessions
            .iter()
            .map(|(id, session)| {
                let (n_running, draining) = busy.get(id).copied().unwrap_or((0, session.draining));
                let hello = &session.hello;
                v1::WorkerInfo {
                    worker_id: session.worker.to_string(),
                    name: session.name.as_ref().to_owned(),
                    properties: hello.properties.clone(),
                    slots: hello.slots,
                    busy: u32::try_from(n_running).unwrap_or(u32::MAX),
                    cpu_millis: hello.cpu_millis,
                    memory: hello.memory,
                    custom: hello.custom.clone(),
                    draining: draining || session.draining,
                    connected: Some(timestamp(session.connected)),
                    last_seen: Some(timestamp(session.last_seen)),
                    protocol: hello.protocol.clone(),
                }
            })
            .collect();
        workers.sort_by(|a, b| (&a.name, &a.worker_id).cmp(&(&b.name, &b.worker_id)));
        workers
    }

    /// Digests of the host roots of connected workers that could take an action with these needs, the most offered first.
    pub(crate) fn host_roots(&self, needs: &Needs) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let able = self.sessions.values().filter(|session| offer(&session.hello).meets(needs));
        let properties = able.flat_map(|session| &session.hello.properties);
        for offered in properties.filter(|p| p.name == property::HOST_ROOT) {
            *counts.entry(&offered.value).or_default() += 1;
        }
        let mut roots: Vec<_> = counts.into_iter().collect();
        roots.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        roots.into_iter().map(|(root, _)| root.to_owned()).collect()
    }

    /// Queued, leased, and kept without waiters.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let counts = self.sched.counts();
        (counts.n_queued, counts.n_leased, self.n_detached)
    }
}
