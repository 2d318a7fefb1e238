//! Actions that end without a word of the hub's about them: because it says nothing for too long, or all are given up.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::{Action, All, State, Unread};
use crate::ClientError;

impl State {
    pub(in crate::session) fn fail_unaccepted(&mut self, before: Instant, error: &ClientError) {
        let unaccepted = self.actions.iter().filter(|(_, action)| {
            action.pending.as_ref().is_some_and(|pending| pending.since <= before)
        });
        let mut ids: Vec<u64> = unaccepted.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            if self.actions.get(&id).is_some_and(Action::was_sent) {
                // The hub may have it after all.
                self.cancels.push(id);
                self.left_behind = true;
            }
            self.remove(id);
            self.tell(id, Err(error.again()));
        }
    }

    pub(in crate::session) fn fail(&mut self, error: ClientError) {
        // A hub that was away for so long has given up itself what it had.
        self.left_behind |= !matches!(error, ClientError::Lost { .. })
            && self.actions.values().any(Action::was_sent);
        let mut ids: Vec<u64> = self.actions.drain().map(|(id, _)| id).collect();
        ids.sort_unstable();
        let last = ids.pop();
        for id in ids {
            self.tell(id, Err(error.again()));
        }
        if matches!(self.all, All::Wanted | All::Sent) {
            self.all = All::Lost;
        }
        // With its cause, for one of those who hear of it.
        self.failure = Some(match last {
            Some(last) => {
                let again = error.again();
                self.tell(last, Err(error));
                again
            }
            None => error,
        });
    }

    /// Forgets all. Gives what is known of their end, unless the hub is to say, and what is to be dropped.
    pub(in crate::session) fn give_up_all(
        &mut self,
        peer: &str,
    ) -> (Option<Result<(), ClientError>>, GivenUp) {
        let was_sent =
            std::mem::take(&mut self.left_behind) || self.actions.values().any(Action::was_sent);
        let given_up = GivenUp {
            _actions: std::mem::take(&mut self.actions),
            events: std::mem::take(&mut self.events),
        };
        self.grant += given_up.events.iter().map(|told| told.grant).sum::<u64>();
        self.unsent = VecDeque::new();
        self.cancels = Vec::new();
        self.under_way = 0;
        if !was_sent {
            return (Some(Ok(())), given_up);
        }
        if !self.is_up || self.failure.is_some() {
            // The hub does not hear it, and would not know what is meant when it does.
            return (Some(Err(given_up_alone(peer))), given_up);
        }
        self.all = All::Wanted;
        (None, given_up)
    }
}

/// What is forgotten at once.
#[derive(Debug)]
pub(in crate::session) struct GivenUp {
    _actions: HashMap<u64, Action>,
    events: VecDeque<Unread>,
}

/// So many of them take long to drop.
const LONG: usize = 1000;

impl GivenUp {
    /// Drops it where nobody waits for that.
    pub(in crate::session) fn drop_aside(self) {
        let n = self._actions.len() + self.events.len();
        if n > LONG
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(self));
        }
    }
}

/// The stream was lost, so that the hub does not know that all was given up.
pub(in crate::session) fn given_up_alone(peer: &str) -> ClientError {
    let why = "it was lost while all actions were being given up".to_owned();
    ClientError::Connect { peer: peer.to_owned(), why, retry: true }
}
