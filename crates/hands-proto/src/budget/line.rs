//! Those of one client that wait for memory: in a line, in the order in which they came. Whoever gives memory back hands it on
//! to the first who have enough of it, and disturbs nobody else.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tonic::Status;

use super::{Account, MessageBudget, Use, refusal};

/// Calls of one client that wait for memory at once; the next is refused.
pub const MOST_WAITING: usize = 1024;

/// The line of one client.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    bytes: usize,
    call: oneshot::Sender<Room>,
}

/// Memory that was handed to a call, and is given back unless the call keeps it.
#[derive(Debug)]
pub(super) struct Room {
    account: Arc<Account>,
    bytes: usize,
}

impl Room {
    /// From here on it is the call that gives it back.
    pub(super) fn keep(mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.account.give(self.bytes);
    }
}

/// A place in the line, until it is dropped.
struct InLine<'a> {
    account: &'a Arc<Account>,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let left = {
            let mut line = self.account.line();
            // Nobody has one whose turn has come.
            let at = line.waiting.binary_search_by_key(&self.number, |waiter| waiter.number);
            let left = at.ok().map(|at| (at, line.waiting.remove(at)));
            self.account.tell_first(&line);
            left
        };
        // The next may need less.
        if matches!(left, Some((0, _))) {
            self.account.serve();
        }
    }
}

impl Account {
    /// Waits until there is room, behind all that came before.
    pub(super) async fn room(self: &Arc<Self>, bytes: usize) -> Result<Room, Status> {
        let (number, came) = {
            let mut line = self.line();
            // Whoever wants nothing would be taken for the end of the line.
            let is_first = line.waiting.is_empty() || bytes == 0;
            if is_first && self.try_take(bytes, Use::Needed).is_ok() {
                return Ok(Room { account: Arc::clone(self), bytes });
            }
            if bytes > self.budget.all / 3 {
                // It would wait in vain, and all others behind it.
                return Err(self.refusal(bytes));
            }
            if line.waiting.len() >= MOST_WAITING {
                return Err(refusal(format!(
                    "{MOST_WAITING} calls of this client wait for memory: send fewer at once, or try again later"
                )));
            }
            let number = line.next;
            line.next += 1;
            let (call, came) = oneshot::channel();
            line.waiting.push_back(Waiter { number, bytes, call });
            self.tell_first(&line);
            (number, came)
        };
        self.budget.has_line(self);
        let _place = InLine { account: self, number };
        // Something may have been given back just before.
        self.serve();
        // Nobody drops it but its own place.
        came.await.map_err(|_| Self::crowd())
    }

    fn crowd() -> Status {
        super::Charge::crowded()
    }

    /// Hands what is free to the first who have enough of it.
    fn serve(self: &Arc<Self>) {
        let mut served = Vec::new();
        {
            let mut line = self.line();
            while let Some(first) = line.waiting.front()
                && self.try_take(first.bytes, Use::Needed).is_ok()
            {
                served.extend(line.waiting.pop_front());
            }
            self.tell_first(&line);
        }
        for Waiter { bytes, call, .. } in served {
            // One that has left just now gives it back.
            drop(call.send(Room { account: Arc::clone(self), bytes }));
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has others see what the first of the line waits for.
    fn tell_first(&self, line: &Line) {
        let bytes = line.waiting.front().map_or(0, |first| first.bytes);
        self.first.store(bytes, Ordering::SeqCst);
    }
}

impl MessageBudget {
    /// Something of this client waits.
    fn has_line(&self, account: &Arc<Account>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if !account.is_listed.swap(true, Ordering::SeqCst) {
            lines.push(Arc::downgrade(account));
        }
        self.has_waiting.store(true, Ordering::SeqCst);
    }

    /// Looks at the first of each line: a few words of memory for each client that has one.
    pub(super) fn serve(&self) {
        let mut fitting = Vec::new();
        {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let all = self.held.load(Ordering::SeqCst);
            lines.retain(|account| {
                let Some(account) = account.upgrade() else { return false };
                let bytes = account.first.load(Ordering::SeqCst);
                if bytes == 0 {
                    account.is_listed.store(false, Ordering::SeqCst);
                    return false;
                }
                let mine = account.held.load(Ordering::SeqCst) + bytes;
                if mine <= self.all.saturating_sub(all + bytes) / 2 {
                    fitting.push(account);
                }
                true
            });
            self.has_waiting.store(!lines.is_empty(), Ordering::SeqCst);
        }
        fitting.iter().for_each(Account::serve);
    }
}
