//! What a dashboard shows of the core: sums, and the few rows that fit a screen.

use std::collections::HashMap;

use hands_proto::v1;
use hands_types::OperationId;

use super::{Core, Stage};
use crate::ledger::Tally;
use crate::time::timestamp;

/// The part of an overview that the core knows.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) invocations: Vec<v1::Invocation>,
    pub(crate) running: Vec<v1::Job>,
    pub(crate) queued: Vec<v1::Job>,
}

/// What of an invocation has not ended.
#[derive(Default)]
struct Active {
    queued: u32,
    running: u32,
    created: i64,
    tool: String,
}

impl Core {
    /// Goes once over what has not ended, and describes no more than `rows` of it.
    pub(crate) fn overview(&self, rows: usize) -> Overview {
        let mut running: Vec<(i64, OperationId)> = Vec::new();
        let mut queued: Vec<OperationId> = Vec::new();
        let mut active: HashMap<&str, Active> = HashMap::new();
        for (id, operation) in &self.operations {
            let metadata = &operation.record.metadata;
            let of = active.entry(&metadata.tool_invocation_id).or_insert_with(|| {
                let tool = crate::ledger::tool(metadata);
                Active { created: i64::MAX, tool, ..Active::default() }
            });
            of.created = of.created.min(operation.record.created);
            let state = operation.state.borrow();
            if state.stage == Stage::Queued {
                of.queued += 1;
                queued.push(*id);
            } else {
                of.running += 1;
                running.push((state.started.unwrap_or(i64::MAX), *id));
            }
        }
        running.sort_unstable();
        if queued.len() > rows {
            // Ids are time-ordered: the oldest, in whatever order, without sorting all.
            queued.select_nth_unstable(rows);
            queued.truncate(rows);
        }
        queued.sort_unstable();
        Overview {
            invocations: invocations(active, self.ledger.invocations(), rows),
            running: running.iter().take(rows).filter_map(|(_, id)| self.job(*id)).collect(),
            queued: queued.iter().filter_map(|id| self.job(*id)).collect(),
        }
    }
}

fn invocations(
    active: HashMap<&str, Active>,
    mut ended: HashMap<String, Tally>,
    rows: usize,
) -> Vec<v1::Invocation> {
    let mut all: Vec<v1::Invocation> = active
        .into_iter()
        .map(|(id, active)| {
            let ended = ended.remove(id).unwrap_or_default();
            let created = match ended.created {
                0 => active.created,
                created => created.min(active.created),
            };
            let Active { queued, running, tool, .. } = active;
            v1::Invocation { queued, running, tool, ..invocation(id.to_owned(), ended, created) }
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
