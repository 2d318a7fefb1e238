//! What a session is to be told: put in by whoever knows it, taken out as fast as the client reads.
//!
//! Its memory is bounded: by the number of the session's actions, for which the call's account is asked first, and by
//! [`HELD`] bytes of results. A result that does not fit is read from the table when its turn comes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hands_link::StreamEnd;
use hands_proto::{Charge, reapi, rpc, v1};
use hands_types::OperationId;
use hands_types::limits::INLINE_STREAM;
use prost::Message as _;
use tokio::sync::{Notify, watch};
use tonic::Status;

use crate::core::{OpState, Stage};
use crate::db::{Done, Stored};
use crate::status::to_rpc;
use crate::told::Hearer;

/// Bytes of results that wait for the client in memory.
const HELD: usize = 1 << 20;
/// The same for a client that takes little at once.
const HELD_LEAST: usize = 64 << 10;
/// What an action takes here, with its place in what is to be said.
const ACTION: usize = 192;
/// So many actions are asked for at once.
pub(super) const STEP: usize = 512;
/// Words of one message, and bytes of results in it beyond which nothing is added.
const WORDS: usize = 256;
pub(super) const BYTES: usize = 64 << 10;

/// What one session is to be told.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Bytes of results that wait for the client in memory.
    pub(super) most: usize,
    /// There is something to say.
    wake: Notify,
    /// Something was said, so that there is room.
    taken: Notify,
    closed: watch::Sender<bool>,
    charge: Option<Arc<Charge>>,
    /// Held by whoever has its actions leave, until the core has heard of all.
    pub(super) leaving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Actions that have not ended, by the session's numbers.
    live: HashMap<u64, Live>,
    /// Numbers of those that the core does not have yet.
    coming: HashSet<u64>,
    accepted: VecDeque<(u64, OperationId)>,
    said: VecDeque<Said>,
    held: usize,
    /// Actions for which memory was asked.
    reserved: usize,
    /// Bytes that the client still takes. Below 0 where the last message was larger: the next waits until that is paid back.
    credit: i64,
    all_cancelled: bool,
    /// The client sends nothing more: the session ends with its last action.
    is_finishing: bool,
    /// Why the hub ends the session.
    failure: Option<Status>,
    /// It is the hub that ends the session.
    has_failed: bool,
    /// Nobody reads any more.
    is_closed: bool,
    /// How its stream ended. Until that is known its actions stay here, and may be given up.
    end: Option<StreamEnd>,
}

#[derive(Debug)]
struct Live {
    /// As bytes: as a number it would be aligned to 16.
    operation: [u8; 16],
    waiter: u64,
    state: Hearer<OpState>,
    /// Every state is told, not only the loss of an attempt.
    follow: bool,
    /// A word about its state is waiting.
    is_noted: bool,
    /// Lost attempts that were told.
    lost: u32,
}

const _: () = assert!(size_of::<(u64, Live)>() <= 56);

/// Actions of which nothing is said any more.
#[derive(Debug)]
pub(super) struct Left(HashMap<u64, Live>);

impl Left {
    /// Their operations and waiters. They may be very many.
    pub(super) async fn waiters(self) -> Vec<(OperationId, u64)> {
        let (n, live) = (self.0.len(), self.0);
        let all = move || live.into_values().map(|live| live.waits()).collect();
        // An error says that the hub ends.
        crate::task::blocking_for(n, all).await.unwrap_or_default()
    }
}

/// A word that costs credit.
#[derive(Debug)]
enum Said {
    State(u64),
    Ended(Ended),
    Unknown(u64),
}

/// An action's end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) operation: Option<OperationId>,
    pub(super) attempt: u32,
    /// None where it has to be read from the table.
    pub(super) response: Option<Arc<reapi::ExecuteResponse>>,
    /// What it takes in memory now.
    bytes: usize,
    /// Bytes that it has as a message, its small streams among them.
    pub(super) size: usize,
}

/// Bytes of an answer as a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// As it is.
    bytes: usize,
    /// With its small streams inside.
    told: usize,
}

impl Size {
    /// Takes milliseconds where a result has very many entries.
    pub(crate) fn of(response: &reapi::ExecuteResponse) -> Self {
        let bytes = response.encoded_len();
        Self { bytes, told: bytes + added_streams(response) }
    }
}

/// What is said next, its results not filled in.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) events: v1::ActionEvents,
    pub(super) ended: Vec<Ended>,
}

impl Outbox {
    /// An empty one for a client that takes so many bytes.
    pub(super) fn new(charge: Option<Arc<Charge>>, credit: u64) -> Result<Arc<Self>, Status> {
        // Who takes little at once has little kept.
        let most = usize::try_from(credit).unwrap_or(HELD).clamp(HELD_LEAST, HELD);
        if let Some(charge) = &charge {
            charge.reserve(most)?;
        }
        let state = Mutex::new(State { credit: signed(credit), ..State::default() });
        let (wake, taken, closed, leaving) = Default::default();
        Ok(Arc::new(Self { state, most, wake, taken, closed, charge, leaving }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for memory for so many actions more; else says what to tell the client of them.
    pub(super) fn make_room(&self, n: usize) -> Result<(), Status> {
        let Some(charge) = &self.charge else { return Ok(()) };
        let mut state = self.lock();
        let wanted = state.live.len() + state.said.len() + state.coming.len() + n;
        if wanted > state.reserved {
            let more = (wanted - state.reserved).next_multiple_of(STEP);
            charge.reserve(more * ACTION)?;
            state.reserved += more;
        }
        Ok(())
    }

    /// Whether answers that no table has are few enough to take more submissions.
    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.held >= self.most && !state.is_closed
    }

    /// Returns when there may be something to say.
    pub(super) async fn stirred(&self) {
        self.wake.notified().await;
    }

    /// Returns when something was taken out.
    pub(super) async fn relieved(&self) {
        self.taken.notified().await;
    }

    /// Bytes of answers that wait in memory.
    pub(super) fn held(&self) -> usize {
        self.lock().held
    }

    /// Whether an action of this number is under way.
    pub(super) fn knows(&self, id: u64) -> bool {
        let state = self.lock();
        state.live.contains_key(&id) || state.coming.contains(&id)
    }

    /// Notes a number as taken. False if it was.
    pub(super) fn notes(&self, id: u64) -> bool {
        let mut state = self.lock();
        !state.live.contains_key(&id) && state.coming.insert(id)
    }

    /// The number is free again.
    pub(super) fn unnotes(&self, id: u64) {
        self.lock().coming.remove(&id);
    }

    /// The session waits for an operation now. Else its stream has ended, and the waiter leaves as all others did.
    pub(crate) fn waits_for(
        &self,
        id: u64,
        operation: OperationId,
        waiter: u64,
        state: Hearer<OpState>,
        follow: bool,
    ) -> Result<(), StreamEnd> {
        let mut all = self.lock();
        if let Some(end) = all.end {
            return Err(end);
        }
        all.coming.remove(&id);
        let operation = operation.0.to_ne_bytes();
        let live = Live { operation, waiter, state, follow, is_noted: false, lost: 0 };
        all.live.insert(id, live);
        Ok(())
    }

    /// The row of an action is durable.
    pub(crate) fn accepted(&self, id: u64) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        // It may have been cancelled meanwhile.
        let Some(operation) = state.live.get(&id).map(Live::operation) else { return };
        state.accepted.push_back((id, operation));
        drop(state);
        self.changed(id);
        self.wake.notify_one();
    }

    /// An action's state is another one.
    pub(crate) fn changed(&self, id: u64) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        let Some(live) = state.live.get_mut(&id) else { return };
        let now = live.state.borrow();
        let is_told = live.follow && (now.stage != Stage::Queued || now.waiting.is_some());
        // A loss is told together with what runs instead.
        let is_lost = now.stage != Stage::Queued && now.lost.len() > live.lost as usize;
        let is_worth = is_told || is_lost;
        drop(now);
        if !is_worth || std::mem::replace(&mut live.is_noted, true) {
            return;
        }
        state.said.push_back(Said::State(id));
        drop(state);
        self.wake.notify_one();
    }

    /// An action has ended, and its row says so.
    pub(crate) fn ended(&self, id: u64, operation: OperationId, done: &Done, size: Size) {
        // It may have been given up together with all others.
        if self.lock().live.remove(&id).is_some() {
            self.tell_end(id, operation, done, size);
        }
    }

    /// The operation of an action that was just sent has ended already.
    pub(crate) fn had_ended(&self, id: u64, operation: OperationId, done: &Done) {
        self.tell_end(id, operation, done, Size::of(&done.response));
    }

    fn tell_end(&self, id: u64, operation: OperationId, done: &Done, size: Size) {
        let Size { bytes, told: size } = size;
        let state = self.lock();
        let fits = state.held + bytes <= self.most;
        let held = if fits { bytes } else { 0 };
        let response = fits.then(|| Arc::clone(&done.response));
        let attempt = done.attempt.0;
        self.say(
            state,
            Ended { id, operation: Some(operation), attempt, response, bytes: held, size },
        );
    }

    /// The same of one whose answer, of so many bytes, is read from the table when its turn comes.
    pub(super) fn is_in_table(&self, id: u64, operation: OperationId, size: usize) {
        let operation = Some(operation);
        let ended = Ended { id, operation, attempt: 0, response: None, bytes: 0, size };
        self.say(self.lock(), ended);
    }

    /// An action was answered from the action cache, which may be an operation by now, or refused.
    pub(super) fn answered(
        &self,
        id: u64,
        operation: Option<OperationId>,
        response: Arc<reapi::ExecuteResponse>,
    ) {
        let Size { bytes, told: size } = Size::of(&response);
        let response = Some(response);
        self.say(self.lock(), Ended { id, operation, attempt: 0, response, bytes, size });
    }

    /// So much memory is taken by what the session does not wait for.
    pub(super) fn hold(&self, bytes: usize) {
        self.lock().held += bytes;
    }

    /// It is free again.
    pub(super) fn let_go(&self, bytes: usize) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(bytes);
        drop(state);
        self.taken.notify_one();
    }

    /// An action was refused.
    pub(crate) fn refused(&self, id: u64, status: &Status) {
        self.answered(id, None, Arc::new(refusal(to_rpc(status))));
    }

    /// The session gave an action up that goes on for others.
    pub(crate) fn given_up(&self, id: u64, operation: OperationId) {
        let mut state = self.lock();
        if state.live.remove(&id).is_none() {
            return;
        }
        let status = to_rpc(&Status::cancelled("the client cancelled the action"));
        let response = Some(Arc::new(refusal(status)));
        let operation = Some(operation);
        self.say(state, Ended { id, operation, attempt: 0, response, bytes: 0, size: 0 });
    }

    fn say(&self, mut state: MutexGuard<'_, State>, ended: Ended) {
        state.coming.remove(&ended.id);
        if state.is_closed {
            return;
        }
        state.held += ended.bytes;
        state.said.push_back(Said::Ended(ended));
        drop(state);
        self.wake.notify_one();
    }

    /// What was to be resumed is not known.
    pub(super) fn unknown(&self, id: u64) {
        self.lock().said.push_back(Said::Unknown(id));
        self.wake.notify_one();
    }

    /// Operations and waiters of some actions, to give them up.
    pub(super) fn waiters_of<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a u64>,
    ) -> Vec<(OperationId, u64)> {
        let state = self.lock();
        let live = ids.into_iter().filter_map(|id| state.live.get(id));
        live.map(Live::waits).collect()
    }

    /// The same of all, of which nothing is said from now on.
    pub(super) fn take_all(&self) -> Left {
        let mut state = self.lock();
        let left = Left(std::mem::take(&mut state.live));
        self.say_nothing(state);
        left
    }

    /// What was to be said is not said.
    fn say_nothing(&self, mut state: MutexGuard<'_, State>) {
        let accepted = std::mem::take(&mut state.accepted);
        let said = std::mem::take(&mut state.said);
        state.held = 0;
        state.coming = HashSet::new();
        drop(state);
        self.taken.notify_one();
        crate::task::drop_aside(accepted.len() + said.len(), (accepted, said));
    }

    /// All that [`Outbox::take_all`] gave have ended.
    pub(super) fn all_cancelled(&self) {
        self.lock().all_cancelled = true;
        self.wake.notify_one();
    }

    /// The client takes more.
    pub(super) fn grant(&self, bytes: u64) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(signed(bytes));
        drop(state);
        self.wake.notify_one();
    }

    /// What was sent is not to be sent again.
    pub(super) fn spend(&self, bytes: u64) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_sub(signed(bytes));
    }

    /// The client sends nothing more.
    pub(super) fn finish(&self) {
        self.lock().is_finishing = true;
        self.wake.notify_one();
    }

    /// The hub ends the session.
    pub(super) fn fail(&self, status: Status) {
        self.has_to_fail();
        self.break_off(status);
    }

    /// The session has ended.
    pub(super) fn break_off(&self, status: Status) {
        self.lock().failure = Some(status);
        self.wake.notify_one();
    }

    /// From now on it is the hub that ends the session.
    pub(super) fn has_to_fail(&self) {
        self.lock().has_failed = true;
    }

    /// Whether it is the hub that has ended the session.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.say_nothing(state);
        self.closed.send_replace(true);
        self.wake.notify_one();
    }

    /// How the stream of a closed one ended. Gives what leaves by that.
    pub(super) fn ends_by(&self, end: StreamEnd) -> Left {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        Left(std::mem::take(&mut state.live))
    }

    /// Returns when nobody reads any more.
    pub(super) async fn closed(&self) {
        let mut closed = self.closed.subscribe();
        // No error: the sender is here.
        let _closed = closed.wait_for(|closed| *closed).await;
    }

    /// What is to be said now. None within: nothing yet; an error or no words at all: the session ends.
    pub(super) fn next(&self) -> Result<Option<Words>, Option<Status>> {
        let mut state = self.lock();
        if let Some(status) = state.failure.take() {
            return Err(Some(status));
        }
        let mut words = Words::default();
        let n = state.accepted.len().min(WORDS);
        let accepted = state
            .accepted
            .drain(..n)
            .map(|(id, operation)| v1::ActionAccepted { id, operation: operation.to_string() });
        words.events.accepted.extend(accepted);
        words.events.all_cancelled = std::mem::take(&mut state.all_cancelled);
        // An acceptance comes before all else that is said of its action.
        if state.accepted.is_empty() && state.credit > 0 {
            state.say_into(&mut words);
        }
        let is_empty = words.ended.is_empty() && words.events == v1::ActionEvents::default();
        if !is_empty {
            drop(state);
            self.taken.notify_one();
            return Ok(Some(words));
        }
        let is_over = state.is_finishing
            && state.live.is_empty()
            && state.coming.is_empty()
            && state.said.is_empty();
        if is_over || state.is_closed { Err(None) } else { Ok(None) }
    }
}

impl State {
    fn say_into(&mut self, words: &mut Words) {
        let mut bytes = 0;
        for _ in 0..WORDS {
            let is_larger = match self.said.front() {
                Some(Said::Ended(ended)) => ended.size > BYTES,
                Some(Said::State(_) | Said::Unknown(_)) | None => false,
            };
            // One that is large goes by itself.
            if bytes > BYTES || is_larger && bytes > 0 {
                return;
            }
            match self.said.pop_front() {
                None => return,
                Some(Said::Unknown(id)) => words.events.unknown.push(id),
                Some(Said::State(id)) => {
                    if let Some(live) = self.live.get_mut(&id) {
                        live.is_noted = false;
                        words.events.states.push(live.tell(id));
                    }
                }
                Some(Said::Ended(ended)) => {
                    self.held = self.held.saturating_sub(ended.bytes);
                    bytes += ended.size.max(1);
                    words.ended.push(ended);
                }
            }
        }
    }
}

impl Ended {
    /// Whether it is still to be read, and takes much memory.
    pub(super) fn is_large(&self) -> bool {
        self.response.is_none() && self.size > BYTES
    }

    /// Puts in what the table has. Where that is nothing it is asked again, and so told.
    pub(super) fn take_from(&mut self, stored: Option<Stored>) {
        if let Some(done) = stored.and_then(|stored| stored.done) {
            self.attempt = done.attempt.0;
            self.response = Some(done.response);
        }
    }
}

/// Bytes of the small streams that are put into an answer.
fn added_streams(response: &reapi::ExecuteResponse) -> usize {
    let streams = response.result.iter().flat_map(|result| {
        [(&result.stdout_digest, &result.stdout_raw), (&result.stderr_digest, &result.stderr_raw)]
    });
    let added = streams.map(|(digest, raw)| match digest {
        Some(digest) if raw.is_empty() => usize::try_from(digest.size_bytes).unwrap_or_default(),
        Some(_) | None => 0,
    });
    added.filter(|size| *size <= INLINE_STREAM).sum()
}

impl Live {
    const fn operation(&self) -> OperationId {
        OperationId(u128::from_ne_bytes(self.operation))
    }

    /// The operation, and its number among those who wait for it.
    const fn waits(&self) -> (OperationId, u64) {
        (self.operation(), self.waiter)
    }

    fn tell(&mut self, id: u64) -> v1::ActionState {
        let state = self.state.borrow();
        let is_queued = state.stage == Stage::Queued;
        if !is_queued {
            self.lost = u32::try_from(state.lost.len()).unwrap_or(u32::MAX);
        }
        v1::ActionState {
            id,
            state: if is_queued { v1::JobState::Queued } else { v1::JobState::Running }.into(),
            waiting: state.waiting.as_deref().unwrap_or_default().to_owned(),
            worker: state.worker.as_deref().unwrap_or_default().to_owned(),
            attempt: if is_queued { 0 } else { state.attempt },
            lost: state.lost.clone(),
        }
    }
}

/// More than any client reads is as good as no bound.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// An answer without a result.
pub(super) fn refusal(status: rpc::Status) -> reapi::ExecuteResponse {
    reapi::ExecuteResponse { status: Some(status), ..Default::default() }
}

#[cfg(test)]
mod tests;
