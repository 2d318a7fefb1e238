//! The way into a running action: standard input, terminal size, signals.

use bytes::Bytes;
use hands_proto::v1::attach_message::Kind;
use hands_proto::v1::jobs_client::JobsClient;
use hands_proto::v1::{AttachMessage, Terminal};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::cluster::Cluster;
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

/// An open way into one action. Dropping it closes the way: the action sees the end of its input.
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

impl Cluster {
    /// Opens the way into an action that was submitted with `stdin` or a terminal. `id` is its whole id.
    pub fn attach(&self, id: &str) -> Attachment {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let first = AttachMessage { kind: Some(Kind::Operation(id.to_owned())) };
        sender.try_send(first).expect("the channel is new and has room");
        let (done, ended) = oneshot::channel();
        let cluster = self.clone();
        drop(tokio::spawn(async move {
            let mut request = Request::new(ReceiverStream::new(receiver));
            metadata::insert_metadata(request.metadata_mut(), cluster.metadata());
            let reply = JobsClient::new(cluster.channel()).attach(request).await;
            let reply = reply.map(drop).map_err(|s| ClientError::rpc("Attach", cluster.peer(), &s));
            // Whoever has dropped the attachment does not hear it.
            drop(done.send(reply));
        }));
        Attachment { sender, ended: Some(ended) }
    }
}
