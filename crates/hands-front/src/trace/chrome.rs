//! The trace as Chrome's trace event format has it: an object whose `traceEvents` are complete (`X`) and metadata (`M`)
//! events, times in microseconds since the invocation began.
//!
//! Rows (`tid`) of the first process (`pid`) are what this machine waited for, and below them one row for each action
//! that was in flight at once. Every worker is a process of its own, with one row for each slot that it used at once.
//! Events of a row never overlap but by nesting: viewers draw them wrongly otherwise.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::{Action, Recorded, Span};

/// The process that is this machine.
const CLIENT: usize = 1;
/// Viewers show long names badly, and the whole command stands in the arguments.
const NAME: usize = 80;

/// The whole file.
pub(super) fn json(
    recorded: &Recorded,
    title: &str,
    began: SystemTime,
    ended: SystemTime,
) -> Value {
    let mut events = Events { began, list: Vec::new() };
    events.process(CLIENT, &format!("{title} (this machine)"));
    let mut spans: Vec<&Span> = recorded.spans.iter().collect();
    spans.sort_by_key(|span| (span.from, span.to));
    let mut actions: Vec<&Action> = recorded.actions.iter().collect();
    actions.sort_by_key(|action| (action.submitted, action.ended));

    events.row(CLIENT, 0, "invocation");
    events.span(CLIENT, 0, title, began, ended, json!({ "actions": actions.len() }));
    let mut rows = Rows::default();
    for span in spans {
        let row = rows.take(span.from, span.to);
        events.span(CLIENT, 1 + row, span.name, span.from, span.to, json!({}));
    }
    let below = 1 + rows.count();
    for row in 1..below {
        events.row(CLIENT, row, "client");
    }
    let mut rows = Rows::default();
    for action in &actions {
        let row = below + rows.take(action.submitted, action.ended);
        events.flight(CLIENT, row, action);
    }
    for row in 0..rows.count() {
        events.row(CLIENT, below + row, &format!("in flight {}", row + 1));
    }
    events.workers(&actions);
    let since = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "displayTimeUnit": "ms",
        "otherData": { "began_unix_s": since.as_secs_f64(), "version": env!("CARGO_PKG_VERSION") },
        "traceEvents": events.list,
    })
}

struct Events {
    began: SystemTime,
    list: Vec<Value>,
}

impl Events {
    fn process(&mut self, pid: usize, name: &str) {
        self.list.push(json!({ "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": { "name": name } }));
        self.list.push(json!({ "ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": { "sort_index": pid } }));
    }

    fn row(&mut self, pid: usize, tid: usize, name: &str) {
        self.list.push(json!({ "ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": { "name": name } }));
        self.list.push(json!({ "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": { "sort_index": tid } }));
    }

    fn span(
        &mut self,
        pid: usize,
        tid: usize,
        name: &str,
        from: SystemTime,
        to: SystemTime,
        args: Value,
    ) {
        let (from, to) = (self.at(from), self.at(to));
        let name: String = name.chars().take(NAME).collect();
        let mut event = Map::new();
        event.insert("ph".into(), "X".into());
        event.insert("name".into(), name.into());
        event.insert("cat".into(), if pid == CLIENT { "client" } else { "worker" }.into());
        event.insert("pid".into(), pid.into());
        event.insert("tid".into(), tid.into());
        event.insert("ts".into(), from.into());
        event.insert("dur".into(), to.saturating_sub(from).into());
        event.insert("args".into(), args);
        self.list.push(event.into());
    }

    fn at(&self, time: SystemTime) -> u64 {
        let since = time.duration_since(self.began).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// An action as this machine saw it, its stages within.
    fn flight(&mut self, pid: usize, tid: usize, action: &Action) {
        self.span(pid, tid, &action.title, action.submitted, action.ended, arguments(action));
        let result = action.result.unwrap_or(action.ended);
        let stages = stages(action);
        if let Some((_, first, _)) = stages.first().filter(|_| !action.watched) {
            self.span(pid, tid, "submitting", action.submitted, *first, json!({}));
        }
        let mut last = action.submitted;
        for (name, from, to) in stages {
            self.span(pid, tid, name, from, to, json!({}));
            last = to;
        }
        if action.result.is_some() && last > action.submitted {
            self.span(pid, tid, "reporting", last, result, json!({}));
        }
        if action.result.is_some() {
            self.span(pid, tid, "fetching results", result, action.ended, json!({}));
        }
    }

    /// What each worker's slots did.
    fn workers(&mut self, actions: &[&Action]) {
        let mut workers: BTreeMap<&str, Vec<Slot<'_>>> = BTreeMap::new();
        for action in actions {
            let stages: Vec<_> = stages(action)
                .into_iter()
                .filter(|(name, ..)| matches!(*name, "staging" | "executing"))
                .collect();
            if let (Some((_, from, _)), Some((.., to))) = (stages.first(), stages.last()) {
                let slot = Slot { from: *from, to: *to, action, stages: stages.clone() };
                workers.entry(&action.worker).or_default().push(slot);
            }
        }
        for (i, (worker, mut slots)) in workers.into_iter().enumerate() {
            let pid = CLIENT + 1 + i;
            let worker = if worker.is_empty() { "unnamed" } else { worker };
            self.process(pid, &format!("worker {worker}"));
            slots.sort_by_key(|slot| (slot.from, slot.to));
            let mut rows = Rows::default();
            for slot in slots {
                let row = rows.take(slot.from, slot.to);
                self.span(pid, row, &slot.action.title, slot.from, slot.to, arguments(slot.action));
                for (name, from, to) in slot.stages {
                    self.span(pid, row, name, from, to, json!({}));
                }
            }
            for row in 0..rows.count() {
                self.row(pid, row, &format!("slot {}", row + 1));
            }
        }
    }
}

/// An action's time in a slot.
struct Slot<'a> {
    from: SystemTime,
    to: SystemTime,
    action: &'a Action,
    stages: Vec<(&'static str, SystemTime, SystemTime)>,
}

/// The stages of an action by this machine's clock. Hub and worker have clocks of their own: what would lie before the
/// submission or after the result is moved by the difference. An action that somebody else had submitted before, or
/// whose result was recorded before, has stages that do not fit at all; the part that does is shown. Of one that is only
/// watched nothing is moved: it may have ended long before.
fn stages(action: &Action) -> Vec<(&'static str, SystemTime, SystemTime)> {
    let (first, last) = (action.submitted, action.result.unwrap_or(action.ended));
    let (Some(from), Some(to)) = (action.stages.first(), action.stages.last()) else {
        return Vec::new();
    };
    if action.cached {
        return Vec::new();
    }
    let early = first.duration_since(from.from).unwrap_or_default();
    let late = to.to.duration_since(last).unwrap_or_default();
    let fits =
        !action.watched && to.to.duration_since(from.from).ok() <= last.duration_since(first).ok();
    let moved = |time: SystemTime| {
        let time = match fits {
            true if early > Duration::ZERO => time.checked_add(early),
            true => time.checked_sub(late),
            false => Some(time),
        };
        time.unwrap_or(first).clamp(first, last.max(first))
    };
    action
        .stages
        .iter()
        .map(|stage| (stage.name, moved(stage.from), moved(stage.to)))
        .filter(|(_, from, to)| to > from)
        .collect()
}

fn arguments(action: &Action) -> Value {
    let mut map = Map::new();
    map.insert("command".into(), json!(action.title));
    match action.end {
        Some((end, code)) => {
            map.insert("end".into(), json!(end));
            map.insert("exit_code".into(), json!(code));
        }
        None => {
            map.insert("end".into(), json!("left"));
        }
    }
    if !action.id.is_empty() {
        map.insert("id".into(), json!(action.id));
        map.insert("cached".into(), json!(action.cached));
    }
    if !action.worker.is_empty() {
        map.insert("worker".into(), json!(action.worker));
    }
    if action.attempt > 0 {
        map.insert("attempt".into(), json!(action.attempt));
        map.insert("peak_memory".into(), json!(action.peak_memory));
    }
    map.into()
}

/// Rows in which nothing overlaps: each span goes to the first row that is free when it begins. Spans come by their
/// beginnings.
#[derive(Default)]
struct Rows(Vec<SystemTime>);

impl Rows {
    fn take(&mut self, from: SystemTime, to: SystemTime) -> usize {
        match self.0.iter().position(|free| *free <= from) {
            Some(row) => {
                self.0[row] = to;
                row
            }
            None => {
                self.0.push(to);
                self.0.len() - 1
            }
        }
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}
