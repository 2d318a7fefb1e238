//! The one task that owns all state that changes: operations, who waits for them, sessions, and the scheduler.
//!
//! `select → Event → handle → flush`: a handler never waits. What it wants to say after something is durable it adds to
//! the commit that is handed to the database's thread when the event has been handled. It ends by [`Event::Close`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hands_link::{ConnectionId, StreamEnd};
use hands_proto::v1;
use hands_sched::{Input, RejectReason, Scheduler};
use hands_store::{Pin, Store};
use hands_types::{Attempt, Digest, OperationId, SessionId, Time, WorkerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::actions::Outbox;
use crate::check::Checked;
use crate::db::{Commit, Db, Stored, Then};
use crate::history::History;
use crate::ledger::Ledger;
use crate::logs::Logs;
use crate::trees::{Trees, WholeTree};
use crate::{Activity, HubError};

mod crowd;
mod effects;
mod finish;
mod followers;
mod input;
mod joinable;
mod left;
mod lost;
mod messages;
mod operation;
mod overview;
mod restore;
mod sessions;
mod submit;
mod view;
mod waiters;
mod walk;

pub(crate) use crowd::Owner;
pub(crate) use finish::see_more;
pub(crate) use followers::Resumed;
pub(crate) use input::{Handed, InputRoute, Sender, Taken};
pub(crate) use messages::Packed;
pub(crate) use operation::{OpState, Operation, Second, Stage};
pub(crate) use overview::{SUMMED, Summary};
pub(crate) use sessions::{Opened, Session, SessionOut, ToWorker};
pub(crate) use submit::{Claim, Reply, Submission, SubmitError, Ticket};
pub(crate) use view::{Jobs, States};

/// What happened.
pub(crate) enum Event {
    /// A client wants an action done.
    Submit(Box<Submission>),
    /// The same of several, by a session. They are few enough to be handled within a millisecond.
    SubmitMany(Vec<Submission>),
    /// A session wants to hear of operations that it knows, each by its own number. The reply is what is not in memory.
    Resume(Box<Resumed>),
    /// A session's stream has ended before these operations, each with its waiter.
    GoneMany { of: Vec<(OperationId, u64)>, end: StreamEnd },
    /// A session gives these up, each with its waiter. Of those for which nobody else waits it is the end.
    GiveUp { of: Vec<(OperationId, u64)>, done: Option<Then> },
    /// A client wants to wait for an operation that it knows. None if it has ended and is not in memory any more, or
    /// was never known.
    Wait {
        id: OperationId,
        connection: Option<ConnectionId>,
        reply: oneshot::Sender<Option<Ticket>>,
    },
    /// A stream that waited has ended before its operation.
    Gone { id: OperationId, waiter: u64, end: StreamEnd },
    /// Somebody asked for the operation's end. False if it is not known or has ended.
    Cancel { id: OperationId, connection: Option<ConnectionId>, reply: oneshot::Sender<bool> },
    /// Its row can't be written, and whoever submitted it was told so.
    Withdraw { id: OperationId, status: tonic::Status },
    /// What a restored operation needs was found and pinned.
    Keep { id: OperationId, inputs: Vec<Arc<WholeTree>>, pin: Pin },
    /// More of what was queued before a restart.
    Restored(Vec<Stored>),
    /// That was all of it, or the rest can't be read.
    AllRestored(Result<(), HubError>),
    /// A worker opened a session.
    Open { hello: Box<v1::Hello>, out: SessionOut, reply: oneshot::Sender<Opened> },
    /// Its connection has ended.
    Closed { session: SessionId },
    /// A message of a worker that needs no look at the store.
    Heard { session: SessionId, heard: Heard },
    /// The look at a result has ended.
    Checked { session: SessionId, id: OperationId, attempt: Attempt, checked: Box<Checked> },
    /// A result has entries: what does its Command declare? None where that is not in memory.
    Command { id: OperationId, reply: oneshot::Sender<Option<bytes::Bytes>> },
    /// An output stream can't be taken; the action fails with this.
    StreamFailed { id: OperationId, attempt: Attempt, status: tonic::Status },
    /// A worker is to be drained. The reply is how many fit the name.
    Drain { worker: String, reply: oneshot::Sender<usize> },
    /// A question; changes nothing.
    Ask(Box<dyn FnOnce(&Core) + Send>),
    /// The hub ends.
    Close(oneshot::Sender<()>),
}

/// What a worker said.
pub(crate) enum Heard {
    Heartbeat,
    Started { id: OperationId, attempt: Attempt },
    HandBack { id: OperationId, attempt: Attempt, reason: RejectReason },
    Holds(Vec<Digest>),
    Draining,
    InputTaken { id: OperationId, attempt: Attempt, taken: Taken },
}

/// How to reach the core.
#[derive(Clone, Debug)]
pub(crate) struct CoreHandle {
    /// Requests and messages; their senders wait when the core is behind.
    events: mpsc::Sender<Event>,
    /// From destructors, which can't wait. At most one for each stream that was open.
    urgent: mpsc::UnboundedSender<Event>,
    /// How many sessions of workers were opened.
    openings: watch::Receiver<u64>,
}

impl CoreHandle {
    /// Returns when the hub has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut openings = self.openings.clone();
        async move { while openings.changed().await.is_ok() {} }
    }

    /// Changes when a worker opens a session.
    pub(crate) fn openings(&self) -> watch::Receiver<u64> {
        self.openings.clone()
    }

    /// Sends an event. False if the hub has ended.
    pub(crate) async fn send(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Sends an event from where nothing may wait.
    pub(crate) fn send_now(&self, event: Event) {
        // Fails only when the hub has ended, and then nobody is interested.
        let _ended = self.urgent.send(event);
    }

    /// Asks a question of the core. None if the hub has ended.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(move |core: &Core| {
            // Who asked may have lost interest.
            let _gone = reply.send(question(core));
        });
        self.send(Event::Ask(ask)).await;
        answer.await.ok()
    }
}

/// How often the core looks at its clock while anybody has a lease.
const BEAT: Duration = Duration::from_millis(500);
/// A core that has not run for so long was away. Well below the shortest lease.
const LATE: Duration = Duration::from_secs(2);
/// Operations under way from which on commits may wait for company. One person's few commands stay below.
const CROWD: usize = 4;
/// Events that may queue before their senders wait.
const QUEUE: usize = 1024;
/// How long an ended operation is kept in memory: longer than any handler takes from its look at the table to the core.
pub(crate) const RECENT: Duration = Duration::from_secs(5);
/// Entries for which a table may always have room.
pub(crate) const ROOMY: usize = 1000;
/// Ended operations that are kept in memory at most.
const MAX_RECENT: usize = 20_000;

/// The state.
pub(crate) struct Core {
    config: CoreConfig,
    store: Store,
    db: Arc<Db>,
    logs: Arc<Logs>,
    trees: Arc<Trees>,
    history: History,
    ledger: Arc<Ledger>,
    sched: Scheduler,
    started: Instant,
    /// When this turn of the task began, on the clock that leases use: the same for all that it brings.
    time: Time,
    /// By id, which is by age: lists begin with the newest.
    operations: BTreeMap<OperationId, Box<Operation>>,
    /// Operations that an equal Execute joins.
    keys: joinable::Joinable,
    /// Operations that have ended a moment ago.
    recent: HashMap<OperationId, Ticket>,
    recent_keys: HashMap<Key, OperationId>,
    recent_order: VecDeque<(Time, OperationId)>,
    sessions: HashMap<SessionId, Session>,
    /// When operations that nobody waits for end.
    orphans: BTreeSet<(Time, OperationId)>,
    /// When kept trees are looked through.
    trees_due: Option<Time>,
    next_waiter: u64,
    /// Streams that wait.
    n_clients: usize,
    /// Operations that are kept though nobody waits.
    n_detached: usize,
    crowd: crowd::Crowd,
    /// Bytes of Action and Command messages in memory.
    message_bytes: usize,
    commit: Commit,
    /// The result that the scheduler is being asked about.
    pending: Option<finish::Pending>,
    /// What the worker whose session is being opened goes on with.
    adopted: Vec<v1::Resume>,
    /// How far the standard input of those has come.
    adopted_inputs: Vec<v1::Input>,
    /// For claims. Weak, so that the core ends when all who could reach it are gone.
    urgent: mpsc::WeakUnboundedSender<Event>,
    /// The same for what may wait.
    events: mpsc::WeakSender<Event>,
    activity: watch::Sender<Activity>,
    openings: watch::Sender<u64>,
    /// While what was queued before a restart is still being read.
    restoring: Option<Box<restore::Restoring>>,
}

/// What the core must know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) lease: Duration,
    pub(crate) orphan: Duration,
    pub(crate) hub_id: String,
    pub(crate) protocol: v1::Protocol,
    pub(crate) scheduler: hands_sched::SchedulerConfig,
    pub(crate) queue_timeout: Duration,
    pub(crate) queue_timeout_foreign: Duration,
}

/// What the core works with.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) db: Arc<Db>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) trees: Arc<Trees>,
    pub(crate) history: History,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) activity: watch::Sender<Activity>,
}

/// What makes two submissions the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    instance: Arc<str>,
    digest: Digest,
}

impl Core {
    /// Rebuilds the state from the table and starts the task.
    pub(crate) fn start(config: CoreConfig, parts: Parts) -> Result<CoreHandle, HubError> {
        let (events, requests) = mpsc::channel(QUEUE);
        let (urgent, urgent_requests) = mpsc::unbounded_channel();
        let (openings, opened) = watch::channel(0);
        let mut core = Self {
            sched: Scheduler::new(config.scheduler.clone()),
            config,
            store: parts.store,
            db: parts.db,
            logs: parts.logs,
            trees: parts.trees,
            history: parts.history,
            ledger: parts.ledger,
            started: Instant::now(),
            time: Time::default(),
            operations: BTreeMap::new(),
            keys: joinable::Joinable::default(),
            recent: HashMap::new(),
            recent_keys: HashMap::new(),
            recent_order: VecDeque::new(),
            sessions: HashMap::new(),
            orphans: BTreeSet::new(),
            trees_due: None,
            next_waiter: 1,
            n_clients: 0,
            n_detached: 0,
            crowd: crowd::Crowd::default(),
            message_bytes: 0,
            commit: Commit::default(),
            pending: None,
            adopted: Vec::new(),
            adopted_inputs: Vec::new(),
            urgent: urgent.downgrade(),
            events: events.downgrade(),
            activity: parts.activity,
            openings,
            restoring: None,
        };
        let handle = CoreHandle { events, urgent, openings: opened };
        core.restore_first(&handle)?;
        core.flush();
        crate::task::spawn("hub-core", run(core, requests, urgent_requests));
        Ok(handle)
    }

    /// Now, on the clock that leases use: the monotonic one, which stands still while the machine sleeps.
    const fn now(&self) -> Time {
        self.time
    }

    /// Begins a turn. A hub that slept longer than it meant to was stopped, or its machine did not let it run: what workers
    /// and clients have said meanwhile it has not read yet, so that nobody's time has run out.
    fn wake(&mut self, beats: bool) {
        let now = Time::default().after(self.started.elapsed());
        let away = now.since(self.time);
        self.time = now;
        if !beats || away < LATE {
            return;
        }
        tracing::warn!(?away, "the hub did not run for a while: its workers have a new term");
        self.orphans = std::mem::take(&mut self.orphans)
            .into_iter()
            .map(|(due, id)| (due.after(away), id))
            .collect();
        for (due, id) in &self.orphans {
            if let Some(operation) = self.operations.get_mut(id) {
                operation.orphan_due = Some(*due);
            }
        }
        self.step(Input::Late { by: away });
    }

    /// Whether there is anything that is lost when its time runs out, so that the hub must know of its own pauses.
    fn has_terms(&self) -> bool {
        !self.sessions.is_empty() || !self.operations.is_empty()
    }

    fn handle(&mut self, event: Event) {
        let Some(event) = self.not_deferred(event) else { return };
        match event {
            Event::Submit(submission) => self.submit(*submission),
            Event::SubmitMany(submissions) => {
                for submission in submissions {
                    self.submit(submission);
                }
            }
            Event::Resume(resumed) => self.resume(*resumed),
            Event::GoneMany { of, end } => {
                for (id, waiter) in of {
                    self.gone(id, waiter, end);
                }
            }
            Event::GiveUp { of, done } => self.give_up(of, done),
            Event::Wait { id, connection, reply } => self.wait(id, connection, reply),
            Event::Gone { id, waiter, end } => self.gone(id, waiter, end),
            Event::Cancel { id, connection, reply } => self.cancel_asked(id, connection, reply),
            // Whoever joined it waits for its row too, and is told the same.
            Event::Withdraw { id, status } => self.cancel(id, status),
            Event::Keep { id, inputs, pin } => self.keep(id, inputs, pin),
            Event::Restored(stored) => self.restored(stored),
            Event::AllRestored(read) => self.all_restored(read),
            Event::Open { hello, out, reply } => self.open(&hello, out, reply),
            Event::Closed { session } => self.closed(session),
            Event::Heard { session, heard } => self.heard(session, heard),
            Event::Checked { session, id, attempt, checked } => {
                self.checked(session, id, attempt, *checked);
            }
            Event::Command { id, reply } => {
                let operation = self.operations.get(&id);
                let command = operation.and_then(|it| Some(it.messages.as_ref()?.command()));
                // Who asked may have lost interest.
                let _gone = reply.send(command);
            }
            Event::StreamFailed { id, attempt, status } => self.stream_failed(id, attempt, &status),
            Event::Drain { worker, reply } => self.drain(&worker, reply),
            Event::Ask(question) => question(self),
            Event::Close(_) => {}
        }
    }

    /// Time has passed.
    fn tick(&mut self) {
        let now = self.now();
        if self.sched.next_deadline().is_some_and(|due| due <= now) {
            self.step(Input::Tick);
        }
        while let Some(&(due, id)) = self.orphans.first()
            && due <= now
        {
            self.orphans.pop_first();
            self.cancel(id, tonic::Status::cancelled("nobody waits for the action any more"));
        }
        self.forget_recent(now);
        if self.trees_due.is_some_and(|due| due <= now) {
            let left = self.trees.expire();
            self.trees_due = left.then(|| now.after(self.trees.keep_for()));
        }
    }

    /// When [`Core::tick`] is due.
    fn next_deadline(&self) -> Option<Time> {
        let orphan = self.orphans.first().map(|(due, _)| *due);
        let recent = self.recent_order.front().map(|(ended, _)| ended.after(RECENT));
        [self.sched.next_deadline(), orphan, recent, self.trees_due].into_iter().flatten().min()
    }

    fn forget_recent(&mut self, now: Time) {
        while let Some(&(ended, id)) = self.recent_order.front()
            && (ended.after(RECENT) <= now || self.recent_order.len() > MAX_RECENT)
        {
            self.recent_order.pop_front();
            if let Some(ticket) = self.recent.remove(&id) {
                let key = ticket.record.key();
                if self.recent_keys.get(&key) == Some(&id) {
                    self.recent_keys.remove(&key);
                }
            }
        }
        if self.recent_order.is_empty() && self.recent_order.capacity() > ROOMY {
            self.let_go();
        }
    }

    /// Tables that have had very many entries and have few now keep no room for so many.
    fn let_go(&mut self) {
        self.recent = HashMap::new();
        self.recent_keys = HashMap::new();
        self.recent_order = VecDeque::new();
        self.keys.let_go();
        self.logs.let_go();
    }

    /// Hands over what the last event brought.
    fn flush(&mut self) {
        if !self.commit.is_empty() {
            self.commit.is_crowded = self.operations.len() >= CROWD;
            self.db.submit(std::mem::take(&mut self.commit));
        }
        let counts = self.sched.counts();
        let activity = Activity {
            queued: counts.n_queued,
            running: counts.n_leased,
            detached: self.n_detached,
            clients: self.n_clients,
        };
        self.activity.send_if_modified(|before| std::mem::replace(before, activity) != activity);
    }

    fn worker_name(&self, worker: WorkerId) -> Arc<str> {
        self.sessions
            .values()
            .find(|session| session.worker == worker)
            .map_or_else(|| worker.to_string().into(), |session| Arc::clone(&session.name))
    }
}

impl crate::db::Record {
    pub(crate) fn key(&self) -> Key {
        Key { instance: Arc::clone(&self.instance), digest: self.digest }
    }
}

async fn run(
    mut core: Core,
    mut requests: mpsc::Receiver<Event>,
    mut urgent: mpsc::UnboundedReceiver<Event>,
) {
    let mut table_ended = std::pin::pin!(core.db.ended());
    loop {
        let beats = core.has_terms();
        let beat = beats.then(|| core.now().after(BEAT));
        let due = [core.next_deadline(), beat].into_iter().flatten().min();
        let due = due.map(|due| core.started + due.since(Time::default()));
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            biased;
            event = urgent.recv() => Some(event),
            event = requests.recv() => Some(event),
            // Nothing can be promised without it. The hub ends, and the next one goes on from what is written.
            () = &mut table_ended => {
                tracing::error!("the hub's table has gone, so the hub ends");
                return;
            }
            () = timer => None,
        };
        core.wake(beats);
        // Whatever else waits: what is due is not put off by those who ask without a pause.
        if core.next_deadline().is_some_and(|due| due <= core.now()) {
            core.tick();
        }
        let Some(event) = event else {
            core.flush();
            continue;
        };
        match event {
            // The hub and all of its services are gone.
            None => return,
            Some(Event::Close(done)) => {
                core.flush();
                drop(core);
                // Whoever closes may have given up waiting.
                let _gone = done.send(());
                return;
            }
            Some(event) => {
                core.handle(event);
                core.flush();
                if core.restoring.as_ref().is_some_and(|restoring| restoring.failed) {
                    return;
                }
            }
        }
    }
}

/// Milliseconds since 1970, for rows and timestamps. Never for leases.
pub(crate) fn unix_millis() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
