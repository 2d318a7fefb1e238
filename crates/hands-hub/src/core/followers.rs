//! Sessions that wait for operations: unlike a stream of its own, a session is told, so that many operations of one session
//! cost neither a task nor a stream each.

use std::sync::Arc;

use hands_link::ConnectionId;
use hands_types::OperationId;
use tokio::sync::oneshot;
use tonic::Status;

use super::submit::Claim;
use super::waiters::Waiters;
use super::{Core, Outbox, Ticket};
use crate::actions::Size;
use crate::db::{Done, Record, Then};

/// A session that waits for an operation.
#[derive(Debug)]
pub(crate) struct Follower {
    outbox: Arc<Outbox>,
    /// The session's own number of the action.
    number: u64,
}

impl Waiters {
    /// The operation's state has changed.
    pub(super) fn changed(&self) {
        for follower in self.followers() {
            follower.outbox.changed(follower.number);
        }
    }

    /// The operation has ended, durably.
    pub(super) fn ended(&self, record: &Record, done: &Done) {
        let mut size = None;
        for follower in self.followers() {
            // Once for all of them: a result may have very many entries.
            let size = *size.get_or_insert_with(|| Size::of(&done.response));
            follower.outbox.ended(follower.number, record.id, done, size);
        }
    }
}

impl Follower {
    /// Others wait for the operation, so that it goes on.
    pub(super) fn given_up(&self, record: &Record) {
        self.outbox.given_up(self.number, record.id);
    }
}

/// What a session had accepted over an earlier stream.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// Operations, with the session's own numbers, and whether it wants to hear of each state.
    pub(crate) of: Vec<(OperationId, u64, bool)>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) connection: Option<ConnectionId>,
    /// Gets those that are not in memory.
    pub(crate) reply: oneshot::Sender<Vec<(OperationId, u64, bool)>>,
}

/// Tells a session of an end. One that is not durable yet, or whose result is still being put into the action cache, is not told
/// to anybody so far; then this one waits, too.
pub(super) fn tell_end(outbox: Arc<Outbox>, number: u64, mut ticket: Ticket) {
    let id = ticket.record.id;
    // Not held while the outbox is locked: an outbox takes the two the other way round.
    let done = ticket.state.borrow().done.clone();
    if let Some(done) = done {
        return outbox.had_ended(number, id, &done);
    }
    crate::task::spawn("late-end", async move {
        // Its error means that the hub is shutting down. That is no word about the action: the end of the stream makes its client
        // come back.
        let ended = ticket.state.until(|state| state.done.is_some()).await;
        let done = ended.ok().and_then(|state| state.done.clone());
        if let Some(done) = done {
            outbox.had_ended(number, id, &done);
        }
    });
}

impl Core {
    /// Counts a session among those who wait.
    pub(super) fn follow(
        &mut self,
        id: OperationId,
        connection: Option<ConnectionId>,
        outbox: Arc<Outbox>,
        number: u64,
        follow: bool,
    ) {
        let Some(ticket) = self.add_waiter(id, connection) else { return };
        let waiter = ticket.claim.map_or(0, Claim::take);
        match outbox.waits_for(number, id, waiter, ticket.state, follow) {
            Ok(()) => {}
            // Its stream has ended in the meantime.
            Err(end) => return self.gone(id, waiter, end),
        }
        let told = Arc::clone(&outbox);
        let operation = self.operations.get_mut(&id);
        if let Some(waiter) = operation.and_then(|operation| operation.waiters.get_mut(waiter)) {
            waiter.follower = Some(Follower { outbox, number });
        }
        // Behind the operation's own row, which may not be durable yet.
        self.commit.then.push(Box::new(move || told.accepted(number)));
    }

    pub(super) fn resume(&mut self, resumed: Resumed) {
        let Resumed { of, outbox, connection, reply } = resumed;
        let mut unknown = Vec::new();
        for (id, number, follow) in of {
            if self.operations.contains_key(&id) {
                self.follow(id, connection, Arc::clone(&outbox), number, follow);
            } else if let Some(ticket) = self.recent.get(&id).map(Ticket::ended) {
                tell_end(Arc::clone(&outbox), number, ticket);
            } else {
                unknown.push((id, number, follow));
            }
        }
        // Who asked may have gone.
        let _gone = reply.send(unknown);
    }

    /// A session gives operations up: each ends, unless others wait for it.
    pub(super) fn give_up(&mut self, of: Vec<(OperationId, u64)>, done: Option<Then>) {
        for (id, waiter) in of {
            let Some(operation) = self.operations.get_mut(&id) else { continue };
            if !operation.waiters.contains(waiter) {
                continue;
            }
            if operation.waiters.len() == 1 {
                self.cancel(id, Status::cancelled("the client cancelled the action"));
                continue;
            }
            let waiter = operation.waiters.remove(waiter);
            self.n_clients -= 1;
            if let Some(follower) = waiter.and_then(|waiter| waiter.follower) {
                let record = Arc::clone(&operation.record);
                self.commit.then.push(Box::new(move || follower.given_up(&record)));
            }
        }
        self.commit.then.extend(done);
    }
}
