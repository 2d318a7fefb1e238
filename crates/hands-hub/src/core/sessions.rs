//! Workers' sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hands_proto::v1;
use hands_sched::{Input, Offer, Opening};
use hands_types::limits::MAX_SLOTS;
use hands_types::{Attempt, OperationId, Resources, SessionId, WorkerId};
use tokio::sync::{mpsc, oneshot, watch};

use super::input::{Told, told};
use super::{Core, Heard, InputRoute, Second, Stage, unix_millis};
use crate::db::Write;

/// What goes to a worker.
#[derive(Debug)]
pub(crate) enum ToWorker {
    Message(Box<v1::hub_message::Kind>),
    /// The session ends with this, or well.
    Close(Option<tonic::Status>),
}

/// The way to a worker.
#[derive(Clone, Debug)]
pub(crate) struct SessionOut {
    /// Not bounded, for the core waits for nobody: who lets more than [`MOST_UNREAD`] wait is hung up on.
    pub(crate) control: mpsc::UnboundedSender<ToWorker>,
    unread: Arc<AtomicUsize>,
    /// Input for running actions; whoever attaches waits when the worker does not keep up.
    pub(crate) input: mpsc::Sender<v1::HubMessage>,
}

/// Answers that a worker may leave unread. One that reads has a few; leases are no more than its slots.
const MOST_UNREAD: usize = 4 * MAX_SLOTS as usize;

impl SessionOut {
    pub(crate) fn new(
        control: mpsc::UnboundedSender<ToWorker>,
        input: mpsc::Sender<v1::HubMessage>,
    ) -> Self {
        Self { control, unread: Arc::default(), input }
    }

    /// How many messages wait in `control`: whoever takes one out counts it down.
    pub(crate) fn unread(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unread)
    }

    /// Whether the worker sends and does not read what it is answered.
    pub(crate) fn is_deaf(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > MOST_UNREAD
    }

    pub(crate) fn say(&self, kind: v1::hub_message::Kind) {
        self.send(ToWorker::Message(Box::new(kind)));
    }

    pub(crate) fn send(&self, message: ToWorker) {
        self.unread.fetch_add(1, Ordering::Relaxed);
        // Fails when the connection is gone, which is reported on its own.
        let _gone = self.control.send(message);
    }

    pub(crate) fn close(&self) {
        self.send(ToWorker::Close(None));
    }
}

/// What the core answers to a Hello.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: SessionId,
    pub(crate) worker: WorkerId,
    pub(crate) name: Arc<str>,
}

/// One session of a worker.
pub(crate) struct Session {
    pub(crate) worker: WorkerId,
    pub(crate) name: Arc<str>,
    pub(crate) out: SessionOut,
    pub(crate) hello: v1::Hello,
    /// How much standard input it came with.
    inputs: Told,
    /// Milliseconds since 1970.
    pub(crate) connected: i64,
    pub(crate) last_seen: i64,
    pub(crate) draining: bool,
}

/// Leases that a worker gets ahead of its free slots, where it does not say how many it takes.
const AHEAD: u32 = 2;
/// Most that it gets whatever it says: they wait for it while other workers may be idle.
const MOST_AHEAD: u32 = 64;

/// Characters of an id that tell a worker from others of its name.
const SHORT_ID: usize = 8;

pub(crate) fn attempt_id(id: OperationId, attempt: Attempt) -> v1::AttemptId {
    v1::AttemptId { operation: id.to_string(), attempt: attempt.0 }
}

impl Core {
    pub(super) fn open(
        &mut self,
        hello: &v1::Hello,
        out: SessionOut,
        reply: oneshot::Sender<Opened>,
    ) {
        // Checked by the service.
        let Ok(worker) = hello.worker_id.parse::<WorkerId>() else { return };
        let session = SessionId(crate::id::random());
        let name = self.name_for(worker, &hello.name);
        let lease = match hello.lease_ms {
            0 => self.config.lease,
            millis => Duration::from_millis(millis)
                .clamp(Duration::from_secs(1), Duration::from_secs(600)),
        };
        let now = unix_millis();
        self.sessions.insert(
            session,
            Session {
                worker,
                name: Arc::clone(&name),
                out: out.clone(),
                hello: hello.clone(),
                inputs: told(hello),
                connected: now,
                last_seen: now,
                draining: false,
            },
        );
        let held: Vec<(OperationId, Attempt)> = hello
            .attempts
            .iter()
            .filter_map(|id| Some((id.operation.parse().ok()?, Attempt(id.attempt))))
            .collect();
        let opening = Opening {
            session,
            worker,
            offer: Offer { name: name.as_ref().to_owned(), ..offer(hello) },
            lease,
            resumes: hello.resumes,
            holds: held,
        };
        self.step(Input::SessionOpened(Box::new(opening)));
        let welcome = v1::Welcome {
            protocol: Some(self.config.protocol.clone()),
            session_id: session.to_string(),
            hub_id: self.config.hub_id.clone(),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            resume: std::mem::take(&mut self.adopted),
            store_quota: self.store.usage().quota,
        };
        // Said at once, so before the leases and cancels of this step, which go by the table's thread.
        out.say(v1::hub_message::Kind::Welcome(welcome));
        for input in std::mem::take(&mut self.adopted_inputs) {
            out.say(v1::hub_message::Kind::Input(input));
        }
        // Nobody to tell if the connection is gone again; its end is reported on its own.
        let _gone = reply.send(Opened { session, worker, name: Arc::clone(&name) });
        self.openings.send_modify(|n| *n += 1);
    }

    /// How a worker is called in lists and everywhere else: as it says, unless another that is connected is called so. Then
    /// the end of its id follows, which is the same whenever it comes back.
    fn name_for(&self, worker: WorkerId, wanted: &str) -> Arc<str> {
        let id = worker.to_string();
        let is_free = |name: &str| {
            self.sessions.values().all(|known| known.worker == worker || *known.name != *name)
        };
        let short = id.split_at(id.len().saturating_sub(SHORT_ID)).1;
        let names = [wanted.to_owned(), format!("{wanted}~{short}"), format!("{wanted}~{id}")];
        let fits = |name: &&String| !wanted.is_empty() && is_free(name);
        names.iter().find(fits).unwrap_or(&id).as_str().into()
    }

    /// A worker came back with an attempt that counts.
    pub(super) fn adopt(&mut self, session: SessionId, id: OperationId, attempt: Attempt) {
        let Some(known) = self.sessions.get(&session) else { return };
        let Some(operation) = self.operations.get_mut(&id) else { return };
        match self.logs.attempt(&operation.record, attempt, known.worker, true) {
            Ok(log) => self.adopted.push(v1::Resume {
                id: Some(attempt_id(id, attempt)),
                stdout_offset: log.stdout.mark().length,
                stderr_offset: log.stderr.mark().length,
            }),
            Err(error) => {
                tracing::error!(%error, operation = %id, "can't open the spool of an action");
            }
        }
        self.commit.writes.push(Write::Lease { id, attempt, worker: known.worker });
        let name = Arc::clone(&known.name);
        if operation.attempt.is_some_and(|current| current != attempt) {
            // The worker says once more if it has started.
            let known = operation.second.take().filter(|second| second.attempt == attempt);
            let started = known.and_then(|second| second.started);
            operation.second = Some(Box::new(Second { attempt, worker: name, started }));
            return;
        }
        operation.attempt = Some(attempt);
        let told = known.inputs.as_ref();
        let told = told.map(|inputs| inputs.get(&(id, attempt)).copied().unwrap_or_default());
        self.adopted_inputs.extend(operation.resume_input(attempt, told));
        self.publish(id, |state| {
            state.worker = Some(name);
            state.attempt = attempt.0;
        });
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        if let Some(gone) = self.sessions.remove(&session) {
            tracing::info!(worker = %gone.name, "a worker's connection has ended");
            self.step(Input::SessionClosed { session });
        }
    }

    pub(super) fn heard(&mut self, session: SessionId, heard: Heard) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.last_seen = unix_millis();
        match heard {
            Heard::Heartbeat => self.step(Input::Heartbeat { session }),
            Heard::Started { id, attempt } => self.attempt_started(session, id, attempt),
            Heard::HandBack { id, attempt, reason } => {
                self.step(Input::Rejected { session, operation: id, attempt, reason });
            }
            Heard::Holds(trees) => self.step(Input::Holds { session, trees }),
            Heard::Draining => {
                known.draining = true;
                self.step(Input::Draining { session });
            }
            Heard::InputTaken { id, attempt, taken } => {
                let name = Some(attempt_id(id, attempt));
                let route = self.operations.get(&id).and_then(|it| it.route.as_ref());
                // Of an attempt that is not its own any more a worker has nothing to say.
                let its = route.filter(|it| {
                    Some(&it.id) == name.as_ref() && it.out.same_channel(&known.out.input)
                });
                if let Some(route) = its {
                    route.sent.takes(taken);
                }
            }
        }
    }

    fn attempt_started(&mut self, session: SessionId, id: OperationId, attempt: Attempt) {
        self.step(Input::Started { session, operation: id, attempt });
        let Some(known) = self.sessions.get(&session) else { return };
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.attempt != Some(attempt) {
            if let Some(second) = operation.second.as_mut().filter(|it| it.attempt == attempt) {
                second.started = Some(unix_millis());
            }
            return;
        }
        operation.route_input(attempt, &known.out.input, known.inputs.is_some());
        self.publish(id, |state| {
            state.stage = Stage::Executing;
            state.started = Some(unix_millis());
        });
    }

    /// Workers of that id, unique prefix of an id, or name take nothing new.
    pub(super) fn drain(&mut self, worker: &str, reply: oneshot::Sender<usize>) {
        let found: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, s)| {
                s.hello.name == worker
                    || (worker.len() >= 4 && s.worker.to_string().starts_with(worker))
            })
            .map(|(id, _)| *id)
            .collect();
        // What lists call it is one worker's alone, also where others say the same of themselves.
        let called = self.sessions.iter().find(|(_, s)| *s.name == *worker).map(|(id, _)| *id);
        let found = called.map_or(found, |called| vec![called]);
        if let [session] = found[..] {
            if let Some(known) = self.sessions.get_mut(&session) {
                known.draining = true;
            }
            let reason = "drained by an operator".to_owned();
            self.tell(session, v1::hub_message::Kind::Drain(v1::Drain { reason }));
            self.step(Input::Draining { session });
        }
        // Who asked may have lost interest.
        let _gone = reply.send(found.len());
    }

    /// Where input for an operation goes; none if it takes none or has ended.
    pub(crate) fn input_of(&self, id: OperationId) -> Option<watch::Receiver<Option<InputRoute>>> {
        Some(self.operations.get(&id)?.input.as_ref()?.subscribe())
    }

    /// Where numbered input for an operation goes. None if it has ended or is not known; none within if it takes none.
    #[expect(clippy::option_option, reason = "two answers that are not the same")]
    pub(crate) fn feed_of(
        &self,
        id: OperationId,
    ) -> Option<Option<watch::Receiver<Option<InputRoute>>>> {
        let operation = self.operations.get(&id)?;
        Some(operation.input.as_ref().filter(|_| operation.is_fed()).map(watch::Sender::subscribe))
    }

    /// The way to an attempt whose output one client alone reads; none if it does not run, or others may want its result.
    pub(crate) fn sole_reader_of(&self, id: OperationId) -> Option<InputRoute> {
        let operation = self.operations.get(&id)?;
        let record = &operation.record;
        let is_shared = record.cacheable || record.options.detach || operation.waiters.len() > 1;
        operation.route.as_deref().filter(|_| !is_shared).cloned()
    }
}

pub(super) fn offer(hello: &v1::Hello) -> Offer {
    let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for property in &hello.properties {
        properties.entry(property.name.clone()).or_default().insert(property.value.clone());
    }
    // Whatever it says: it would be given all that is queued.
    let cpu_millis = match hello.slots {
        0 => hello.cpu_millis.min(MAX_SLOTS * 1000),
        slots => slots.min(MAX_SLOTS) * 1000,
    };
    let custom = hello.custom.iter().map(|counter| (counter.name.clone(), counter.count)).collect();
    let resources = Resources { cpu_millis, memory: hello.memory, custom };
    let ahead = hello.ahead.unwrap_or(AHEAD).min(MOST_AHEAD);
    Offer { name: hello.name.clone(), properties, resources, ahead }
}
