//! What a session and the task that keeps its stream share: a [`State`], and who waits for which change of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hands_proto::v1;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::patience::Heard;
use super::state::{All, CREDIT, CREDIT_ALONE, Cancelled, Next, State};
use super::told;
use crate::{ClientError, EncodedJob, Event, JobSpec};

/// What a submission takes beside its messages, about.
const SUBMISSION: usize = 256;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    service: watch::Sender<Service>,
    /// There is something to send.
    to_send: Notify,
    /// There is something to read.
    to_read: Notify,
    /// More can be submitted.
    room: Notify,
    /// A wish to give up all has its answer.
    given_up: Notify,
}

/// Whether the hub has sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It has not answered yet.
    Unknown,
    Served,
    /// It does not know what a session is.
    Unserved,
    /// Nothing came of it: [`Shared::failure`].
    Failed,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Shared {
    /// Of one action alone, or of many.
    pub(super) fn new(alone: bool) -> Self {
        let credit = if alone { CREDIT_ALONE } else { CREDIT };
        let (to_send, to_read, room, given_up) = Default::default();
        let state = Mutex::new(State::with_credit(credit));
        let service = watch::Sender::new(Service::Unknown);
        Self { state, service, to_send, to_read, room, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the hub's first answer.
    pub(super) async fn service(&self) -> Service {
        let mut service = self.service.subscribe();
        let known = service.wait_for(|service| *service != Service::Unknown).await;
        // No error: the sender is here.
        known.map_or(Service::Failed, |known| *known)
    }

    /// The hub has answered whether it has sessions.
    pub(super) fn is_served(&self, is_served: bool) {
        if !is_served {
            // It hears no wish either.
            self.lost();
        }
        let service = if is_served { Service::Served } else { Service::Unserved };
        self.service.send_if_modified(|known| std::mem::replace(known, service) != service);
    }

    /// Why nothing is sent any more.
    pub(super) fn failure(&self) -> Option<ClientError> {
        self.lock().take_failure()
    }

    pub(super) fn live(&self) -> usize {
        self.lock().live()
    }

    /// Whether the hub may have actions that have ended here.
    pub(super) fn has_left_behind(&self) -> bool {
        self.lock().has_left_behind()
    }

    /// Puts an action in line to be sent. Waits until little enough is under way.
    pub(super) async fn submit(
        &self,
        spec: &JobSpec,
        encoded: EncodedJob,
        alone: bool,
    ) -> Result<u64, ClientError> {
        let bytes = encoded.action_bytes.len() + encoded.command_bytes.len() + SUBMISSION;
        let bytes = bytes as u64;
        let mut encoded = Some(encoded);
        loop {
            let added = self.lock().take(spec, &mut encoded, bytes, alone);
            if let Some(added) = added {
                if added.is_ok() {
                    self.to_send.notify_one();
                }
                // There may be room for one more of those who wait; and all are to hear of it that nothing is sent any more.
                self.room.notify_one();
                return added;
            }
            self.room.notified().await;
        }
    }

    /// A number for an action that goes another way.
    pub(super) fn number(&self) -> u64 {
        self.lock().number()
    }

    /// Something happened to such an action.
    pub(super) fn tell(&self, id: u64, event: Result<Event, ClientError>) {
        self.lock().tell(id, event);
        self.to_read.notify_one();
    }

    /// Such an action has ended. It keeps its place until that was read.
    pub(super) fn tell_end(
        &self,
        id: u64,
        end: Result<Event, ClientError>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        self.lock().tell_end(id, end, place);
        self.to_read.notify_one();
    }

    /// Forgets what was not read.
    pub(super) fn forget_events(&self) {
        self.lock().forget_events();
    }

    pub(super) async fn next_event(&self) -> (u64, Result<Event, ClientError>) {
        loop {
            let event = self.lock().next_event();
            if let Some((id, event, is_worth)) = event {
                if is_worth {
                    self.to_send.notify_one();
                }
                return (id, event);
            }
            self.to_read.notified().await;
        }
    }

    pub(super) fn cancel(&self, id: u64) {
        let cancelled = self.lock().cancel(id);
        match cancelled {
            Cancelled::Unknown => {}
            Cancelled::Unsent => {
                self.to_read.notify_one();
                self.room.notify_one();
            }
            Cancelled::ToSend => self.to_send.notify_one(),
        }
    }

    pub(super) async fn cancel_all(&self, peer: &str) -> Result<(), ClientError> {
        let (ended, given_up) = self.lock().give_up_all(peer);
        // There is room, and whoever waits for it may not hear of it otherwise.
        self.room.notify_one();
        given_up.drop_aside();
        if let Some(ended) = ended {
            return ended;
        }
        self.to_send.notify_one();
        loop {
            let all = self.lock().all();
            match all {
                All::Done | All::No => return Ok(()),
                All::Wanted | All::Sent => self.given_up.notified().await,
                All::Lost => return Err(super::state::given_up_alone(peer)),
            }
        }
    }

    /// Waits until there may be something to send.
    pub(super) async fn stirred(&self) {
        self.to_send.notified().await;
    }

    /// Whether nothing is worth a connection.
    pub(super) fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// The next message for the hub. `at_ms`: since the welcome. `pause`: nothing new is to be submitted for now.
    pub(super) fn next(&self, at_ms: u32, pause: bool) -> Next {
        self.lock().next(at_ms, pause)
    }

    /// The hub has opened the session, or opened it again: what it had accepted is to be taken up.
    pub(super) fn welcome(&self, window: u64) -> Vec<v1::ResumeAction> {
        let resume = self.lock().welcome(window);
        self.room.notify_one();
        resume
    }

    /// The stream was lost: whatever has no answer is to be sent again.
    pub(super) fn lost(&self) {
        self.lock().lost();
        self.given_up.notify_one();
    }

    /// Since when that waits to be accepted which waits longest.
    pub(super) fn oldest_unaccepted(&self) -> Option<Instant> {
        self.lock().oldest_unaccepted()
    }

    /// What was submitted before that and the hub has not accepted ends with this.
    pub(super) fn fail_unaccepted(&self, before: Instant, error: &ClientError) {
        self.lock().fail_unaccepted(before, error);
        self.to_send.notify_one();
        self.to_read.notify_one();
        self.room.notify_one();
    }

    /// What waits, waits for this.
    pub(super) fn tell_waiting(&self, sentence: &str) {
        self.lock().tell_waiting(sentence);
        self.to_read.notify_one();
    }

    /// Nothing comes any more: every action ends with this.
    pub(super) fn fail(&self, error: ClientError) {
        self.lock().fail(error);
        self.service.send_if_modified(|known| {
            let is_first = *known == Service::Unknown;
            if is_first {
                *known = Service::Failed;
            }
            is_first
        });
        self.to_read.notify_one();
        self.room.notify_one();
        self.given_up.notify_one();
    }

    /// Takes what the hub says. `bytes`: what it cost the hub's credit.
    pub(super) fn hear(
        &self,
        events: v1::ActionEvents,
        bytes: u64,
        peer: &told::Peer<'_>,
    ) -> Heard {
        let (heard, is_new, all) = {
            let mut state = self.lock();
            let (heard, is_new) = state.hear(events, bytes, peer);
            (heard, is_new, state.all())
        };
        if all == All::Done {
            self.given_up.notify_one();
        }
        if is_new {
            self.to_read.notify_one();
        }
        self.room.notify_one();
        heard
    }
}
