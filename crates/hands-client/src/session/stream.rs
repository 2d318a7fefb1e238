//! The task that keeps a session's stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryFutureExt as _};
use hands_proto::v1::actions_client::ActionsClient;
use hands_proto::v1::actions_reply::Kind as Said;
use hands_proto::v1::actions_request::Kind;
use hands_proto::{reapi, v1};
use hands_types::limits;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};

use super::patience::{Heard, Patience};
use super::shared::Shared;
use super::state::{CREDIT, CREDIT_ALONE, Next};
use super::told::Peer;
use crate::retry::Backoff;
use crate::{ClientError, Cluster, agent, random_u128};

/// Messages that wait for the connection.
const QUEUE: usize = 4;
/// What was accepted is named in messages of so many.
const RESUMED: usize = 1000;
const WHAT: &str = "Execute";

/// A session as its hub knows it.
struct Keeper {
    cluster: Cluster,
    shared: Arc<Shared>,
    name: [u8; 16],
    /// The hub's name for its beginning; 0 before the first welcome.
    epoch: u64,
    /// When the epoch began here.
    began: Instant,
    /// Its one action does not wait for the welcome.
    alone: bool,
}

/// What came of a stream.
struct Ended {
    why: Status,
    was_welcome: bool,
    /// It brought an answer.
    has_served: bool,
}

type Replies = Pin<Box<dyn Stream<Item = Result<v1::ActionsReply, Status>> + Send>>;

/// What keeps a session's stream. `alone`: it is of one action, which is sent before the hub has said anything.
pub(super) fn keep(
    cluster: &Cluster,
    shared: &Arc<Shared>,
    alone: bool,
) -> Result<impl Future<Output = ()> + Send + use<>, ClientError> {
    let keeper = Keeper {
        cluster: cluster.clone(),
        shared: Arc::clone(shared),
        name: random_u128()?.to_le_bytes(),
        epoch: 0,
        began: Instant::now(),
        alone,
    };
    Ok(keeper.keep())
}

impl Keeper {
    /// Until the session is dropped, or the hub stays away for too long, or has no sessions.
    async fn keep(mut self) {
        let mut backoff = Backoff::new(Some(limits::ORPHAN));
        loop {
            let opened = Instant::now();
            let Ended { why, was_welcome, has_served } = self.serve().await;
            if self.epoch == 0 && why.code() == Code::Unimplemented {
                return self.shared.is_served(false);
            }
            self.shared.lost();
            if was_welcome {
                backoff.ended(has_served, opened.elapsed());
            }
            // Nobody needs it now; a hub that is away for a while does no harm. Whoever opens a session wants to know of it.
            while self.epoch > 0 && self.shared.is_idle() {
                self.shared.stirred().await;
                backoff = Backoff::new(Some(limits::ORPHAN));
            }
            if let Err(error) = self.pause(&mut backoff, &why).await {
                return self.shared.fail(error);
            }
        }
    }

    /// Waits before the next try, or gives up.
    async fn pause(&self, backoff: &mut Backoff, lost: &Status) -> Result<(), ClientError> {
        let error = self.cluster.failed(WHAT, lost);
        if !error.is_lost_connection() {
            return Err(error);
        }
        backoff.pause(self.cluster.contact(), self.cluster.peer(), &error).await?;
        if let Some(spec) = self.cluster.embedded_agent() {
            agent::ensure(spec, &mut |_| {}).await?;
        }
        Ok(())
    }

    /// Opens a stream. What goes along with the first message need not wait for an answer.
    fn open(&self) -> (mpsc::Sender<v1::ActionsRequest>, Replies) {
        let (requests, queue) = mpsc::channel(QUEUE);
        let open = v1::OpenSession {
            session: self.name.to_vec().into(),
            epoch: self.epoch,
            instance_name: self.cluster.instance().to_owned(),
            digest_function: reapi::digest_function::Value::from(self.cluster.function()).into(),
            credit: if self.alone { CREDIT_ALONE } else { CREDIT },
        };
        // There is room for the first.
        let _room = requests.try_send(v1::ActionsRequest { kind: Some(Kind::Open(open)) });
        let mut client = ActionsClient::new(self.cluster.channel())
            .max_decoding_message_size(limits::MAX_MESSAGE)
            .max_encoding_message_size(limits::MAX_MESSAGE);
        let request = self.cluster.request(ReceiverStream::new(queue));
        let replies = async move { client.session(request).await.map(Response::into_inner) };
        (requests, Box::pin(replies.try_flatten_stream()))
    }

    /// Sends and hears over one stream until that ends.
    async fn serve(&mut self) -> Ended {
        let (requests, mut replies) = self.open();
        let mut patience = Patience::of(self.alone);
        let (mut was_welcome, mut has_served) = (false, false);
        // What was accepted before, to be taken up first.
        let mut resumed = VecDeque::new();
        let why = loop {
            let may_send = was_welcome || (self.alone && self.epoch == 0);
            // Sent as long as the connection takes it; what gathers meanwhile goes together.
            while may_send && let Ok(permit) = requests.try_reserve() {
                let kind = match resumed.pop_front() {
                    Some(resume) => Kind::Submit(resume),
                    None => match self.shared.next(self.at_ms(), patience.is_paused()) {
                        Next::Message(kind) => kind,
                        Next::Nothing => break,
                    },
                };
                permit.send(v1::ActionsRequest { kind: Some(kind) });
            }
            let is_full = requests.capacity() == 0;
            let due = async {
                match patience.due() {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reply = replies.next() => {
                    let said = match reply {
                        Some(Ok(reply)) => reply.kind,
                        Some(Err(status)) => break status,
                        None => break Status::unavailable("the session's stream has ended"),
                    };
                    match said {
                        Some(Said::Welcome(welcome)) if !was_welcome => {
                            was_welcome = true;
                            resumed = self.welcomed(&welcome);
                        }
                        _ if !was_welcome => {
                            break Status::unavailable("the session ended before it began");
                        }
                        Some(Said::Events(events)) => {
                            if let Some(sentence) = &events.trouble {
                                patience.trouble(Instant::now(), sentence);
                                self.trouble(sentence);
                            }
                            has_served |= !events.accepted.is_empty() || !events.ended.is_empty();
                            let heard = self.hear(events);
                            if patience.heard(Instant::now(), heard) {
                                self.cluster.contact().made();
                            }
                        }
                        // A later version says more.
                        Some(Said::Welcome(_)) | None => {}
                    }
                }
                () = self.shared.stirred(), if may_send && !is_full => {}
                Ok(_room) = requests.reserve(), if may_send && is_full => {}
                () = due => {
                    let now = Instant::now();
                    if let Some(message) = patience.tells(now) {
                        self.cluster.contact().tell(self.refusal(&message));
                    }
                    let oldest = || self.shared.oldest_unaccepted();
                    if let Some((waited, message)) = patience.passed(now, oldest) {
                        self.never(now, waited, &message);
                    }
                }
            }
        };
        Ended { why, was_welcome, has_served }
    }

    /// The hub has opened the session, for the first time or again. Gives what is to be taken up.
    fn welcomed(&mut self, welcome: &v1::SessionWelcome) -> VecDeque<v1::Submissions> {
        if self.epoch == 0 {
            self.epoch = welcome.epoch;
            self.began = Instant::now();
        }
        self.cluster.contact().made();
        let resume = self.shared.welcome(welcome.window);
        self.shared.is_served(true);
        let of = |resume: &[v1::ResumeAction]| v1::Submissions {
            resume: resume.to_vec(),
            ..Default::default()
        };
        resume.chunks(RESUMED).map(of).collect()
    }

    /// How long ago the first welcome was.
    fn at_ms(&self) -> u32 {
        match self.epoch {
            0 => 0,
            _ => u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn hear(&self, events: v1::ActionEvents) -> Heard {
        let costs = !events.ended.is_empty() || !events.states.is_empty();
        let bytes = if costs { events.encoded_len() as u64 } else { 0 };
        self.shared.hear(events, bytes, &Peer { name: self.cluster.peer() })
    }

    /// It went on saying that it can't take anything: what it has not accepted for so long ends here.
    fn never(&self, now: Instant, waited: Duration, message: &str) {
        let peer = self.cluster.peer().to_owned();
        let message = crate::printable(message).into_owned();
        if self.alone {
            return self.shared.fail_unaccepted(now, &ClientError::NotNow { peer, message });
        }
        let before = now - waited.min(limits::ORPHAN);
        self.shared.fail_unaccepted(before, &ClientError::Never { peer, waited, message });
    }

    /// What it refuses for now, as a sentence.
    fn refusal(&self, message: &str) -> String {
        let peer = self.cluster.peer().to_owned();
        let error = ClientError::NotNow { peer, message: crate::printable(message).into_owned() };
        Backoff::new(Some(limits::ORPHAN)).sentence(self.cluster.peer(), &error)
    }

    /// Why nothing can be made durable now; empty when that is over.
    fn trouble(&self, sentence: &str) {
        if sentence.is_empty() {
            return;
        }
        let message = crate::printable(sentence).into_owned();
        let peer = self.cluster.peer().to_owned();
        if self.alone {
            return self.shared.tell_waiting(&message);
        }
        self.cluster.contact().tell(format!("{peer} says: {message}"));
    }
}
