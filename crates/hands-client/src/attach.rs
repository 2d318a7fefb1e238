//! The way into an action that has a terminal: keys, its size, signals.

use bytes::Bytes;
use hands_proto::v1::attach_message::Kind;
use hands_proto::v1::jobs_client::JobsClient;
use hands_proto::v1::{AttachMessage, Terminal};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use crate::cluster::Cluster;
use crate::retry::{FIRST, LAST};
use crate::{ClientError, metadata};

/// Pieces of input that may be under way before the sender waits.
const UNDER_WAY: usize = 16;

/// What can be sent into an action.
#[derive(Clone, Debug)]
pub enum AttachmentInput {
    /// Bytes of standard input or keys typed.
    Data(Bytes),
    /// No more of them.
    Eof,
    /// The terminal's new size.
    Resize {
        /// Lines.
        rows: u32,
        /// Columns.
        columns: u32,
    },
    /// A signal, by number, for the foreground process group.
    Signal(i32),
}

/// An open way into one action.
#[derive(Debug)]
pub struct Attachment {
    sender: mpsc::Sender<AttachMessage>,
    ended: Option<oneshot::Receiver<Result<(), ClientError>>>,
}

impl Attachment {
    /// Sends a piece; waits while the action takes nothing. False when the action takes no more.
    pub async fn send(&self, input: AttachmentInput) -> bool {
        let kind = match input {
            AttachmentInput::Data(data) => Kind::Data(data),
            AttachmentInput::Eof => Kind::Eof(true),
            AttachmentInput::Resize { rows, columns } => {
                Kind::Resize(Terminal { rows, columns, term: String::new() })
            }
            AttachmentInput::Signal(number) => Kind::Signal(number),
        };
        self.sender.send(AttachMessage { kind: Some(kind) }).await.is_ok()
    }

    /// Waits until the action has ended or takes no more input.
    pub async fn ended(&mut self) -> Result<(), ClientError> {
        match self.ended.take() {
            // The task ends without an answer only when the runtime does.
            Some(ended) => ended.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

/// What becomes of a lost connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenLost {
    /// The way is opened again: a key that was lost the person sees to be missing.
    Again,
    Fail,
}

impl Cluster {
    /// Opens the way into an action that was submitted with a terminal. `id` is its whole id. A hub that is lost is waited for.
    pub fn attach(&self, id: &str) -> Attachment {
        self.open(id, WhenLost::Again)
    }

    /// The same for a stream of bytes, of which none may be lost unseen.
    pub(crate) fn attach_once(&self, id: &str) -> Attachment {
        self.open(id, WhenLost::Fail)
    }

    fn open(&self, id: &str, when_lost: WhenLost) -> Attachment {
        let (sender, inputs) = mpsc::channel(UNDER_WAY);
        let (done, ended) = oneshot::channel();
        let (cluster, id) = (self.clone(), id.to_owned());
        drop(tokio::spawn(async move {
            let reply = attach(&cluster, &id, inputs, when_lost).await;
            // Whoever has dropped the attachment does not hear it.
            drop(done.send(reply));
        }));
        Attachment { sender, ended: Some(ended) }
    }
}

async fn attach(
    cluster: &Cluster,
    id: &str,
    mut inputs: mpsc::Receiver<AttachMessage>,
    when_lost: WhenLost,
) -> Result<(), ClientError> {
    let mut pause = FIRST;
    loop {
        let Err(status) = call(cluster, id, &mut inputs).await else { return Ok(()) };
        let error = ClientError::rpc("Attach", cluster.peer(), &status);
        if when_lost == WhenLost::Fail || !error.is_lost_connection() || inputs.is_closed() {
            return Err(error);
        }
        cluster.contact().quiet_pause(pause).await;
        pause = (pause * 2).min(LAST);
    }
}

async fn call(
    cluster: &Cluster,
    id: &str,
    inputs: &mut mpsc::Receiver<AttachMessage>,
) -> Result<(), Status> {
    let (to_hub, messages) = mpsc::channel(UNDER_WAY);
    let first = AttachMessage { kind: Some(Kind::Operation(id.to_owned())) };
    to_hub.try_send(first).expect("the channel is new and has room");
    let mut request = Request::new(ReceiverStream::new(messages));
    metadata::insert_metadata(request.metadata_mut(), cluster.metadata());
    let mut client = JobsClient::new(cluster.channel());
    let call = client.attach(request);
    let mut call = std::pin::pin!(call);
    loop {
        let next = async {
            match to_hub.reserve().await {
                Ok(permit) => (inputs.recv().await, permit),
                // The call ends, and says why.
                Err(_) => std::future::pending().await,
            }
        };
        let (input, permit) = tokio::select! {
            reply = &mut call => return reply.map(drop),
            next = next => next,
        };
        match input {
            Some(input) => permit.send(input),
            None => break,
        }
    }
    drop(to_hub);
    call.await.map(drop)
}
