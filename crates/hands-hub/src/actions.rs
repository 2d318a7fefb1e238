//! `hands.v1.Actions`: many actions over one stream.
//!
//! A session's task reads what its client submits, has each message looked at on a blocking thread, and hands what is to be
//! queued to the core in groups that take it less than a millisecond. What becomes of the actions the core puts into the
//! session's [`Outbox`], from where the answering half of the stream takes it as fast as its client reads. The session ends
//! with the stream: what has not ended then is given up or, where the connection was lost, left to wait for a while.
//!
//! It keeps nothing over a lost stream. A client names its actions by numbers, by which the hub makes the names of its
//! operations; so whatever is sent a second time is found where it is.

mod clock;
mod line;
mod outbox;
mod sessions;
mod take;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, stream};
use hands_link::{ConnectionInfo, StreamEnd};
use hands_proto::v1::actions_request::Kind;
use hands_proto::v1::actions_server::Actions;
use hands_proto::{Charge, FIRST_LOOK, Look, Reserved, Room, function_from_proto, v1};
use hands_types::{DigestFunction, OperationId};
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use crate::core::{Event, Resumed, Submission};
use crate::db::Trouble;
use crate::execution::{Caller, LOST_WITHIN};
use crate::follow::Asker;
use crate::shared::{Shared, ended, table_status};
use clock::Clock;
use line::{Line, Waiting};
use outbox::Words;
pub(crate) use outbox::{Outbox, Size};
pub(crate) use sessions::Sessions;
pub(crate) use take::NUMBER_TAKEN;
use take::{Taken, take};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct ActionsService(pub(crate) Arc<Shared>);

type Replies = Pin<Box<dyn Stream<Item = Result<v1::ActionsReply, Status>> + Send>>;

/// How long a client may take to open its session.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of submissions that a client may have under way without an answer.
const WINDOW: u64 = 1 << 20;
/// Bytes of a session's own name.
const NAME: usize = 16;
/// Submissions, or ends of them, that the core takes at once.
const GROUP: usize = 16;
/// Actions that one message gives up.
const CANCELS: usize = 4096;

/// What holds for all actions of a session.
#[derive(Debug)]
pub(crate) struct Head {
    name: [u8; NAME],
    clock: Clock,
    instance: Arc<str>,
    /// Those of the last action that was looked at: as a rule all have the same.
    options: Mutex<Arc<v1::ExecuteOptions>>,
    function: DigestFunction,
    caller: Caller,
    asker: Asker,
}

#[tonic::async_trait]
impl Actions for ActionsService {
    type SessionStream = Replies;

    async fn session(
        &self,
        request: Request<Streaming<v1::ActionsRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let hub = &self.0;
        let caller = Caller::read(&request)?;
        let asker = Asker::of(&request, Some(&caller.metadata));
        let charge = Charge::of(&request);
        let mut messages = request.into_inner();
        let opening = tokio::time::timeout(OPEN_WITHIN, messages.message());
        let first =
            opening.await.map_err(|_| Status::deadline_exceeded("no open within 10 s"))??;
        let Some(v1::ActionsRequest { kind: Some(Kind::Open(open)) }) = first else {
            return Err(Status::invalid_argument("a session begins with `open`"));
        };
        hands_reapi::check_instance(&open.instance_name)?;
        let name = <[u8; NAME]>::try_from(&*open.session)
            .map_err(|_| Status::invalid_argument("a session is named by 16 random bytes"))?;
        let function = function_from_proto(open.digest_function)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let clock = Clock::of(open.epoch);
        let epoch = clock.epoch;
        let outbox = Outbox::new(charge.clone(), open.credit)?;
        let key = (asker.owner(), name);
        let (listening, heard) = oneshot::channel();
        let leaving = Leaving {
            hub: Arc::clone(hub),
            key,
            outbox: Arc::clone(&outbox),
            connection: asker.connection.clone(),
            charge,
            heard: Some(heard),
        };
        if let Some(earlier) = hub.sessions.open(key, &outbox) {
            // Also where this call is given up meanwhile.
            let (done, replaced) = oneshot::channel();
            let hub = Arc::clone(hub);
            crate::task::spawn("actions-replaced", async move {
                replace(&hub, &earlier).await;
                // Whoever waits for it may have left.
                let _gone = done.send(());
            });
            replaced.await.map_err(|_| ended())?;
        }
        let answers = outgoing(leaving, epoch, function);
        let (instance, options) = (open.instance_name.into(), Mutex::default());
        let head = Head { name, clock, instance, options, function, caller, asker };
        let session = Session { hub: Arc::clone(hub), head: Arc::new(head), outbox };
        crate::task::spawn("actions", async move {
            let _listening = listening;
            session.listen(messages).await;
        });
        Ok(Response::new(answers))
    }
}

/// The reading half.
struct Session {
    hub: Arc<Shared>,
    head: Arc<Head>,
    outbox: Arc<Outbox>,
}

impl Session {
    async fn listen(self, mut messages: Streaming<v1::ActionsRequest>) {
        let mut line = Line::default();
        let mut is_over = false;
        loop {
            // Answers that only memory has wait for their reader, and so does what would make more of them. What the client says
            // meanwhile, such as that it has read some, is heard.
            let is_full = self.outbox.is_full();
            if is_over && line.is_empty() {
                // Behind all that was sent. An error says that the hub ends, which the other half knows.
                let _ended = self.hub.ask(|_| ()).await;
                return self.outbox.finish();
            }
            let message = tokio::select! {
                biased;
                () = self.outbox.closed() => return self.hear_last(messages, line).await,
                // Before the next piece of what it has sent: it may have given that up.
                message = messages.message(), if !is_over => message,
                () = std::future::ready(()), if !is_full && !line.is_empty() => {
                    match self.submit_first(&mut line).await {
                        Some(Ok(())) => continue,
                        Some(Err(status)) => return self.outbox.fail(status),
                        // It is closed.
                        None => continue,
                    }
                }
                () = self.outbox.relieved(), if is_full => continue,
            };
            let done = match message {
                Ok(Some(v1::ActionsRequest { kind: Some(kind) })) => {
                    self.hear(kind, &mut line).await
                }
                // A later version says more.
                Ok(Some(_)) => Ok(()),
                Ok(None) => {
                    is_over = true;
                    Ok(())
                }
                // Of a broken connection the answering half knows.
                Err(status) if std::error::Error::source(&status).is_some() => {
                    return self.outbox.break_off(status);
                }
                Err(status) => Err(status),
            };
            if let Err(status) = done {
                return self.outbox.fail(status);
            }
        }
    }

    /// Hears what came before the end of the stream: a client that gives its actions up may leave at once.
    async fn hear_last(&self, mut messages: Streaming<v1::ActionsRequest>, mut line: Line) {
        while let Some(Ok(Some(message))) = messages.message().now_or_never() {
            let Some(kind) = message.kind else { continue };
            if let Err(error) = self.hear(kind, &mut line).await {
                return tracing::debug!(%error, "the last words of a session are not taken");
            }
        }
    }

    /// Looks at the first message in line, or a piece of it. None where nobody hears of it any more.
    async fn submit_first(&self, line: &mut Line) -> Option<Result<(), Status>> {
        let Some(waiting) = line.pop() else { return Some(Ok(())) };
        let submitted = tokio::select! {
            submitted = self.submit(waiting) => submitted,
            () = self.outbox.closed() => return None,
        };
        Some(submitted.map(|rest| {
            if let Some(rest) = rest {
                line.put_back(rest);
            }
        }))
    }

    async fn hear(&self, kind: Kind, line: &mut Line) -> Result<(), Status> {
        match kind {
            Kind::Open(_) => Err(Status::invalid_argument("a session is opened once")),
            Kind::Credit(bytes) => {
                self.outbox.grant(bytes);
                Ok(())
            }
            Kind::Cancel(v1::CancelActions { ids, all: false }) => self.cancel(ids, line).await,
            Kind::Cancel(v1::CancelActions { all: true, .. }) => {
                self.cancel_all(line.take_all()).await
            }
            Kind::Submit(message) => {
                let memory = self.head.asker.charge.as_ref().and_then(Charge::keep_message);
                line.push(message, memory)
            }
        }
    }

    async fn cancel(&self, mut ids: Vec<u64>, line: &mut Line) -> Result<(), Status> {
        if ids.len() > CANCELS {
            return Err(Status::invalid_argument(format!(
                "a message gives up no more than {CANCELS} actions"
            )));
        }
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        ids.dedup();
        for id in line.take_out(&ids) {
            self.outbox.refused(id, &was_cancelled());
        }
        self.hub.ask(|_| ()).await?;
        give_up(&self.hub, self.outbox.waiters_of(&ids)).await;
        Ok(())
    }

    /// What was given up while it waited to be taken up. What is not known was never begun.
    async fn give_up_known(&self, cancelled: &HashSet<u64>, message: &mut v1::Submissions) {
        if cancelled.is_empty() {
            return;
        }
        message.actions.retain(|action| {
            let is_meant = cancelled.contains(&action.id);
            if is_meant {
                self.outbox.refused(action.id, &was_cancelled());
            }
            !is_meant
        });
        give_up(&self.hub, self.outbox.waiters_of(cancelled)).await;
    }

    /// Gives up all: what is live, and what waits in line and may have been begun over an earlier stream.
    async fn cancel_all(&self, waiting: VecDeque<Waiting>) -> Result<(), Status> {
        // The core takes what was sent before this first, so that all of it is known by now.
        self.hub.ask(|_| ()).await?;
        // Before the rest is taken up, for which there may be no room until then.
        self.give_up_live().await;
        for Waiting { mut message, .. } in waiting {
            for known in self.known(&mut message)?.chunks(outbox::STEP) {
                self.outbox.make_room(known.len()).map_err(|status| later(&status))?;
                self.resume(known, &mut message).await?;
                self.give_up_live().await;
            }
        }
        let outbox = Arc::clone(&self.outbox);
        // Behind the rows of all of them.
        let done = Some(Box::new(move || outbox.all_cancelled()) as Box<dyn FnOnce() + Send>);
        self.hub.core.send(Event::GiveUp { of: Vec::new(), done }).await;
        Ok(())
    }

    async fn give_up_live(&self) {
        give_up(&self.hub, self.outbox.take_all().waiters().await).await;
    }

    /// Looks at a message, and gives back what is to be looked at later.
    async fn submit(&self, mut waiting: Waiting) -> Result<Option<Waiting>, Status> {
        let mut message = std::mem::take(&mut waiting.message);
        let resume = self.known(&mut message)?;
        message.actions.retain(|action| self.outbox.notes(action.id));
        // Those that are noted count already.
        let more = resume.iter().filter(|(_, id, _)| !self.outbox.knows(*id)).count();
        if let Err(status) = self.outbox.make_room(more) {
            if !resume.is_empty() {
                // They may be running: the client asks for them again.
                return Err(later(&status));
            }
            // Only its number is as good as nothing.
            for action in &message.actions {
                self.outbox.refused(action.id, &status);
            }
            return Ok(None);
        }
        self.resume(&resume, &mut message).await?;
        self.give_up_known(&std::mem::take(&mut waiting.cancelled), &mut message).await;
        if message.actions.is_empty() && message.blobs.is_empty() {
            return Ok(None);
        }
        let charge = self.head.asker.charge.as_ref();
        let mut look = match hands_reapi::look(charge, FIRST_LOOK, hands_reapi::ROOM_WITHIN).await {
            Ok(look) => look,
            Err(status) => {
                // It passes: the client sends them again.
                for action in &message.actions {
                    self.outbox.refused(action.id, &later(&status));
                }
                return Ok(None);
            }
        };
        let (hub, head, outbox) =
            (Arc::clone(&self.hub), Arc::clone(&self.head), Arc::clone(&self.outbox));
        let work = move || take(&hub, &head, &outbox, message, &mut Room::new(FIRST_LOOK));
        let (taken, rest) = crate::task::blocking(work).await?;
        let mut group = Vec::with_capacity(GROUP);
        for taken in taken {
            match taken {
                Taken::Answered { id, operation, response } => {
                    self.outbox.answered(id, operation, response);
                }
                Taken::Earlier { id, operation, done } => {
                    self.outbox.had_ended(id, operation, &done);
                }
                Taken::New(submission) => group.push(*submission),
                Taken::Large(action) => {
                    // Nobody waits for one kind of memory who has the other.
                    look = None;
                    group.extend(self.large(*action).await);
                }
            }
            if group.len() == GROUP {
                let full = std::mem::replace(&mut group, Vec::with_capacity(GROUP));
                self.hub.core.send(Event::SubmitMany(full)).await;
            }
        }
        if !group.is_empty() {
            self.hub.core.send(Event::SubmitMany(group)).await;
        }
        drop(look);
        if rest.is_empty() {
            return Ok(None);
        }
        for action in &rest {
            self.outbox.unnotes(action.id);
        }
        waiting.message = v1::Submissions { actions: rest, ..Default::default() };
        Ok(Some(waiting))
    }

    /// One that takes much memory to look at.
    async fn large(&self, action: v1::SubmitAction) -> Option<Submission> {
        let id = action.id;
        let (hub, head, outbox) =
            (Arc::clone(&self.hub), Arc::clone(&self.head), Arc::clone(&self.outbox));
        let work = move |room: &mut Room| take::one(&hub, &head, &outbox, &action, room);
        let charge = self.head.asker.charge.as_ref();
        let looked =
            hands_reapi::looking(charge, FIRST_LOOK + 1, hands_reapi::ROOM_WITHIN, work).await;
        match looked.map(|looked| looked.found) {
            Ok(Taken::New(submission)) => return Some(*submission),
            Ok(Taken::Answered { id, operation, response }) => {
                self.outbox.answered(id, operation, response);
            }
            Ok(Taken::Earlier { id, operation, done }) => {
                self.outbox.had_ended(id, operation, &done);
            }
            // It is not asked for a second time.
            Ok(Taken::Large(_)) => {}
            // It waits for memory that others have, and is sent once more.
            Err(status) if hands_reapi::passes(&status) => {
                self.outbox.refused(id, &later(&status));
            }
            Err(status) => self.outbox.refused(id, &status),
        }
        None
    }

    /// What a client says to have sent before, by the names that its operations would have.
    fn known(
        &self,
        message: &mut v1::Submissions,
    ) -> Result<Vec<(OperationId, u64, bool)>, Status> {
        let mut known = Vec::new();
        for resume in message.resume.drain(..) {
            let operation = resume.operation.parse();
            let operation =
                operation.map_err(|_| Status::invalid_argument("an operation's name is no id"))?;
            known.push((operation, resume.id, resume.follow));
        }
        for action in message.actions.iter().filter(|action| action.sent_before) {
            known.push((self.head.operation(action)?, action.id, action.follow));
        }
        let mut named = HashSet::new();
        known.retain(|(_, id, _)| !self.outbox.knows(*id) && named.insert(*id));
        Ok(known)
    }

    /// Takes up what is known. What is not is told, or where it was sent again taken as new.
    async fn resume(
        &self,
        known: &[(OperationId, u64, bool)],
        message: &mut v1::Submissions,
    ) -> Result<(), Status> {
        let mut found: HashSet<u64> = known.iter().map(|(_, id, _)| *id).collect();
        for group in known.chunks(GROUP) {
            let (reply, answer) = oneshot::channel();
            let resumed = Resumed {
                of: group.to_vec(),
                outbox: Arc::clone(&self.outbox),
                connection: self.head.asker.connection_id(),
                reply,
            };
            self.hub.core.send(Event::Resume(Box::new(resumed))).await;
            let unknown = answer.await.map_err(|_| ended())?;
            if unknown.is_empty() {
                continue;
            }
            // They were forgotten only after their rows were durable.
            let (hub, outbox) = (Arc::clone(&self.hub), Arc::clone(&self.outbox));
            let unknown = crate::task::blocking(move || {
                let mut left = Vec::new();
                for (operation, id, _) in unknown {
                    let size = hub.db.answer_size(operation)?;
                    if size > outbox::BYTES {
                        // It is read when its turn comes, by itself.
                        outbox.is_in_table(id, operation, size);
                        continue;
                    }
                    match hub.db.operation(operation)?.and_then(|stored| stored.done) {
                        Some(done) => outbox.had_ended(id, operation, &done),
                        None => left.push(id),
                    }
                }
                Ok(left)
            });
            let unknown: Result<Vec<u64>, crate::HubError> = unknown.await?;
            for id in unknown.map_err(|e| later(&table_status(&e)))? {
                found.remove(&id);
                if !message.actions.iter().any(|action| action.id == id) {
                    self.outbox.unknown(id);
                }
            }
        }
        message.actions.retain(|action| !found.contains(&action.id));
        Ok(())
    }
}

fn was_cancelled() -> Status {
    Status::cancelled("the client cancelled the action")
}

/// The same as a refusal that passes.
fn later(status: &Status) -> Status {
    Status::unavailable(status.message())
}

/// Ends the stream of a session that is opened once more: its client has lost it, and says over the new one what it waits for. Else
/// two would wait for each action, and neither could give it up.
async fn replace(hub: &Shared, earlier: &Outbox) {
    earlier.close();
    leave(hub, earlier, StreamEnd::Lost).await;
}

/// The stream of a session has ended. Returns when the core has heard of all that leaves by that, whoever says so.
async fn leave(hub: &Shared, outbox: &Outbox, end: StreamEnd) {
    let _turn = outbox.leaving.lock().await;
    for group in outbox.ends_by(end).waiters().await.chunks(GROUP) {
        hub.core.send(Event::GoneMany { of: group.to_vec(), end }).await;
    }
}

async fn give_up(hub: &Shared, of: Vec<(OperationId, u64)>) {
    for group in of.chunks(GROUP) {
        hub.core.send(Event::GiveUp { of: group.to_vec(), done: None }).await;
    }
}

/// Tells the core when the answering half is dropped.
struct Leaving {
    hub: Arc<Shared>,
    key: sessions::Key,
    outbox: Arc<Outbox>,
    connection: Option<ConnectionInfo>,
    charge: Option<Arc<Charge>>,
    /// Has an answer, which is an error, when the reading half has ended.
    heard: Option<oneshot::Receiver<()>>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.outbox.close();
        let (key, outbox) = (self.key, Arc::clone(&self.outbox));
        if tokio::runtime::Handle::try_current().is_err() {
            return self.hub.sessions.close(&key, &outbox);
        }
        let heard = self.heard.take();
        let (hub, connection) = (Arc::clone(&self.hub), self.connection.take());
        // What the hub ended nobody has given up: its client comes back for it.
        let is_ours = self.outbox.has_failed()
            || self.charge.as_ref().is_some_and(|it| it.refusal().is_some());
        crate::task::spawn("actions-gone", async move {
            let end = match connection {
                _ if is_ours => StreamEnd::Lost,
                None => StreamEnd::Cancelled,
                Some(connection) => tokio::time::timeout(LOST_WITHIN, connection.stream_end())
                    .await
                    .unwrap_or(StreamEnd::Cancelled),
            };
            // What was given up by the last words has not left.
            if let Some(heard) = heard {
                let _over = heard.await;
            }
            leave(&hub, &outbox, end).await;
            // Whoever opens the session before that has it leave.
            hub.sessions.close(&key, &outbox);
        });
    }
}

/// The answering half.
struct Writer {
    leaving: Leaving,
    function: DigestFunction,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    trouble: tokio::sync::watch::Receiver<Option<Trouble>>,
    /// What the client was told of it.
    told: Option<String>,
    welcome: Option<v1::SessionWelcome>,
    /// What a large answer takes that was said last.
    paid: Option<(Option<Reserved>, Option<Look>)>,
}

fn outgoing(leaving: Leaving, epoch: u64, function: DigestFunction) -> Replies {
    let writer = Writer {
        ended: Box::pin(leaving.hub.core.ended()),
        trouble: leaving.hub.db.trouble(),
        told: None,
        welcome: Some(v1::SessionWelcome { epoch, window: WINDOW }),
        leaving,
        paid: None,
        function,
    };
    Box::pin(stream::unfold(Some(writer), |writer| async move {
        let mut writer = writer?;
        match writer.next().await {
            Ok(kind) => Some((Ok(v1::ActionsReply { kind: Some(kind) }), Some(writer))),
            Err(None) => None,
            Err(Some(status)) => Some((Err(status), None)),
        }
    }))
}

impl Writer {
    async fn next(&mut self) -> Result<v1::actions_reply::Kind, Option<Status>> {
        if let Some(welcome) = self.welcome.take() {
            return Ok(v1::actions_reply::Kind::Welcome(welcome));
        }
        loop {
            let trouble = self.trouble.borrow_and_update().as_ref().map(Trouble::sentence);
            let said = trouble;
            if said != self.told {
                self.told.clone_from(&said);
                let trouble = Some(said.unwrap_or_default());
                let events = v1::ActionEvents { trouble, ..Default::default() };
                return Ok(v1::actions_reply::Kind::Events(events));
            }
            if let Some(words) = self.leaving.outbox.next()? {
                self.paid = None;
                let events = self.fill(words).await.map_err(|status| {
                    self.leaving.outbox.has_to_fail();
                    Some(status)
                })?;
                let outbox = &self.leaving.outbox;
                if !events.ended.is_empty() || !events.states.is_empty() {
                    outbox.spend(events.encoded_len() as u64);
                }
                return Ok(v1::actions_reply::Kind::Events(events));
            }
            let outbox = &self.leaving.outbox;
            tokio::select! {
                () = outbox.stirred() => {}
                Ok(()) = self.trouble.changed() => {}
                // A stream that ends well before its actions makes clients come back.
                () = &mut self.ended => return Err(None),
            }
        }
    }

    /// Puts the results in: those that had no room, from the table, and streams that are small and not there.
    async fn fill(&mut self, words: Words) -> Result<v1::ActionEvents, Status> {
        let Words { mut events, mut ended } = words;
        for ended in ended.iter_mut().filter(|ended| ended.is_large()) {
            self.read_large(ended).await?;
        }
        let is_quick = self.paid.is_none() && ended.iter().all(take::is_quick);
        let (hub, function) = (Arc::clone(&self.leaving.hub), self.function);
        let work =
            move || ended.into_iter().map(|ended| take::tell(&hub, function, ended)).collect();
        events.ended = if is_quick { work() } else { crate::task::blocking(work).await? };
        Ok(events)
    }

    /// Reads an answer that takes much memory, which is paid until the next is said.
    async fn read_large(&mut self, ended: &mut outbox::Ended) -> Result<(), Status> {
        let Some(operation) = ended.operation else { return Ok(()) };
        let charge = self.leaving.charge.as_ref();
        let held = match charge {
            None => None,
            Some(charge) => {
                let holding = charge.hold_later(ended.size);
                let held = tokio::time::timeout(hands_reapi::ROOM_WITHIN, holding).await;
                let held = held.unwrap_or_else(|_| Err(Charge::crowded()));
                Some(held.map_err(|status| later(&status))?)
            }
        };
        let hub = &self.leaving.hub;
        let stored = hub.stored(operation, charge).await.map_err(|status| later(&status))?;
        ended.take_from(stored.0);
        self.paid = Some((held, stored.1));
        Ok(())
    }
}
