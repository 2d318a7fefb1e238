//! Who waits for an operation, and what happens when they leave.

use std::sync::Arc;

use hands_link::{ConnectionId, StreamEnd};
use hands_sched::Input;
use hands_types::OperationId;
use tokio::sync::oneshot;
use tonic::Status;

use super::submit::Claim;
use super::{Core, Ticket};

/// The streams that wait for one operation, by which connection: one as a rule.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<(u64, Option<ConnectionId>)>);

impl Waiters {
    pub(super) fn insert(&mut self, waiter: u64, connection: Option<ConnectionId>) {
        if self.0.is_empty() {
            // There are very many of these lists.
            self.0.reserve_exact(1);
        }
        self.0.push((waiter, connection));
    }

    /// Takes one out. False if it was not here.
    pub(super) fn remove(&mut self, waiter: u64) -> bool {
        let at = self.0.iter().position(|(known, _)| *known == waiter);
        at.is_some_and(|at| {
            self.0.swap_remove(at);
            true
        })
    }

    pub(super) fn contains(&self, waiter: u64) -> bool {
        self.0.iter().any(|(known, _)| *known == waiter)
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Core {
    /// Counts one more stream that waits. None if the operation has ended.
    pub(super) fn add_waiter(
        &mut self,
        id: OperationId,
        connection: Option<ConnectionId>,
    ) -> Option<Ticket> {
        let operation = self.operations.get_mut(&id)?;
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.n_clients += 1;
        self.n_detached -= usize::from(operation.is_kept());
        operation.waiters.insert(waiter, connection);
        if let Some(due) = operation.orphan_due.take() {
            self.orphans.remove(&(due, id));
        }
        let claim = Claim { id, waiter, core: self.urgent.clone() };
        let (record, state) = (Arc::clone(&operation.record), operation.state.hearer());
        Some(Ticket { record, claim: Some(claim), state })
    }

    pub(super) fn wait(
        &mut self,
        id: OperationId,
        connection: Option<ConnectionId>,
        reply: oneshot::Sender<Option<Ticket>>,
    ) {
        let ticket =
            self.add_waiter(id, connection).or_else(|| self.recent.get(&id).map(Ticket::ended));
        // Behind the operation's own row, which may not be durable yet.
        self.commit.then.push(Box::new(move || {
            // Who asked may be gone; then the claim is dropped, and says so.
            let _gone = reply.send(ticket);
        }));
    }

    /// A stream that was cancelled ends the action at once unless others wait; one that was lost leaves it a while.
    pub(super) fn gone(&mut self, id: OperationId, waiter: u64, end: StreamEnd) {
        let due = self.now().after(self.config.orphan);
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if !operation.waiters.remove(waiter) {
            return;
        }
        operation.followers.remove(waiter);
        self.n_clients -= 1;
        self.n_detached += usize::from(operation.is_kept());
        if !operation.waiters.is_empty() || operation.record.options.detach {
            return;
        }
        match end {
            StreamEnd::Cancelled => {
                self.cancel(id, Status::cancelled("the client cancelled the action"));
            }
            StreamEnd::Lost => {
                operation.orphan_due = Some(due);
                self.orphans.insert((due, id));
            }
        }
    }

    /// CancelOperation. Of several who wait for a merged action one can only give up for itself; whoever does not wait
    /// for it means the action.
    pub(super) fn cancel_asked(
        &mut self,
        id: OperationId,
        connection: Option<ConnectionId>,
        reply: oneshot::Sender<bool>,
    ) {
        let mut known = false;
        if let Some(operation) = self.operations.get_mut(&id) {
            known = true;
            let is_caller = |by: &Option<ConnectionId>| by.is_some() && *by == connection;
            let callers = operation.waiters.0.iter().filter(|(_, by)| is_caller(by)).count();
            if callers > 0 && callers < operation.waiters.len() {
                // Its own streams end when it drops them, and then find others waiting.
                // A session that gives up so is told that this is its end.
                let own: Vec<u64> = operation
                    .waiters
                    .0
                    .iter()
                    .filter(|(_, by)| is_caller(by))
                    .map(|(own, _)| *own)
                    .collect();
                let left = own
                    .iter()
                    .filter_map(|own| operation.followers.remove(*own))
                    .collect::<Vec<_>>();
                let record = Arc::clone(&operation.record);
                self.commit.then.push(Box::new(move || {
                    left.into_iter().for_each(|follower| follower.given_up(&record));
                }));
                operation.waiters.0.retain(|(_, by)| !is_caller(by));
                self.n_clients -= callers;
            } else {
                self.cancel(id, Status::cancelled("the action was cancelled"));
            }
        }
        // Behind the row that says so.
        self.commit.then.push(Box::new(move || {
            // Who asked may have lost interest.
            let _gone = reply.send(known);
        }));
    }

    /// Ends an operation without a result.
    pub(super) fn cancel(&mut self, id: OperationId, status: Status) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.verdict.get_or_insert(status);
        self.step(Input::Cancel { operation: id });
    }
}
