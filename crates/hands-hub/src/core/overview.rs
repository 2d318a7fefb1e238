//! What a dashboard shows of the core: sums, and the few rows that fit a screen.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hands_proto::v1;
use hands_types::OperationId;

use super::walk::Visit;
use super::{Core, Operation, Stage};
use crate::db::Record;
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
    active: HashMap<Of, Active>,
}

/// Bytes that an operation takes in here at most: each may be of an invocation of its own.
pub(crate) const SUMMED: usize = 128;

/// An invocation, by one of its operations. There may be as many as there are operations, and their names are in memory anyway.
#[derive(Debug)]
struct Of(Arc<Record>);

impl Of {
    fn name(&self) -> &str {
        &self.0.metadata.tool_invocation_id
    }
}

impl Hash for Of {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl PartialEq for Of {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Of {}

/// What of an invocation has not ended.
#[derive(Debug)]
struct Active {
    queued: u32,
    running: u32,
    created: i64,
}

impl Visit for Summary {
    fn visit(&mut self, _: &Core, id: OperationId, operation: &Operation) -> bool {
        let record = &operation.record;
        let new = || Active { queued: 0, running: 0, created: i64::MAX };
        let of = self.active.entry(Of(Arc::clone(record))).or_insert_with(new);
        of.created = of.created.min(record.created);
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

    /// Invocations, with what the ledger knows of them. Takes long where there are many.
    pub(crate) fn invocations(self, ended: HashMap<String, Tally>) -> Vec<v1::Invocation> {
        invocations(self.active, ended, self.rows)
    }
}

fn invocations(
    active: HashMap<Of, Active>,
    mut ended: HashMap<String, Tally>,
    rows: usize,
) -> Vec<v1::Invocation> {
    let mut works: Vec<(Of, Active)> = active.into_iter().collect();
    for (of, active) in &mut works {
        let created = ended.get(of.name()).map_or(0, |tally| tally.created);
        if created > 0 {
            active.created = active.created.min(created);
        }
    }
    if works.len() > rows {
        let newest = |(of, active): &(Of, Active), (other, than): &(Of, Active)| {
            than.created.cmp(&active.created).then_with(|| of.name().cmp(other.name()))
        };
        works.select_nth_unstable_by(rows, newest);
        works.truncate(rows);
    }
    let mut all: Vec<v1::Invocation> = works
        .into_iter()
        .map(|(Of(record), Active { queued, running, created })| {
            let id = record.metadata.tool_invocation_id.clone();
            let ended = ended.remove(&id).unwrap_or_default();
            let tool = crate::ledger::tool(&record.metadata);
            v1::Invocation { queued, running, tool, ..invocation(id, ended, created) }
        })
        .collect();
    // Behind those that work, where these have left any room: then none of these is among them.
    if all.len() < rows {
        all.extend(ended.into_iter().map(|(id, mut tally)| {
            let created = tally.created;
            let tool = std::mem::take(&mut tally.tool);
            v1::Invocation { tool, ..invocation(id, tally, created) }
        }));
    }
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
