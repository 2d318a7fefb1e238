//! What a session and the task that keeps its stream share: actions by number, what waits to be sent, what waits to be read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hands_proto::v1;
use hands_types::OperationId;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::patience::{Heard, Refused};
use super::told;
use crate::{Caching, ClientError, EncodedJob, Event, JobSpec};

/// Bytes of submissions that may be under way before the hub has said how many.
const WINDOW: u64 = 256 << 10;
/// Bytes of one message of submissions, beyond which nothing is added to it.
const MESSAGE: u64 = 64 << 10;
/// Submissions in one message.
const MANY: usize = 128;
/// What a submission takes beside its messages, about.
const SUBMISSION: usize = 256;
/// Bytes of events that the hub may send ahead of their reader.
pub(super) const CREDIT: u64 = 1 << 20;
/// Actions that one message gives up.
const CANCELS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to send.
    to_send: Notify,
    /// There is something to read.
    to_read: Notify,
    /// More can be submitted.
    room: Notify,
    /// A wish to give up all has its answer.
    given_up: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    next: u64,
    actions: HashMap<u64, Action>,
    unsent: VecDeque<u64>,
    /// Bytes of what has no answer yet, sent or not; and how many there may be.
    under_way: u64,
    window: u64,
    events: VecDeque<Told>,
    /// Bytes that may be granted to the hub again.
    grant: u64,
    cancels: Vec<u64>,
    /// The hub may have actions of which nothing is kept here.
    left_behind: bool,
    all: All,
    /// Whether the hub hears what is sent.
    is_up: bool,
    /// Why nothing is sent any more.
    failure: Option<ClientError>,
}

/// What became of a wish to give up all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum All {
    No,
    Wanted,
    Sent,
    Done,
    /// The stream was lost in between.
    Lost,
}

/// One action that has not ended.
#[derive(Debug)]
struct Action {
    asked: SystemTime,
    /// What it takes to send it, until the hub has it.
    pending: Option<Box<Pending>>,
    /// Its name, once the hub has it.
    operation: OperationId,
    follow: bool,
    /// Its end was asked for.
    is_cancelled: bool,
    told: told::Told,
}

#[derive(Debug)]
struct Pending {
    message: v1::SubmitAction,
    bytes: u64,
    is_sent: bool,
    /// When it was submitted.
    since: Instant,
}

#[derive(Debug)]
struct Told {
    id: u64,
    event: Result<Event, ClientError>,
    /// What the hub may send anew once this was read.
    grant: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            next: 0,
            actions: HashMap::new(),
            unsent: VecDeque::new(),
            under_way: 0,
            window: WINDOW,
            events: VecDeque::new(),
            grant: 0,
            cancels: Vec::new(),
            left_behind: false,
            all: All::No,
            is_up: true,
            failure: None,
        }
    }
}

/// What is sent next.
#[derive(Debug)]
pub(super) enum Next {
    Message(v1::actions_request::Kind),
    Nothing,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live(&self) -> usize {
        self.lock().actions.len()
    }

    /// Whether the hub may have actions that have ended here.
    pub(super) fn has_left_behind(&self) -> bool {
        self.lock().left_behind
    }

    /// Puts an action in line to be sent. Waits until little enough is under way.
    pub(super) async fn submit(
        &self,
        spec: &JobSpec,
        encoded: EncodedJob,
    ) -> Result<u64, ClientError> {
        let bytes = encoded.action_bytes.len() + encoded.command_bytes.len() + SUBMISSION;
        let bytes = bytes as u64;
        loop {
            {
                let mut state = self.lock();
                if let Some(failure) = &state.failure {
                    // Whoever else waits is to hear of it, too.
                    self.room.notify_one();
                    return Err(failure.again());
                }
                if state.under_way == 0 || state.under_way + bytes <= state.window {
                    let id = state.add(spec, encoded, bytes);
                    drop(state);
                    self.to_send.notify_one();
                    // There may be room for one more of those who wait.
                    self.room.notify_one();
                    return Ok(id);
                }
            }
            self.room.notified().await;
        }
    }

    /// A number for an action that goes another way.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next - 1
    }

    /// Something happened to such an action.
    pub(super) fn tell(&self, id: u64, event: Result<Event, ClientError>) {
        self.lock().events.push_back(Told { id, event, grant: 0 });
        self.to_read.notify_one();
    }

    /// Forgets what was not read.
    pub(super) fn forget_events(&self) {
        self.lock().events.clear();
    }

    pub(super) async fn next_event(&self) -> (u64, Result<Event, ClientError>) {
        loop {
            {
                let mut state = self.lock();
                if let Some(told) = state.events.pop_front() {
                    state.grant += told.grant;
                    let is_worth = state.grant >= CREDIT / 4;
                    drop(state);
                    if is_worth {
                        self.to_send.notify_one();
                    }
                    return (told.id, told.event);
                }
            }
            self.to_read.notified().await;
        }
    }

    pub(super) fn cancel(&self, id: u64) {
        let mut state = self.lock();
        let Some(action) = state.actions.get_mut(&id) else { return };
        action.is_cancelled = true;
        if action
            .pending
            .as_ref()
            .is_some_and(|pending| !pending.is_sent && !pending.message.sent_before)
        {
            // Nobody has heard of it.
            state.unsent.retain(|unsent| *unsent != id);
            let asked = state.remove(id);
            let event = Ok(told::cancelled(asked));
            state.events.push_back(Told { id, event, grant: 0 });
            drop(state);
            self.to_read.notify_one();
            self.room.notify_one();
            return;
        }
        state.cancels.push(id);
        drop(state);
        self.to_send.notify_one();
    }

    pub(super) async fn cancel_all(&self, peer: &str) -> Result<(), ClientError> {
        let (ended, given_up) = self.lock().give_up_all(peer);
        // There is room, and whoever waits for it may not hear of it otherwise.
        self.room.notify_one();
        drop_aside(given_up);
        if let Some(ended) = ended {
            return ended;
        }
        self.to_send.notify_one();
        loop {
            let all = self.lock().all;
            match all {
                All::Done | All::No => return Ok(()),
                All::Wanted | All::Sent => self.given_up.notified().await,
                All::Lost => return Err(given_up_alone(peer)),
            }
        }
    }

    /// Waits until there may be something to send.
    pub(super) async fn stirred(&self) {
        self.to_send.notified().await;
    }

    /// Whether nothing is worth a connection.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.actions.is_empty() && state.all != All::Wanted
    }

    /// The next message for the hub. `at_ms`: since the welcome. `pause`: nothing new is to be submitted for now.
    pub(super) fn next(&self, at_ms: u32, pause: bool) -> Next {
        let mut state = self.lock();
        if state.grant >= CREDIT / 4 {
            let bytes = std::mem::take(&mut state.grant);
            return Next::Message(v1::actions_request::Kind::Credit(bytes));
        }
        if state.all == All::Wanted {
            state.all = All::Sent;
            let all = v1::CancelActions { ids: Vec::new(), all: true };
            return Next::Message(v1::actions_request::Kind::Cancel(all));
        }
        if !pause && !state.unsent.is_empty() {
            let actions = state.take_unsent(at_ms);
            if !actions.is_empty() {
                let submissions = v1::Submissions { actions, ..v1::Submissions::default() };
                return Next::Message(v1::actions_request::Kind::Submit(submissions));
            }
        }
        // Behind the submissions that they are about.
        let ids = state.take_cancels();
        if !ids.is_empty() {
            let cancel = v1::CancelActions { ids, all: false };
            return Next::Message(v1::actions_request::Kind::Cancel(cancel));
        }
        Next::Nothing
    }

    /// The hub has opened the session, or opened it again: what it had accepted is to be taken up.
    pub(super) fn welcome(&self, window: u64) -> Vec<v1::ResumeAction> {
        let mut state = self.lock();
        state.window = window;
        state.is_up = true;
        let accepted = state.actions.iter().filter(|(_, action)| action.pending.is_none());
        let mut resume: Vec<v1::ResumeAction> = accepted
            .map(|(id, action)| v1::ResumeAction {
                id: *id,
                operation: action.operation.to_string(),
                follow: action.follow,
            })
            .collect();
        resume.sort_unstable_by_key(|resume| resume.id);
        drop(state);
        self.room.notify_one();
        resume
    }

    /// The stream was lost: whatever has no answer is to be sent again.
    pub(super) fn lost(&self) {
        let mut state = self.lock();
        if !std::mem::take(&mut state.is_up) {
            return;
        }
        state.all = match state.all {
            All::Wanted | All::Sent => All::Lost,
            all => all,
        };
        // What was granted was granted to the stream.
        state.grant = 0;
        for told in &mut state.events {
            told.grant = 0;
        }
        let State { actions, unsent, cancels, .. } = &mut *state;
        unsent.clear();
        // Nobody knows which were heard.
        cancels.clear();
        for (id, action) in actions {
            if action.is_cancelled {
                cancels.push(*id);
            }
            if let Some(pending) = &mut action.pending {
                pending.message.sent_before |= std::mem::take(&mut pending.is_sent);
                unsent.push_back(*id);
            }
        }
        unsent.make_contiguous().sort_unstable();
        drop(state);
        self.given_up.notify_one();
    }

    /// Since when that waits to be accepted which waits longest.
    pub(super) fn oldest_unaccepted(&self) -> Option<Instant> {
        let state = self.lock();
        let pending = state.actions.values().filter_map(|action| action.pending.as_ref());
        pending.map(|pending| pending.since).min()
    }

    /// What was submitted before that and the hub has not accepted ends with this.
    pub(super) fn fail_unaccepted(&self, before: Instant, error: &ClientError) {
        let mut state = self.lock();
        let unaccepted = state.actions.iter().filter(|(_, action)| {
            action.pending.as_ref().is_some_and(|pending| pending.since <= before)
        });
        let mut ids: Vec<u64> = unaccepted.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            if state.actions.get(&id).is_some_and(Action::was_sent) {
                // The hub may have it after all.
                state.cancels.push(id);
                state.left_behind = true;
            }
            state.remove(id);
            state.events.push_back(Told { id, event: Err(error.again()), grant: 0 });
        }
        drop(state);
        self.to_send.notify_one();
        self.to_read.notify_one();
        self.room.notify_one();
    }

    /// Nothing comes any more: every action ends with this.
    pub(super) fn fail(&self, error: ClientError) {
        let mut state = self.lock();
        let mut ids: Vec<u64> = state.actions.drain().map(|(id, _)| id).collect();
        ids.sort_unstable();
        for id in ids {
            let event = Err(error.again());
            state.events.push_back(Told { id, event, grant: 0 });
        }
        if matches!(state.all, All::Wanted | All::Sent) {
            state.all = All::Lost;
        }
        state.failure = Some(error);
        drop(state);
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
        let mut state = self.lock();
        let before = state.events.len();
        let mut heard = Heard::default();
        for v1::ActionAccepted { id, operation } in events.accepted {
            heard.took |= state.accepted(id, &operation);
        }
        for told in events.states {
            state.changed(told);
        }
        for ended in events.ended {
            let was_pending = state.is_pending(ended.id);
            match state.ended(ended, peer) {
                Some(refused) => heard.refuses(refused),
                None => heard.took |= was_pending,
            }
        }
        for id in events.unknown {
            if state.actions.contains_key(&id) {
                state.remove(id);
                let event = Err(ClientError::Forgotten { peer: peer.name.to_owned() });
                state.events.push_back(Told { id, event, grant: 0 });
            }
        }
        if events.all_cancelled && state.all == All::Sent {
            state.all = All::Done;
            self.given_up.notify_one();
        }
        let is_new = state.events.len() > before;
        match state.events.back_mut() {
            Some(last) if is_new => last.grant += bytes,
            _ => state.grant += bytes,
        }
        drop(state);
        if is_new {
            self.to_read.notify_one();
        }
        self.room.notify_one();
        heard
    }
}

impl State {
    fn add(&mut self, spec: &JobSpec, encoded: EncodedJob, bytes: u64) -> u64 {
        let id = self.next;
        self.next += 1;
        let message = v1::SubmitAction {
            id,
            at_ms: 0,
            action_digest: Some(encoded.action.into()),
            action: encoded.action_bytes,
            command: encoded.command_bytes,
            skip_cache_lookup: spec.caching != Caching::Cached,
            priority: spec.priority,
            options: Some(spec.options()),
            mnemonic: crate::metadata::bounded(&spec.mnemonic),
            target: crate::metadata::bounded(&spec.target),
            follow: spec.follow,
            sent_before: false,
        };
        let pending =
            Some(Box::new(Pending { message, bytes, is_sent: false, since: Instant::now() }));
        let action = Action {
            asked: SystemTime::now(),
            pending,
            operation: OperationId(0),
            follow: spec.follow,
            is_cancelled: false,
            told: told::Told::default(),
        };
        self.actions.insert(id, action);
        self.unsent.push_back(id);
        self.under_way += bytes;
        id
    }

    /// Forgets an action; tells when it was asked for.
    fn remove(&mut self, id: u64) -> Option<SystemTime> {
        let action = self.actions.remove(&id)?;
        self.answered(action.pending);
        Some(action.asked)
    }

    fn answered(&mut self, pending: Option<Box<Pending>>) {
        let bytes = pending.map_or(0, |pending| pending.bytes);
        self.under_way = self.under_way.saturating_sub(bytes);
    }

    /// Of what is to be given up, that of which the hub has heard.
    fn take_cancels(&mut self) -> Vec<u64> {
        let Self { actions, cancels, .. } = self;
        let mut ids = Vec::new();
        cancels.retain(|id| {
            let pending = actions.get(id).and_then(|action| action.pending.as_ref());
            let is_unsent = pending.is_some_and(|pending| !pending.is_sent);
            if is_unsent || ids.len() == CANCELS {
                return true;
            }
            ids.push(*id);
            false
        });
        ids
    }

    fn take_unsent(&mut self, at_ms: u32) -> Vec<v1::SubmitAction> {
        let mut actions = Vec::new();
        let mut bytes = 0;
        while actions.len() < MANY && bytes < MESSAGE {
            let Some(id) = self.unsent.pop_front() else { break };
            let pending = self.actions.get_mut(&id).and_then(|action| action.pending.as_mut());
            let Some(pending) = pending else { continue };
            pending.is_sent = true;
            if !pending.message.sent_before {
                pending.message.at_ms = at_ms;
            }
            bytes += pending.bytes;
            actions.push(pending.message.clone());
        }
        actions
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
            let event = Ok(Event::Queued { id: operation.to_string() });
            self.events.push_back(Told { id, event, grant: 0 });
        }
        self.answered(pending);
        is_new
    }

    fn changed(&mut self, state: v1::ActionState) {
        let id = state.id;
        let Some(action) = self.actions.get_mut(&id) else { return };
        let events = action.told.changed(state, action.follow);
        let events = events.into_iter().map(|event| Told { id, event: Ok(event), grant: 0 });
        self.events.extend(events);
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
                let event = Ok(told::cancelled(asked));
                self.events.push_back(Told { id, event, grant: 0 });
                return None;
            }
            pending.is_sent = false;
            pending.message.sent_before = true;
            self.unsent.push_back(id);
            return Some(refused);
        }
        let events = action.told.ended(ended, action.asked, peer);
        self.remove(id);
        self.events.extend(events.into_iter().map(|event| Told { id, event, grant: 0 }));
        None
    }

    /// Forgets all. Gives what is known of their end, unless the hub is to say, and what is to be dropped.
    fn give_up_all(&mut self, peer: &str) -> (Option<Result<(), ClientError>>, GivenUp) {
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
        if self.failure.is_some() || !was_sent {
            return (Some(Ok(())), given_up);
        }
        if !self.is_up {
            // The hub does not hear it, and would not know what is meant when it does.
            return (Some(Err(given_up_alone(peer))), given_up);
        }
        self.all = All::Wanted;
        (None, given_up)
    }
}

/// What is forgotten at once.
struct GivenUp {
    _actions: HashMap<u64, Action>,
    events: VecDeque<Told>,
}

/// So many of them take long to drop.
const LONG: usize = 1000;

/// Drops it where nobody waits for that.
fn drop_aside(given_up: GivenUp) {
    let n = given_up._actions.len() + given_up.events.len();
    if n > LONG
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(given_up));
    }
}

impl Action {
    /// Whether the hub may know of it.
    fn was_sent(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.is_sent || pending.message.sent_before)
    }
}

/// The stream was lost, so that the hub does not know that all was given up.
fn given_up_alone(peer: &str) -> ClientError {
    let why = "it was lost while all actions were being given up".to_owned();
    ClientError::Connect { peer: peer.to_owned(), why, retry: true }
}
