//! The task that keeps a session's stream.

use std::sync::Arc;
use std::time::Duration;

use hands_proto::v1::actions_client::ActionsClient;
use hands_proto::v1::actions_reply::Kind as Said;
use hands_proto::v1::actions_request::Kind;
use hands_proto::{reapi, v1};
use hands_types::limits;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::patience::{Heard, Patience};
use super::state::{CREDIT, Next, Shared};
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
    epoch: u64,
    /// When the epoch began here.
    began: Instant,
}

/// An open stream.
struct Stream {
    requests: mpsc::Sender<v1::ActionsRequest>,
    replies: Streaming<v1::ActionsReply>,
}

/// Opens a session, and gives what keeps it; none where the hub has none.
pub(super) async fn open(
    cluster: &Cluster,
    shared: &Arc<Shared>,
) -> Result<Option<impl Future<Output = ()> + Send + use<>>, ClientError> {
    let mut keeper = Keeper {
        cluster: cluster.clone(),
        shared: Arc::clone(shared),
        name: random_u128()?.to_le_bytes(),
        epoch: 0,
        began: Instant::now(),
    };
    let mut backoff = Backoff::new(Some(limits::ORPHAN));
    let stream = loop {
        match keeper.open().await {
            Ok(stream) => break stream,
            Err(status) if status.code() == Code::Unimplemented => return Ok(None),
            Err(status) => keeper.pause(&mut backoff, &status).await?,
        }
    };
    Ok(Some(keeper.keep(stream)))
}

impl Keeper {
    /// Opens the stream and takes up what was accepted before.
    async fn open(&mut self) -> Result<Stream, Status> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let open = v1::OpenSession {
            session: self.name.to_vec().into(),
            epoch: self.epoch,
            instance_name: self.cluster.instance().to_owned(),
            digest_function: reapi::digest_function::Value::from(self.cluster.function()).into(),
            credit: CREDIT,
        };
        // There is room for the first.
        let _room = requests.try_send(v1::ActionsRequest { kind: Some(Kind::Open(open)) });
        let mut client = ActionsClient::new(self.cluster.channel())
            .max_decoding_message_size(limits::MAX_MESSAGE)
            .max_encoding_message_size(limits::MAX_MESSAGE);
        let request = self.cluster.request(ReceiverStream::new(queue));
        let mut replies = client.session(request).await?.into_inner();
        let first = replies.message().await?;
        let Some(v1::ActionsReply { kind: Some(Said::Welcome(welcome)) }) = first else {
            return Err(Status::unavailable("the session ended before it began"));
        };
        if self.epoch == 0 {
            self.epoch = welcome.epoch;
            self.began = Instant::now();
        }
        self.cluster.contact().made();
        for resume in self.shared.welcome(welcome.window).chunks(RESUMED) {
            let resume = v1::Submissions { resume: resume.to_vec(), ..Default::default() };
            let message = v1::ActionsRequest { kind: Some(Kind::Submit(resume)) };
            if requests.send(message).await.is_err() {
                return Err(Status::unavailable("the session ended"));
            }
        }
        Ok(Stream { requests, replies })
    }

    /// Until the session is dropped, or the hub stays away for too long.
    async fn keep(mut self, stream: Stream) {
        let mut open = Some(stream);
        let mut backoff = Backoff::new(Some(limits::ORPHAN));
        loop {
            let lost = match open.take() {
                Some(stream) => {
                    let opened = Instant::now();
                    let (status, has_served) = self.serve(stream).await;
                    self.shared.lost();
                    backoff.ended(has_served, opened.elapsed());
                    status
                }
                None => match self.open().await {
                    Ok(stream) => {
                        open = Some(stream);
                        continue;
                    }
                    Err(status) => {
                        // It may have ended behind its welcome.
                        self.shared.lost();
                        status
                    }
                },
            };
            // Nobody needs it now; a hub that is away for a while does no harm.
            while self.shared.is_idle() {
                self.shared.stirred().await;
                backoff = Backoff::new(Some(limits::ORPHAN));
            }
            if let Err(error) = self.pause(&mut backoff, &lost).await {
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

    /// Sends and hears until the stream ends. Tells whether it brought any answer.
    async fn serve(&self, stream: Stream) -> (Status, bool) {
        let Stream { requests, mut replies } = stream;
        let mut patience = Patience::default();
        let mut has_served = false;
        loop {
            // Sent as long as the connection takes it; what gathers meanwhile goes together.
            while let Ok(permit) = requests.try_reserve() {
                let at = u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX);
                match self.shared.next(at, patience.is_paused()) {
                    Next::Message(kind) => permit.send(v1::ActionsRequest { kind: Some(kind) }),
                    Next::Nothing => break,
                }
            }
            let is_full = requests.capacity() == 0;
            let due = async {
                match patience.due() {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => match reply.kind {
                        Some(Said::Events(events)) => {
                            if let Some(sentence) = &events.trouble {
                                patience.trouble(Instant::now(), sentence);
                                self.tell(sentence);
                            }
                            has_served |= !events.accepted.is_empty() || !events.ended.is_empty();
                            let heard = self.hear(events);
                            if patience.heard(Instant::now(), heard) {
                                self.cluster.contact().made();
                            }
                        }
                        // A later version says more.
                        Some(Said::Welcome(_)) | None => {}
                    },
                    Ok(None) => {
                        let status = Status::unavailable("the session's stream has ended");
                        return (status, has_served);
                    }
                    Err(status) => return (status, has_served),
                },
                () = self.shared.stirred(), if !is_full => {}
                Ok(_room) = requests.reserve(), if is_full => {}
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
        let before = now - waited.min(limits::ORPHAN);
        self.shared.fail_unaccepted(before, &ClientError::Never { peer, waited, message });
    }

    /// What it refuses for now, as a sentence.
    fn refusal(&self, message: &str) -> String {
        let peer = self.cluster.peer().to_owned();
        let error = ClientError::NotNow { peer, message: crate::printable(message).into_owned() };
        Backoff::new(Some(limits::ORPHAN)).sentence(self.cluster.peer(), &error)
    }

    /// Why nothing can be made durable now.
    fn tell(&self, sentence: &str) {
        if !sentence.is_empty() {
            let sentence = crate::printable(sentence);
            self.cluster.contact().tell(format!("{} says: {sentence}", self.cluster.peer()));
        }
    }
}
