//! After a restart: what was queued is queued, what was running waits for its worker to come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use hands_sched::{Held, Input, Tree};
use tokio::sync::watch;
use tonic::Status;

use super::{Core, OpState, Operation};
use crate::db::{State, Stored};
use crate::platform::{self, Wishes};

impl Core {
    pub(super) fn restore(&mut self, stored: Vec<Stored>) {
        // Most operations ask for the same few platforms.
        let mut platforms: BTreeMap<Vec<(String, String)>, Wishes> = BTreeMap::new();
        // The time during which the hub was gone does not count.
        let orphan_due = self.now().after(self.config.orphan);
        let n_stored = stored.len();
        for Stored { record, state, attempt, worker, done: _ } in stored {
            let record = Arc::new(record);
            let id = record.id;
            let pairs: Vec<_> = record
                .platform
                .properties
                .iter()
                .map(|p| (p.name.clone(), p.value.clone()))
                .collect();
            let wishes = match platforms.get(&pairs) {
                Some(wishes) => Ok(wishes.clone()),
                None => platform::read(&record.platform, record.digest.function),
            };
            let channel =
                Arc::new(watch::Sender::new(OpState { attempt: attempt.0, ..Default::default() }));
            let mut operation = Operation::new(Arc::clone(&record), channel);
            operation._pin = Some(self.store.pin([record.digest, record.input_root]));
            self.logs.register(id);
            if record.joinable {
                self.keys.insert(record.key(), id);
            }
            let wishes = match wishes {
                Ok(wishes) => wishes,
                Err(error) => {
                    self.operations.insert(id, operation);
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
                    Some(Held { worker, attempt, lease: self.config.lease })
                }
                (State::Queued | State::Running | State::Done, _) => None,
            };
            // The table does not tell which of the earlier ones were started.
            operation.lost = attempt.0.saturating_sub(u32::from(held.is_some()));
            let last = (attempt.0 > 0).then_some(attempt);
            let effects = operation.effects;
            self.operations.insert(id, operation);
            let inputs: Vec<Tree> = [record.input_root]
                .into_iter()
                .chain(wishes.layers.iter().copied())
                .map(|digest| Tree { digest, bytes: 1 })
                .collect();
            let spec = self.spec(&record, Arc::clone(&wishes.needs), inputs, effects);
            platforms.entry(pairs).or_insert(wishes);
            self.step(Input::Restore { operation: id, spec, attempt: last, held });
        }
        if let Err(error) = self.logs.sweep() {
            tracing::warn!(%error, "can't remove old spools");
        }
        if n_stored > 0 {
            tracing::info!(n_stored, "operations from before the restart are back");
        }
    }
}
