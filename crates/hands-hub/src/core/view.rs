//! What lists show of the core. Nothing here changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hands_proto::v1;
use hands_sched::{Needs, Place};
use hands_types::limits::MAX_SLOTS;
use hands_types::platform::property;
use hands_types::{OperationId, SessionId};
use prost::Message as _;

use super::sessions::{Session, offer};
use super::walk::Visit;
use super::{Core, OpState, Operation, Stage};
use crate::db::Record;
use crate::jobs::{job_of, worker_token};
use crate::operations::Filter;
use crate::pages::Page;
use crate::time::timestamp;

/// Operations that a list wants, newest first.
#[derive(Debug)]
pub(crate) struct States {
    pub(crate) filter: Filter,
    pub(crate) limit: usize,
    pub(crate) found: Vec<(Arc<Record>, OpState)>,
}

impl Visit for States {
    fn visit(&mut self, _: &Core, _: OperationId, operation: &Operation) -> bool {
        if is_wanted(&self.filter, operation) {
            let state = operation.state.borrow().clone();
            self.found.push((Arc::clone(&operation.record), state));
        }
        self.found.len() < self.limit
    }
}

/// The same as lists of ours show them, as many as fit a page and one more.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) filter: Filter,
    pub(crate) limit: usize,
    pub(crate) bytes: usize,
    pub(crate) found: Vec<v1::Job>,
}

impl Visit for Jobs {
    fn visit(&mut self, core: &Core, id: OperationId, operation: &Operation) -> bool {
        if is_wanted(&self.filter, operation)
            && let Some(job) = core.job(id)
        {
            let fits = job.encoded_len() <= self.bytes;
            self.bytes = self.bytes.saturating_sub(job.encoded_len());
            self.found.push(job);
            return fits && self.found.len() < self.limit;
        }
        true
    }
}

fn is_wanted(filter: &Filter, operation: &Operation) -> bool {
    let record = &operation.record;
    filter.fits_active(&record.instance, &record.metadata.tool_invocation_id)
}

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
        job.lost = state.lost.clone();
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

    /// Has the streams of an action be there to be waited for. False if it has ended or is not known.
    pub(crate) fn opens_streams(&self, id: OperationId) -> bool {
        let is_there = self.operations.contains_key(&id);
        if is_there {
            self.logs.register(id);
        }
        is_there
    }

    /// One operation's state.
    pub(crate) fn state(&self, id: OperationId) -> Option<(Arc<Record>, OpState)> {
        if let Some(ticket) = self.recent.get(&id) {
            return Some((Arc::clone(&ticket.record), ticket.state.borrow().clone()));
        }
        let operation = self.operations.get(&id)?;
        Some((Arc::clone(&operation.record), operation.state.borrow().clone()))
    }

    /// Connected workers.
    pub(crate) fn n_workers(&self) -> usize {
        self.sessions.len()
    }

    /// Of those, the ones that take nothing new.
    pub(crate) fn n_draining(&self) -> usize {
        self.sched.workers().filter(|view| view.connected && view.draining).count()
    }

    /// The slots of all connected workers, and how many of them have an action.
    pub(crate) fn slots(&self) -> (u64, u64) {
        let slots = self.sessions.values().map(|s| u64::from(s.hello.slots.min(MAX_SLOTS))).sum();
        let busy = self.sched.workers().filter(|view| view.connected);
        (slots, busy.map(|view| view.n_running as u64).sum())
    }

    /// Connected workers by name and id, as many as fit, from behind the one that a page's token names.
    pub(crate) fn workers(&self, token: &str, bytes: usize) -> Page<v1::WorkerInfo> {
        let busy: BTreeMap<_, _> = self
            .sched
            .workers()
            .map(|view| (view.session, (view.n_running, view.draining)))
            .collect();
        let mut sorted: Vec<(String, &SessionId, &Session)> = self
            .sessions
            .iter()
            .map(|(id, known)| (worker_token(&known.name, &known.worker.to_string()), id, known))
            .filter(|(place, ..)| token.is_empty() || place.as_str() > token)
            .collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let workers = sorted.into_iter().map(|(_, id, session)| {
            let (n_running, draining) = busy.get(id).copied().unwrap_or((0, session.draining));
            let hello = &session.hello;
            v1::WorkerInfo {
                worker_id: session.worker.to_string(),
                name: session.name.as_ref().to_owned(),
                properties: hello.properties.clone(),
                slots: hello.slots.min(MAX_SLOTS),
                busy: u32::try_from(n_running).unwrap_or(u32::MAX),
                cpu_millis: hello.cpu_millis,
                memory: hello.memory,
                custom: hello.custom.clone(),
                draining: draining || session.draining,
                connected: Some(timestamp(session.connected)),
                last_seen: Some(timestamp(session.last_seen)),
                protocol: hello.protocol.clone(),
            }
        });
        Page::of(workers, usize::MAX, bytes)
    }

    /// The sessions that there are now.
    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    /// Digests of the host roots of a worker; none where it could not take an action with these needs, or has gone.
    pub(crate) fn host_roots(&self, session: SessionId, needs: &Needs) -> Option<Vec<String>> {
        let session = self.sessions.get(&session)?;
        offer(&session.hello).meets(needs).then(|| {
            let offered = session.hello.properties.iter();
            offered.filter(|p| p.name == property::HOST_ROOT).map(|p| p.value.clone()).collect()
        })
    }

    /// Queued, leased, and kept without waiters.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let counts = self.sched.counts();
        (counts.n_queued, counts.n_leased, self.n_detached)
    }
}
