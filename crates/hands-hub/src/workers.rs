//! `hands.v1.Workers`: the stream between a worker and its hub.

mod offer;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, stream};
use hands_link::ConnectionInfo;
use hands_proto::v1::workers_server::Workers;
use hands_proto::{Charge, v1};
use hands_sched::RejectReason;
use hands_store::StoreError;
use hands_types::limits::{HEARTBEAT, MAX_SAID};
use hands_types::text::{cut, said};
use hands_types::{Attempt, Digest, OperationId, SessionId, WorkerId};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

use crate::access::Principal;
use crate::check::{self, Checked, Lookout};
use crate::core::{Event, Heard, Opened, SessionOut, Taken, ToWorker};
use crate::doubted::{self, Doubter};
use crate::logs::AttemptLog;
use crate::shared::{Shared, ended};
use crate::spool::SpoolError;

/// Versions of the session's protocol that this hub speaks.
pub(crate) const PROTOCOL: (u32, u32) = (1, 1);

/// How long a connection may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Pieces of input that wait for a worker before those who attach wait.
const INPUTS: usize = 16;
/// Digests of one Holds that are read.
const HOLDS: usize = 1024;
/// Bytes of one piece of output: what a worker may have unacknowledged.
const OUTPUT: usize = 1 << 20;
/// Attempts that a worker may bring.
const ATTEMPTS: usize = 10_000;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct WorkersService(pub(crate) Arc<Shared>);

type HubMessages = Pin<Box<dyn Stream<Item = Result<v1::HubMessage, Status>> + Send>>;

#[tonic::async_trait]
impl Workers for WorkersService {
    type SessionStream = HubMessages;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<HubMessages>, Status> {
        let principal = request.extensions().get::<Principal>().copied();
        let connection = ConnectionInfo::of(&request).cloned();
        let charge = Charge::of(&request);
        let (control, messages) = mpsc::unbounded_channel();
        let (input, inputs) = mpsc::channel(INPUTS);
        let out = SessionOut::new(control, input);
        let answers = outgoing(messages, inputs, out.unread());
        crate::task::spawn(
            "worker-session",
            listen(Arc::clone(&self.0), request.into_inner(), out, principal, (connection, charge)),
        );
        Ok(Response::new(answers))
    }
}

/// What the worker hears: the core's words first, then input for its actions.
fn outgoing(
    messages: mpsc::UnboundedReceiver<ToWorker>,
    inputs: mpsc::Receiver<v1::HubMessage>,
    unread: Arc<AtomicUsize>,
) -> HubMessages {
    Box::pin(stream::unfold(Some((messages, inputs, unread)), |open| async move {
        let (mut messages, mut inputs, unread) = open?;
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            Some(input) = inputs.recv() => {
                return Some((Ok(input), Some((messages, inputs, unread))));
            }
        };
        unread.fetch_sub(1, Ordering::Relaxed);
        match message {
            Some(ToWorker::Message(kind)) => {
                let message = v1::HubMessage { kind: Some(*kind) };
                Some((Ok(message), Some((messages, inputs, unread))))
            }
            Some(ToWorker::Close(Some(status))) => Some((Err(status), None)),
            Some(ToWorker::Close(None)) | None => None,
        }
    }))
}

/// Reads a worker's messages until its connection ends or it is told to go.
async fn listen(
    hub: Arc<Shared>,
    mut messages: Streaming<v1::WorkerMessage>,
    out: SessionOut,
    principal: Option<Principal>,
    (connection, charge): (Option<ConnectionInfo>, Option<Arc<Charge>>),
) {
    let hello = hello(&hub, &mut messages, &out, principal);
    let opened = match tokio::time::timeout(HELLO_WITHIN, hello).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return out.send(ToWorker::Close(Some(status))),
        Err(_) => {
            let status = Status::deadline_exceeded("no Hello within 10 s");
            return out.send(ToWorker::Close(Some(status)));
        }
    };
    tracing::info!(worker = %opened.name, session = %opened.session, "a worker is connected");
    let session = Listener { hub, out, opened, charge };
    loop {
        let message = tokio::select! {
            message = messages.message() => message,
            // The answering half was dropped: the connection is gone, or the core closed the session.
            () = session.out.control.closed() => break,
        };
        match message {
            Ok(Some(v1::WorkerMessage { kind: Some(kind) })) => {
                if session.out.is_deaf() {
                    tracing::warn!(worker = %session.opened.name, "a worker does not read what it is told");
                    session.out.close();
                    // It would not read that either.
                    if let Some(connection) = &connection {
                        connection.cut();
                    }
                    break;
                }
                if let Err(status) = session.hear(kind).await {
                    tracing::warn!(worker = %session.opened.name, %status, "a worker broke the protocol");
                    session.out.send(ToWorker::Close(Some(status)));
                    break;
                }
            }
            // A message of a kind that a later version has.
            Ok(Some(v1::WorkerMessage { kind: None })) => {}
            Ok(None) => {
                session.out.close();
                break;
            }
            Err(status) => {
                tracing::debug!(worker = %session.opened.name, %status, "a worker's stream broke");
                break;
            }
        }
    }
    session.hub.core.send_now(Event::Closed { session: session.opened.session });
}

async fn hello(
    hub: &Shared,
    messages: &mut Streaming<v1::WorkerMessage>,
    out: &SessionOut,
    principal: Option<Principal>,
) -> Result<Opened, Status> {
    let first = messages.message().await?.and_then(|message| message.kind);
    let Some(v1::worker_message::Kind::Hello(hello)) = first else {
        return Err(Status::invalid_argument("the first message must be Hello"));
    };
    let theirs = hello.protocol.clone().unwrap_or_default();
    offer::check(&hello)?;
    let (low, high) = PROTOCOL;
    if theirs.low > high || theirs.high < low {
        let older = if theirs.high < low { "worker" } else { "hub" };
        return Err(Status::failed_precondition(format!(
            "the worker (hands {}) speaks protocol {} to {}, this hub (hands {}) {low} to {high}: update the {older}",
            theirs.version, theirs.low, theirs.high, hub.protocol.version,
        )));
    }
    let Ok(id) = hello.worker_id.parse::<WorkerId>() else {
        let id = cut(&hello.worker_id, 32);
        return Err(Status::invalid_argument(format!("{id:?} is no worker id")));
    };
    // Leases belong to ids: nobody takes another's.
    match principal {
        Some(Principal::Member(member, _)) if member.0 != id.0 => {
            return Err(Status::permission_denied(format!(
                "this certificate is {member}'s, not {id}'s"
            )));
        }
        Some(Principal::Certificate(..) | Principal::Bearer(..)) => {
            return Err(Status::permission_denied("a worker joins with `hands worker JOIN`"));
        }
        // None: a server that has no access layer serves its own process or user.
        Some(Principal::Member(..) | Principal::Local | Principal::Loopback) | None => {}
    }
    if hello.slots == 0 && hello.cpu_millis == 0 {
        return Err(Status::invalid_argument("the worker offers no slots"));
    }
    if hello.attempts.len().max(hello.inputs.len()) > ATTEMPTS {
        return Err(Status::invalid_argument(format!("more than {ATTEMPTS} attempts")));
    }
    let (reply, answer) = oneshot::channel();
    hub.core.send(Event::Open { hello: Box::new(hello), out: out.clone(), reply }).await;
    answer.await.map_err(|_| ended())
}

struct Listener {
    hub: Arc<Shared>,
    out: SessionOut,
    opened: Opened,
    /// What the session's messages take.
    charge: Option<Arc<Charge>>,
}

impl Listener {
    /// Takes one message. An error ends the session.
    async fn hear(&self, kind: v1::worker_message::Kind) -> Result<(), Status> {
        match kind {
            v1::worker_message::Kind::Hello(_) => {
                return Err(Status::invalid_argument("a second Hello"));
            }
            v1::worker_message::Kind::Heartbeat(_) => self.tell(Heard::Heartbeat).await,
            v1::worker_message::Kind::Started(started) => {
                let (id, attempt) = attempt_of(started.id.as_ref())?;
                self.tell(Heard::Started { id, attempt }).await;
            }
            v1::worker_message::Kind::Output(output) => self.output(output).await?,
            v1::worker_message::Kind::Finished(finished) => self.finished(finished).await?,
            v1::worker_message::Kind::HandBack(back) => {
                let (id, attempt) = attempt_of(back.id.as_ref())?;
                let reason = match back.cause() {
                    v1::HandBackCause::WorkerDrains => RejectReason::Draining,
                    v1::HandBackCause::LeaseRecalled => RejectReason::Recalled,
                    v1::HandBackCause::Unable => RejectReason::Unable(said(&back.reason, MAX_SAID)),
                };
                self.tell(Heard::HandBack { id, attempt, reason }).await;
            }
            v1::worker_message::Kind::Holds(holds) => {
                let trees =
                    holds.digests.iter().take(HOLDS).filter_map(|text| text.parse::<Digest>().ok());
                self.tell(Heard::Holds(trees.collect())).await;
            }
            v1::worker_message::Kind::Draining(_) => self.tell(Heard::Draining).await,
            v1::worker_message::Kind::InputTaken(input) => {
                let (id, attempt) = attempt_of(input.id.as_ref())?;
                let taken = Taken { bytes: input.bytes, ended: input.ended };
                self.tell(Heard::InputTaken { id, attempt, taken }).await;
            }
            v1::worker_message::Kind::Doubted(doubted) => {
                let (store, worker) = (self.hub.store.clone(), self.opened.worker);
                let doubter = Doubter { worker, name: Arc::clone(&self.opened.name) };
                let number = doubted.number;
                crate::task::blocking(move || doubted::withdraw(&store, &doubter, &doubted))
                    .await?;
                if number > 0 {
                    self.out.say(v1::hub_message::Kind::DoubtedAck(v1::DoubtedAck { number }));
                }
            }
        }
        Ok(())
    }

    async fn tell(&self, heard: Heard) {
        self.hub.core.send(Event::Heard { session: self.opened.session, heard }).await;
    }

    /// The streams of an attempt, if this worker was granted it.
    fn log(&self, id: OperationId, attempt: Attempt) -> Option<Arc<AttemptLog>> {
        self.hub.logs.find(id, attempt).filter(|log| log.worker == self.opened.worker)
    }

    fn refuse(&self, id: v1::AttemptId, reason: &str) {
        let refused = v1::Refused { id: Some(id), reason: reason.to_owned() };
        self.out.say(v1::hub_message::Kind::Refused(refused));
    }

    /// Spools a piece of output and acknowledges it. Not before: that is what holds a fast action back.
    async fn output(&self, output: v1::Output) -> Result<(), Status> {
        let (id, attempt) = attempt_of(output.id.as_ref())?;
        let stream = crate::logs::Stream::from_number(output.stream).ok_or_else(|| {
            Status::invalid_argument(format!("no stream has the number {}", output.stream))
        })?;
        if output.data.len() > OUTPUT {
            return Err(Status::invalid_argument(format!(
                "a piece of output has {} bytes, more than {OUTPUT}",
                output.data.len()
            )));
        }
        let Some(log) = self.log(id, attempt) else {
            self.refuse(
                output.id.unwrap_or_default(),
                "this lease was not granted to this worker, or has ended",
            );
            return Ok(());
        };
        let (offset, data) = (output.offset, output.data);
        let appended = match log.stream(stream).append_in_memory(offset, &data) {
            Some(appended) => appended,
            // This session waits for the disk, as its worker's output does, and nobody else.
            None => {
                let log = Arc::clone(&log);
                crate::task::blocking(move || log.stream(stream).append(offset, &data)).await?
            }
        };
        let failed = match appended {
            Ok(_) => {
                let ack = v1::OutputAck {
                    id: output.id,
                    stdout_offset: log.stdout.mark().length,
                    stderr_offset: log.stderr.mark().length,
                };
                self.out.say(v1::hub_message::Kind::OutputAck(ack));
                return Ok(());
            }
            Err(error @ SpoolError::Gap { .. }) => {
                return Err(Status::invalid_argument(error.to_string()));
            }
            Err(SpoolError::TooLong { limit }) => Status::resource_exhausted(format!(
                "the action wrote more than {limit} bytes to {}: send long output to a file",
                stream.name()
            )),
            Err(error @ SpoolError::Io { .. }) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an output stream can't be spooled"
                );
                Status::resource_exhausted(format!("the hub {error}: its disk may be full"))
            }
        };
        self.hub.core.send(Event::StreamFailed { id, attempt, status: failed }).await;
        Ok(())
    }

    /// Looks at a result and hands it to the core.
    async fn finished(&self, finished: v1::Finished) -> Result<(), Status> {
        let (id, attempt) = attempt_of(finished.id.as_ref())?;
        let session = self.opened.session;
        let Some(log) = self.log(id, attempt) else {
            report(&self.hub, session, id, attempt, Checked::Unknown).await;
            return Ok(());
        };
        let (hub, name) = (Arc::clone(&self.hub), Arc::clone(&self.opened.name));
        let command = if check::has_entries(&finished) {
            let (reply, answer) = oneshot::channel();
            hub.core.send(Event::Command { id, reply }).await;
            answer.await.map_err(|_| ended())?
        } else {
            None
        };
        let is_quick = check::is_quick(&log, &finished, command.as_ref());
        let lookout = Lookout { store: hub.store.clone(), log, worker_name: name, command };
        // What waits for room does so beside the session.
        let kept = is_quick.then(|| lookout.keep(&finished));
        let is_full = |kept: &Result<_, StoreError>| matches!(kept, Err(e) if e.is_full());
        if let Some(kept) = kept.filter(|kept| !is_full(kept)) {
            let checked = lookout.check(finished, kept);
            report(&hub, session, id, attempt, checked).await;
            return Ok(());
        }
        // Other actions of this worker do not wait behind a large one; its message counts until it was looked at.
        let charge = self.charge.clone();
        let held = charge.as_ref().and_then(Charge::keep_message);
        crate::task::spawn("check-result", async move {
            let checked = lookout.check_large(finished, charge.as_ref()).await;
            report(&hub, session, id, attempt, checked).await;
            drop(held);
        });
        self.has_room().await;
        Ok(())
    }

    /// Waits until there is room for the next message: a session would end where there is none. The worker lives meanwhile,
    /// whatever of it is not heard.
    async fn has_room(&self) {
        let Some(charge) = &self.charge else { return };
        // It keeps its place in the line from one heartbeat to the next.
        let mut room = pin!(charge.hold_later(OUTPUT));
        loop {
            match tokio::time::timeout(HEARTBEAT, room.as_mut()).await {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => {
                    // It has waited for long, or too many wait: once more, and not at once.
                    tokio::time::sleep(HEARTBEAT).await;
                    room.set(charge.hold_later(OUTPUT));
                }
                Err(_) => {}
            }
            self.tell(Heard::Heartbeat).await;
        }
    }
}

async fn report(
    hub: &Shared,
    session: SessionId,
    id: OperationId,
    attempt: Attempt,
    checked: Checked,
) {
    hub.core.send(Event::Checked { session, id, attempt, checked: Box::new(checked) }).await;
}

fn attempt_of(id: Option<&v1::AttemptId>) -> Result<(OperationId, Attempt), Status> {
    let id = id.ok_or_else(|| Status::invalid_argument("a message names no attempt"))?;
    let operation = id.operation.parse().map_err(|_| {
        let id = cut(&id.operation, 32);
        Status::invalid_argument(format!("{id:?} is no operation's id"))
    })?;
    Ok((operation, Attempt(id.attempt)))
}
