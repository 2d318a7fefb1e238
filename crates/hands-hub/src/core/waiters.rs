//! Who waits for an operation, and what happens when they leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use hands_link::{ConnectionId, StreamEnd};
use hands_sched::Input;
use hands_types::OperationId;
use tokio::sync::oneshot;
use tonic::Status;

use super::followers::Follower;
use super::submit::Claim;
use super::{Core, Ticket};

/// The streams and sessions that wait for one operation, by the number that each has here: one as a rule.
#[derive(Debug, Default)]
pub(crate) enum Waiters {
    #[default]
    Nobody,
    One(u64, Waiter),
    Many(BTreeMap<u64, Waiter>),
}

/// A stream or session that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(super) connection: Option<ConnectionId>,
    /// How it is told, where it is a session.
    pub(super) follower: Option<Follower>,
}

impl Waiters {
    pub(super) fn insert(&mut self, number: u64, waiter: Waiter) {
        *self = match std::mem::take(self) {
            Self::Nobody => Self::One(number, waiter),
            Self::One(first, other) => {
                Self::Many(BTreeMap::from([(first, other), (number, waiter)]))
            }
            Self::Many(mut all) => {
                all.insert(number, waiter);
                Self::Many(all)
            }
        };
    }

    /// Takes one out, if it is here.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waiter> {
        match self {
            Self::Nobody => None,
            Self::One(one, _) if *one != number => None,
            Self::One(..) => match std::mem::take(self) {
                Self::One(_, waiter) => Some(waiter),
                Self::Nobody | Self::Many(_) => None,
            },
            Self::Many(all) => {
                let waiter = all.remove(&number);
                if all.is_empty() {
                    *self = Self::Nobody;
                }
                waiter
            }
        }
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Waiter> {
        match self {
            Self::One(one, waiter) if *one == number => Some(waiter),
            Self::Nobody | Self::One(..) => None,
            Self::Many(all) => all.get_mut(&number),
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one, _) => *one == number,
            Self::Many(all) => all.contains_key(&number),
        }
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Waiter)> {
        let one = match self {
            Self::One(number, waiter) => Some((*number, waiter)),
            Self::Nobody | Self::Many(_) => None,
        };
        let many = match self {
            Self::Many(all) => Some(all.iter().map(|(number, waiter)| (*number, waiter))),
            Self::Nobody | Self::One(..) => None,
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The sessions among them.
    pub(super) fn followers(&self) -> impl Iterator<Item = &Follower> {
        self.iter().filter_map(|(_, waiter)| waiter.follower.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(..) => 1,
            Self::Many(all) => all.len(),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
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
        operation.waiters.insert(waiter, Waiter { connection, follower: None });
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
        if operation.waiters.remove(waiter).is_none() {
            return;
        }
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
            let is_caller = |by: Option<ConnectionId>| by.is_some() && by == connection;
            let own: Vec<u64> = operation
                .waiters
                .iter()
                .filter(|(_, waiter)| is_caller(waiter.connection))
                .map(|(number, _)| number)
                .collect();
            if !own.is_empty() && own.len() < operation.waiters.len() {
                // Its own streams end when it drops them, and then find others waiting.
                // A session that gives up so is told that this is its end.
                let left: Vec<Follower> =
                    own.iter().filter_map(|own| operation.waiters.remove(*own)?.follower).collect();
                let record = Arc::clone(&operation.record);
                self.commit.then.push(Box::new(move || {
                    left.into_iter().for_each(|follower| follower.given_up(&record));
                }));
                self.n_clients -= own.len();
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
