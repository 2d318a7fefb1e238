//! After a restart: what was queued is queued, what was running waits for its worker to come back.
//!
//! What a worker may hold is there before the hub serves. A long queue is read while it serves: blobs and sessions do not
//! wait for it, and what is asked about operations is answered when all of them are known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hands_proto::{Room, Tight, reapi};
use hands_sched::{Held, Input, Tree};
use hands_store::{Pin, Store, StoreError};
use hands_types::{Digest, OperationId};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Core, CoreHandle, Event, OpState, Operation};
use crate::HubError;
use crate::db::{Db, Page, State, Stored};
use crate::platform::{self as platforms, Wishes};
use crate::trees::{Trees, Verdict, WholeTree};

/// What a restored operation needs in the store until it ends.
pub(super) struct Needed {
    id: OperationId,
    action: Digest,
    /// Its input root and layers.
    roots: Vec<Digest>,
}

/// Queued operations that are read at once: as many as take some milliseconds.
const PAGE: usize = 1000;

/// A queue that is being read.
#[derive(Default)]
pub(super) struct Restoring {
    /// What was there from the beginning, whatever has become of it since: it may stand in a page again.
    first: HashSet<OperationId>,
    needed: Vec<Needed>,
    /// What can't be answered before all is known, in its order.
    deferred: Vec<Event>,
    n_stored: usize,
    pub(super) failed: bool,
}

/// Reads the rest of the queue, page by page.
fn read_rest(db: &Db, mut after: OperationId, core: &mpsc::Sender<Event>) {
    let all = loop {
        match db.queued_after(after, PAGE) {
            Ok(Page { last: None, .. }) => break Ok(()),
            Ok(Page { stored, last: Some(last), .. }) => {
                after = last;
                if core.blocking_send(Event::Restored(stored)).is_err() {
                    return;
                }
            }
            Err(error) => break Err(error),
        }
    };
    // The hub may have ended meanwhile.
    drop(core.blocking_send(Event::AllRestored(all)));
}

/// Pins what restored operations need, one tree after the other, while the hub serves. Until then the store keeps what
/// was used shortly before it was closed.
async fn keep(store: Store, trees: Arc<Trees>, needed: Vec<Needed>, core: mpsc::WeakSender<Event>) {
    for Needed { id, action, roots } in needed {
        let (store, trees) = (store.clone(), Arc::clone(&trees));
        let charge = Arc::clone(trees.charge());
        let look = move |room: &mut Room| look(&store, &trees, action, &roots, room);
        let looked = hands_reapi::looking(Some(&charge), 0, Duration::MAX, look).await;
        match looked.map(|looked| looked.found) {
            Ok(Ok((inputs, pin))) => {
                let Some(core) = core.upgrade() else { return };
                if core.send(Event::Keep { id, inputs, pin }).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, operation = %id, "the inputs of a restored action can't be looked at");
            }
            Err(status) => {
                tracing::error!(%status, operation = %id, "the inputs of a restored action were not looked at");
            }
        }
    }
}

/// What is there of an action's messages and trees. What is missing is found by whoever gets its lease, who names it.
fn look(
    store: &Store,
    trees: &Trees,
    action: Digest,
    roots: &[Digest],
    room: &Room,
) -> Result<Result<(Vec<Arc<WholeTree>>, Pin), StoreError>, Tight> {
    let message = match store.read(&action) {
        Ok(bytes) => bytes.and_then(|bytes| reapi::Action::decode(bytes).ok()),
        Err(error) => return Ok(Err(error)),
    };
    let command = message.and_then(|action| action.command_digest);
    let command = command.and_then(|command| command.to_digest(action.function).ok());
    let pin = store.pin([action].into_iter().chain(command));
    let mut inputs = Vec::new();
    for root in roots {
        match trees.look(root, &mut room.rest())? {
            Ok(Verdict::Whole(tree)) => inputs.push(tree),
            Ok(Verdict::Missing(_) | Verdict::Invalid { .. }) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok((inputs, pin)))
}

impl Core {
    /// Takes up what workers may hold and the beginning of the queue; the rest comes as events.
    pub(super) fn restore_first(&mut self, handle: &CoreHandle) -> Result<(), HubError> {
        let running = self.db.running()?.stored;
        let Page { stored: queued, last, n_rows } = self.db.queued_after(OperationId(0), PAGE)?;
        let mut restoring = Restoring {
            first: running.iter().chain(&queued).map(|stored| stored.record.id).collect(),
            ..Restoring::default()
        };
        restoring.n_stored = restoring.first.len();
        for stored in [running, queued] {
            restoring.needed.extend(self.restore(stored));
        }
        self.restoring = Some(Box::new(restoring));
        match last {
            Some(last) if n_rows == PAGE => {
                let (db, events) = (Arc::clone(&self.db), handle.events.clone());
                crate::task::spawn("restore", async move {
                    let reading = crate::task::blocking(move || read_rest(&db, last, &events));
                    if let Err(status) = reading.await {
                        tracing::error!(%status, "the queue could not be read to its end");
                    }
                });
            }
            Some(_) | None => self.all_restored(Ok(())),
        }
        Ok(())
    }

    /// The event, unless it has to wait until all operations are known.
    pub(super) fn not_deferred(&mut self, event: Event) -> Option<Event> {
        let Some(restoring) = &mut self.restoring else { return Some(event) };
        match event {
            Event::Submit(_)
            | Event::SubmitMany(_)
            | Event::Resume(_)
            | Event::GoneMany { .. }
            | Event::GiveUp { .. }
            | Event::Wait { .. }
            | Event::Gone { .. }
            | Event::Cancel { .. }
            | Event::Withdraw { .. }
            | Event::Ask(_) => {
                restoring.deferred.push(event);
                None
            }
            Event::Keep { .. }
            | Event::Restored(_)
            | Event::AllRestored(_)
            | Event::Open { .. }
            | Event::Closed { .. }
            | Event::Heard { .. }
            | Event::Checked { .. }
            | Event::Command { .. }
            | Event::StreamFailed { .. }
            | Event::Drain { .. }
            | Event::Close(_) => Some(event),
        }
    }

    pub(super) fn restored(&mut self, mut stored: Vec<Stored>) {
        let Some(mut restoring) = self.restoring.take() else { return };
        stored.retain(|stored| !restoring.first.contains(&stored.record.id));
        restoring.n_stored += stored.len();
        let needed = self.restore(stored);
        restoring.needed.extend(needed);
        self.restoring = Some(restoring);
    }

    pub(super) fn all_restored(&mut self, read: Result<(), HubError>) {
        if let Err(error) = read {
            // Nothing can be promised without it. The hub ends, and the next one tries again.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the queue can't be read, so the hub ends"
            );
            if let Some(restoring) = &mut self.restoring {
                restoring.failed = true;
            }
            return;
        }
        let Some(restoring) = self.restoring.take() else { return };
        let Restoring { needed, deferred, n_stored, .. } = *restoring;
        if let Err(error) = self.logs.sweep(|id| self.operations.contains_key(&id)) {
            tracing::warn!(%error, "can't remove old spools");
        }
        if n_stored > 0 {
            tracing::info!(n_stored, "operations from before the restart are back");
            let keep =
                keep(self.store.clone(), Arc::clone(&self.trees), needed, self.events.clone());
            crate::task::spawn("restored-inputs", keep);
        }
        for event in deferred {
            self.handle(event);
        }
    }

    /// Gives what the operations need.
    fn restore(&mut self, stored: Vec<Stored>) -> Vec<Needed> {
        let mut needed = Vec::new();
        // Most operations ask for the same few platforms.
        let mut known: BTreeMap<Vec<(String, String)>, Wishes> = BTreeMap::new();
        // The time during which the hub was gone does not count.
        let orphan_due = self.now().after(self.config.orphan);
        for Stored { record, input_root, platform, state, attempt, worker, done: _ } in stored {
            let record = Arc::new(record);
            let id = record.id;
            let pairs: Vec<_> =
                platform.properties.iter().map(|p| (p.name.clone(), p.value.clone())).collect();
            let wishes = match known.get(&pairs) {
                Some(wishes) => Ok(wishes.clone()),
                None => platforms::read(&platform, record.digest.function),
            };
            let so_far = OpState::after(attempt.0);
            let seat = self.crowd.restore(&record);
            let mut operation = Operation::new(Arc::clone(&record), seat, so_far);
            operation.pin = Some(Box::new(self.store.pin([record.digest, input_root])));
            if record.joinable {
                self.keys.insert(&record.key(), id);
            }
            let wishes = match wishes {
                Ok(wishes) => wishes,
                Err(error) => {
                    self.operations.insert(id, Box::new(operation));
                    self.fail(id, Status::invalid_argument(error.to_string()));
                    continue;
                }
            };
            operation.effects =
                wishes.host_network || record.options.terminal.is_some() || record.options.stdin;
            if record.options.detach {
                self.n_detached += 1;
            } else {
                operation.orphan_due = Some(orphan_due);
                self.orphans.insert((orphan_due, id));
            }
            let held = match (state, worker) {
                (State::Running, Some(worker)) => {
                    if let Err(error) = self.logs.attempt(&record, attempt, worker, true) {
                        tracing::error!(%error, operation = %id, "can't open the spool of a running action");
                    }
                    operation.attempt = Some(attempt);
                    // The table does not say whether input was sent, so we assume that it was.
                    operation.input_is_unknown();
                    Some(Held { worker, attempt, lease: self.config.lease })
                }
                (State::Queued | State::Running | State::Done, _) => None,
            };
            // The table does not tell which of the earlier ones were started.
            operation.lost = attempt.0.saturating_sub(u32::from(held.is_some()));
            let last = (attempt.0 > 0).then_some(attempt);
            let rerun = operation.reruns();
            self.operations.insert(id, Box::new(operation));
            let roots: Vec<Digest> =
                [input_root].into_iter().chain(wishes.layers.iter().copied()).collect();
            let inputs = roots.iter().map(|digest| Tree { digest: *digest, bytes: 1 }).collect();
            needed.push(Needed { id, action: record.digest, roots });
            let spec = self.spec(&record, Arc::clone(&wishes.needs), inputs, rerun);
            known.entry(pairs).or_insert(wishes);
            self.step(Input::Restore { operation: id, spec, attempt: last, held });
        }
        needed
    }

    /// The inputs of a restored operation stay until it ends.
    pub(super) fn keep(&mut self, id: OperationId, inputs: Vec<Arc<WholeTree>>, pin: Pin) {
        let due = self.now().after(self.trees.keep_for());
        self.trees_due.get_or_insert(due);
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.keeps(inputs, Some(pin));
        }
    }
}
