//! What a dashboard shows of the core: sums, and the few rows that fit a screen.

use std::collections::{HashMap, VecDeque};

use hands_proto::v1;
use hands_types::OperationId;

use super::walk::Visit;
use super::{Core, Operation, Stage};
use crate::ledger::Tally;
use crate::time::timestamp;

/// What has not ended, in sums, and the few operations that a screen shows.
#[derive(Debug)]
pub(crate) struct Summary {
    rows: usize,
    /// Since when they run, or the end of time.
    running: Vec<(i64, OperationId)>,
    /// The oldest that were seen, the newest of them first.
    queued: VecDeque<OperationId>,
    active: HashMap<String, Active>,
}

/// What of an invocation has not ended.
#[derive(Debug, Default)]
struct Active {
    queued: u32,
    running: u32,
    created: i64,
    tool: String,
}

impl Visit for Summary {
    fn visit(&mut self, _: &Core, id: OperationId, operation: &Operation) -> bool {
        let metadata = &operation.record.metadata;
        let invocation = &metadata.tool_invocation_id;
        if !self.active.contains_key(invocation) {
            let tool = crate::ledger::tool(metadata);
            let active = Active { created: i64::MAX, tool, ..Active::default() };
            self.active.insert(invocation.clone(), active);
        }
        let Some(of) = self.active.get_mut(invocation) else { return true };
        of.created = of.created.min(operation.record.created);
        let state = operation.state.borrow();
        if state.stage == Stage::Queued {
            of.queued += 1;
            self.queued.push_back(id);
            if self.queued.len() > self.rows {
                self.queued.pop_front();
            }
        } else {
            of.running += 1;
            self.running.push((state.started.unwrap_or(i64::MAX), id));
        }
        true
    }
}

impl Summary {
    /// With so many operations of each kind.
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, running: Vec::new(), queued: VecDeque::new(), active: HashMap::new() }
    }

    /// The operations that run longest.
    pub(crate) fn running(&mut self) -> Vec<OperationId> {
        self.running.sort_unstable();
        self.running.iter().take(self.rows).map(|(_, id)| *id).collect()
    }

    /// Those that have waited longest.
    pub(crate) fn queued(&self) -> Vec<OperationId> {
        self.queued.iter().rev().copied().collect()
    }

    /// Invocations, with what the ledger knows of them.
    pub(crate) fn invocations(self, ended: HashMap<String, Tally>) -> Vec<v1::Invocation> {
        invocations(self.active, ended, self.rows)
    }
}

fn invocations(
    active: HashMap<String, Active>,
    mut ended: HashMap<String, Tally>,
    rows: usize,
) -> Vec<v1::Invocation> {
    let mut all: Vec<v1::Invocation> = active
        .into_iter()
        .map(|(id, active)| {
            let ended = ended.remove(&id).unwrap_or_default();
            let created = match ended.created {
                0 => active.created,
                created => created.min(active.created),
            };
            let Active { queued, running, tool, .. } = active;
            v1::Invocation { queued, running, tool, ..invocation(id, ended, created) }
        })
        .collect();
    all.extend(ended.into_iter().map(|(id, mut tally)| {
        let created = tally.created;
        let tool = std::mem::take(&mut tally.tool);
        v1::Invocation { tool, ..invocation(id, tally, created) }
    }));
    let newest = |i: &v1::Invocation| i.created.map(|t| (t.seconds, t.nanos));
    all.sort_by(|a, b| {
        let works = |i: &v1::Invocation| i.queued + i.running > 0;
        works(b)
            .cmp(&works(a))
            .then_with(|| newest(b).cmp(&newest(a)))
            .then_with(|| a.id.cmp(&b.id))
    });
    all.truncate(rows);
    all
}

fn invocation(id: String, ended: Tally, created: i64) -> v1::Invocation {
    v1::Invocation {
        id,
        succeeded: ended.succeeded,
        failed: ended.failed,
        cached: ended.cached,
        created: Some(timestamp(created)),
        ended: (ended.ended > 0).then(|| timestamp(ended.ended)),
        ..v1::Invocation::default()
    }
}
