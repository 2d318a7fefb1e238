//! What a session's hub says, and what that changes.

use hands_proto::v1;

use super::{All, State, told};
use crate::session::patience::{Heard, Refused};
use crate::{ClientError, Event};

impl State {
    /// Takes what the hub says. Gives, too, whether there is something new to read.
    pub(in crate::session) fn hear(
        &mut self,
        events: v1::ActionEvents,
        bytes: u64,
        peer: &told::Peer<'_>,
    ) -> (Heard, bool) {
        let before = self.events.len();
        let mut heard = Heard::default();
        for v1::ActionAccepted { id, operation } in events.accepted {
            heard.took |= self.accepted(id, &operation);
        }
        for told in events.states {
            self.changed(told);
        }
        for ended in events.ended {
            let was_pending = self.is_pending(ended.id);
            match self.ended(ended, peer) {
                Some(refused) => heard.refuses(refused),
                None => heard.took |= was_pending,
            }
        }
        for id in events.unknown {
            if self.actions.contains_key(&id) {
                self.remove(id);
                self.tell(id, Err(ClientError::Forgotten { peer: peer.name.to_owned() }));
            }
        }
        if events.all_cancelled && self.all == All::Sent {
            self.all = All::Done;
        }
        let is_new = self.events.len() > before;
        match self.events.back_mut() {
            Some(last) if is_new => last.grant += bytes,
            _ => self.grant += bytes,
        }
        (heard, is_new)
    }

    fn is_pending(&self, id: u64) -> bool {
        self.actions.get(&id).is_some_and(|action| action.pending.is_some())
    }

    /// False where it was accepted before, or is not known.
    fn accepted(&mut self, id: u64, operation: &str) -> bool {
        let Some(action) = self.actions.get_mut(&id) else { return false };
        let Ok(operation) = operation.parse() else { return false };
        action.operation = operation;
        let pending = action.pending.take();
        let is_new = pending.is_some();
        if is_new && action.follow {
            self.tell(id, Ok(Event::Queued { id: operation.to_string() }));
        }
        self.answered(pending);
        is_new
    }

    fn changed(&mut self, state: v1::ActionState) {
        let id = state.id;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let follow = action.follow;
        for event in action.told.changed(told::state(state), action.alone) {
            // That an attempt was lost is told in any case.
            if follow || matches!(event, Event::Again { .. }) {
                self.tell(id, Ok(event));
            }
        }
    }

    /// Gives what it says where it was refused for now, and is to be sent once more.
    fn ended(&mut self, ended: v1::ActionEnded, peer: &told::Peer<'_>) -> Option<Refused> {
        let id = ended.id;
        let has_accepted = || self.actions.values().any(|action| action.pending.is_none());
        let refused = told::for_now(&ended, has_accepted);
        let action = self.actions.get_mut(&id)?;
        if let (Some(refused), Some(pending)) = (refused, &mut action.pending) {
            if action.is_cancelled {
                let asked = self.remove(id);
                self.tell(id, Ok(told::cancelled(asked)));
                return None;
            }
            pending.is_sent = false;
            pending.message.sent_before = true;
            self.unsent.push_back(id);
            return Some(refused);
        }
        let ended = told::end(ended, action.asked, peer).map(|result| action.told.ended(result));
        self.remove(id);
        match ended {
            Ok(events) => events.into_iter().for_each(|event| self.tell(id, Ok(event))),
            Err(refused) => self.tell(id, Err(refused)),
        }
        None
    }
}
