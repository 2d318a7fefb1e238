//! What a session knows: actions by number, what waits to be sent, what waits to be read. It waits for nobody.

mod ending;
mod heard;

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use hands_proto::v1;
use hands_types::OperationId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::told;
use crate::told::Told;
use crate::{Caching, ClientError, EncodedJob, Event, JobSpec};
pub(super) use ending::given_up_alone;

/// Bytes of submissions that may be under way before the hub has said how many.
const WINDOW: u64 = 256 << 10;
/// Bytes of one message of submissions, beyond which nothing is added to it.
const MESSAGE: u64 = 64 << 10;
/// Submissions in one message.
const MANY: usize = 128;
/// Bytes of events that the hub may send ahead of their reader.
pub(super) const CREDIT: u64 = 1 << 20;
/// The same of a session of one action. The hub keeps as much memory for it.
pub(super) const CREDIT_ALONE: u64 = 64 << 10;
/// Actions that one message gives up.
const CANCELS: usize = 4096;

#[derive(Debug)]
pub(super) struct State {
    next: u64,
    actions: HashMap<u64, Action>,
    unsent: VecDeque<u64>,
    /// Bytes of what has no answer yet, sent or not; and how many there may be.
    under_way: u64,
    window: u64,
    events: VecDeque<Unread>,
    /// Bytes of events that the hub may send ahead of their reader.
    credit: u64,
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
pub(super) enum All {
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
    /// Its streams are read.
    alone: bool,
    /// Its end was asked for.
    is_cancelled: bool,
    told: Told,
}

#[derive(Debug)]
struct Pending {
    message: v1::SubmitAction,
    bytes: u64,
    is_sent: bool,
    /// It was sent over an earlier stream, too, and nobody knows what became of that.
    is_doubtful: bool,
    /// When it was submitted.
    since: Instant,
}

#[derive(Debug)]
struct Unread {
    id: u64,
    event: Result<Event, ClientError>,
    /// What the hub may send anew once this was read.
    grant: u64,
    /// What another action of an engine may take then.
    place: Option<OwnedSemaphorePermit>,
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
            credit: CREDIT,
            grant: 0,
            cancels: Vec::new(),
            left_behind: false,
            all: All::No,
            is_up: true,
            failure: None,
        }
    }
}

/// What became of a wish to give up one.
#[derive(Debug)]
pub(super) enum Cancelled {
    Unknown,
    /// Nobody had heard of it: it has ended.
    Unsent,
    ToSend,
}

/// What is sent next.
#[derive(Debug)]
pub(super) enum Next {
    Message(v1::actions_request::Kind),
    Nothing,
}

impl State {
    pub(super) fn with_credit(credit: u64) -> Self {
        Self { credit, ..Self::default() }
    }

    /// Whether so much is granted by now that it is worth a message.
    pub(super) const fn is_worth_a_message(&self) -> bool {
        self.grant >= self.credit / 4
    }

    pub(super) fn live(&self) -> usize {
        self.actions.len()
    }

    pub(super) const fn has_left_behind(&self) -> bool {
        self.left_behind
    }

    pub(super) const fn all(&self) -> All {
        self.all
    }

    pub(super) fn is_idle(&self) -> bool {
        self.actions.is_empty() && self.all != All::Wanted
    }

    /// Why nothing is taken any more.
    fn why_not(&self) -> Option<ClientError> {
        self.failure.as_ref().map(ClientError::again)
    }

    /// The same for whoever is to hear of it first.
    pub(super) fn take_failure(&mut self) -> Option<ClientError> {
        let again = self.why_not();
        std::mem::replace(&mut self.failure, again)
    }

    const fn has_room(&self, bytes: u64) -> bool {
        self.under_way == 0 || self.under_way + bytes <= self.window
    }

    /// Takes an action, if there is room for it.
    pub(super) fn take(
        &mut self,
        spec: &JobSpec,
        encoded: &mut Option<EncodedJob>,
        bytes: u64,
        alone: bool,
    ) -> Option<Result<u64, ClientError>> {
        if let Some(failure) = self.why_not() {
            return Some(Err(failure));
        }
        if !self.has_room(bytes) {
            return None;
        }
        Some(Ok(self.add(spec, encoded.take()?, bytes, alone)))
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn tell(&mut self, id: u64, event: Result<Event, ClientError>) {
        self.tell_end(id, event, None);
    }

    /// The end of an action that has a place until that was read.
    pub(super) fn tell_end(
        &mut self,
        id: u64,
        end: Result<Event, ClientError>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        self.events.push_back(Unread { id, event: end, grant: 0, place });
    }

    pub(super) fn forget_events(&mut self) {
        self.events.clear();
    }

    /// The next event, and whether there is something worth a message now.
    pub(super) fn next_event(&mut self) -> Option<(u64, Result<Event, ClientError>, bool)> {
        let Unread { id, event, grant, place } = self.events.pop_front()?;
        drop(place);
        self.grant += grant;
        Some((id, event, self.is_worth_a_message()))
    }

    pub(super) fn cancel(&mut self, id: u64) -> Cancelled {
        let Some(action) = self.actions.get_mut(&id) else { return Cancelled::Unknown };
        action.is_cancelled = true;
        if action.was_sent() {
            self.cancels.push(id);
            return Cancelled::ToSend;
        }
        self.unsent.retain(|unsent| *unsent != id);
        let asked = self.remove(id);
        self.tell(id, Ok(told::cancelled(asked)));
        Cancelled::Unsent
    }

    pub(super) fn next(&mut self, at_ms: u32, pause: bool) -> Next {
        if self.is_worth_a_message() {
            let bytes = std::mem::take(&mut self.grant);
            return Next::Message(v1::actions_request::Kind::Credit(bytes));
        }
        if self.all == All::Wanted {
            self.all = All::Sent;
            let all = v1::CancelActions { ids: Vec::new(), all: true };
            return Next::Message(v1::actions_request::Kind::Cancel(all));
        }
        if !pause && !self.unsent.is_empty() {
            let actions = self.take_unsent(at_ms);
            if !actions.is_empty() {
                let submissions = v1::Submissions { actions, ..v1::Submissions::default() };
                return Next::Message(v1::actions_request::Kind::Submit(submissions));
            }
        }
        // Behind the submissions that they are about.
        let ids = self.take_cancels();
        if !ids.is_empty() {
            let cancel = v1::CancelActions { ids, all: false };
            return Next::Message(v1::actions_request::Kind::Cancel(cancel));
        }
        Next::Nothing
    }

    pub(super) fn welcome(&mut self, window: u64) -> Vec<v1::ResumeAction> {
        self.window = window;
        self.is_up = true;
        let accepted = self.actions.iter().filter(|(_, action)| action.pending.is_none());
        let mut resume: Vec<v1::ResumeAction> = accepted
            .map(|(id, action)| v1::ResumeAction {
                id: *id,
                operation: action.operation.to_string(),
                follow: action.follow,
            })
            .collect();
        resume.sort_unstable_by_key(|resume| resume.id);
        resume
    }

    pub(super) fn lost(&mut self) {
        self.all = match self.all {
            All::Wanted if self.is_up => All::Lost,
            All::Sent => All::Lost,
            all => all,
        };
        self.is_up = false;
        // What was granted was granted to the stream.
        self.grant = 0;
        for told in &mut self.events {
            told.grant = 0;
        }
        let Self { actions, unsent, cancels, .. } = self;
        unsent.clear();
        // Nobody knows which were heard.
        cancels.clear();
        for (id, action) in actions {
            if action.is_cancelled {
                cancels.push(*id);
            }
            if let Some(pending) = &mut action.pending {
                pending.is_doubtful |= std::mem::take(&mut pending.is_sent);
                pending.message.sent_before |= pending.is_doubtful;
                unsent.push_back(*id);
            }
        }
        unsent.make_contiguous().sort_unstable();
    }

    pub(super) fn oldest_unaccepted(&self) -> Option<Instant> {
        let pending = self.actions.values().filter_map(|action| action.pending.as_ref());
        pending.map(|pending| pending.since).min()
    }

    pub(super) fn tell_waiting(&mut self, sentence: &str) {
        // What the hub does not have yet is about to end with this sentence.
        let waits = |action: &Action| action.follow && action.pending.is_none();
        let followed = self.actions.iter().filter(|(_, action)| waits(action));
        let ids: Vec<u64> = followed.map(|(id, _)| *id).collect();
        for id in ids {
            self.tell(id, Ok(Event::Waiting { reason: sentence.to_owned() }));
        }
    }

    /// Puts an action in line.
    fn add(&mut self, spec: &JobSpec, encoded: EncodedJob, bytes: u64, alone: bool) -> u64 {
        let id = self.number();
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
            alone,
        };
        let pending = Some(Box::new(Pending {
            message,
            bytes,
            is_sent: false,
            is_doubtful: false,
            since: Instant::now(),
        }));
        let action = Action {
            asked: SystemTime::now(),
            pending,
            operation: OperationId(0),
            follow: spec.follow,
            alone,
            is_cancelled: false,
            told: Told::default(),
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
}

impl Action {
    /// Whether the hub may know of it.
    fn was_sent(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.is_sent || pending.is_doubtful)
    }
}
