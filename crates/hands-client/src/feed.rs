//! Standard input of an action, on its way to the worker.
//!
//! A [`Feed`] keeps what the worker does not have yet. When the connection or the hub is lost, it asks the hub that comes back
//! how much that is, and goes on there: no byte is lost, and none comes twice.

mod kept;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use hands_proto::v1::jobs_client::JobsClient;
use hands_proto::v1::{FeedMessage, FeedReply};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::retry::{FIRST, LAST};
use crate::{AttachmentInput, ClientError, Cluster, ids, metadata};
use kept::Kept;

/// Messages that may be under way before the sender waits.
const UNDER_WAY: usize = 16;

/// Standard input of one action, in order. Dropping it leaves the action with what it has.
#[derive(Debug)]
pub struct Feed {
    pieces: Option<mpsc::Sender<Piece>>,
    ended: Option<oneshot::Receiver<Result<(), ClientError>>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

impl Feed {
    /// Sends a piece; waits while too much is under way. False when the action takes no more, or can't be reached any more:
    /// [`Feed::finish`] says which.
    pub async fn send(&mut self, data: Bytes) -> bool {
        self.put(Piece::Data(data)).await
    }

    /// Says that no more follows, and waits until the worker knows, or until the action takes no more.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        // Where nobody takes it any more, the reason follows.
        self.put(Piece::End).await;
        self.pieces = None;
        match self.ended.take() {
            // The task ends without an answer only when the runtime does.
            Some(ended) => ended.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    async fn put(&self, piece: Piece) -> bool {
        match &self.pieces {
            Some(pieces) => pieces.send(piece).await.is_ok(),
            None => false,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Opens the way for standard input of an action that was submitted with `stdin` and without a terminal. `id` is its
    /// whole id.
    pub fn feed(&self, id: &str) -> Feed {
        let (sender, pieces) = mpsc::channel(UNDER_WAY);
        let (done, ended) = oneshot::channel();
        let (cluster, id) = (self.clone(), id.to_owned());
        let task = tokio::spawn(async move {
            let fed = feed(cluster, id, pieces).await;
            // Whoever has dropped the feed does not hear it.
            drop(done.send(fed));
        });
        Feed { pieces: Some(sender), ended: Some(ended), task }
    }
}

async fn feed(
    cluster: Cluster,
    id: String,
    pieces: mpsc::Receiver<Piece>,
) -> Result<(), ClientError> {
    let source = format!("{:032x}", ids::random_u128()?);
    let mut feeding = Feeding { cluster, id, source, pieces, kept: Kept::default(), pause: FIRST };
    loop {
        let failed = match feeding.call().await? {
            Called::Over => return Ok(()),
            Called::Failed(status) => status,
        };
        if failed.code() == Code::Unimplemented && feeding.kept.is_whole() {
            return feeding.attach().await;
        }
        let error = feeding.cluster.failed("its standard input", &failed);
        if !error.is_lost_connection() {
            return Err(error);
        }
        // Whoever follows the action knows how long to wait for a hub, and tells its user.
        feeding.cluster.contact().quiet_pause(feeding.pause).await;
        feeding.pause = (feeding.pause * 2).min(LAST);
    }
}

struct Feeding {
    cluster: Cluster,
    id: String,
    source: String,
    pieces: mpsc::Receiver<Piece>,
    kept: Kept,
    pause: Duration,
}

/// How a call has ended.
enum Called {
    /// The worker has all of it, or the action takes no more.
    Over,
    Failed(Status),
}

impl Feeding {
    /// Sends what the worker does not have, and what comes, until it has all or the call is lost.
    async fn call(&mut self) -> Result<Called, ClientError> {
        let (to_hub, messages) = mpsc::channel(UNDER_WAY);
        let first = FeedMessage {
            operation: self.id.clone(),
            source: self.source.clone(),
            ..FeedMessage::default()
        };
        to_hub.try_send(first).expect("the channel is new and has room");
        let mut request = Request::new(ReceiverStream::new(messages));
        metadata::insert_metadata(request.metadata_mut(), self.cluster.metadata());
        let mut replies = match JobsClient::new(self.cluster.channel()).feed(request).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return Ok(Called::Failed(status)),
        };
        // Where to go on, and whether the end was said; none until the hub tells.
        let mut next: Option<(u64, bool)> = None;
        loop {
            let has_more = next.is_some_and(|(offset, is_end_said)| {
                self.kept.from(offset).is_some() || (self.kept.at_end && !is_end_said)
            });
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(FeedReply { closed: true, .. })) => return Ok(Called::Over),
                    Ok(Some(reply)) => {
                        self.pause = FIRST;
                        self.forget(reply.taken)?;
                        if reply.ended {
                            return Ok(Called::Over);
                        }
                        let (offset, _) = next.get_or_insert((reply.taken, false));
                        // What an earlier call sent may arrive still.
                        *offset = reply.taken.max(*offset);
                    }
                    Ok(None) => {
                        return Ok(Called::Failed(Status::unavailable("the hub has ended the call")));
                    }
                    Err(status) => return Ok(Called::Failed(status)),
                },
                piece = self.pieces.recv(), if self.kept.has_room() => match piece {
                    Some(Piece::Data(data)) => self.kept.push(data),
                    Some(Piece::End) => self.kept.at_end = true,
                    // Nobody feeds it any more.
                    None => return Ok(Called::Over),
                },
                permit = to_hub.reserve(), if has_more => {
                    let (Ok(permit), Some((offset, is_end_said))) = (permit, &mut next) else {
                        return Ok(Called::Failed(Status::unavailable("the connection was lost")));
                    };
                    let data = self.kept.from(*offset).unwrap_or_default();
                    let end = *offset + data.len() as u64;
                    let eof = self.kept.at_end && end == self.kept.end();
                    permit.send(FeedMessage { offset: *offset, data, eof, ..FeedMessage::default() });
                    (*offset, *is_end_said) = (end, eof);
                }
            }
        }
    }

    fn forget(&mut self, taken: u64) -> Result<(), ClientError> {
        let peer = || self.cluster.peer().to_owned();
        let kept = self.kept.first();
        if taken < kept {
            return Err(ClientError::InputLost { peer: peer(), has: taken, kept });
        }
        if taken > self.kept.end() {
            let why = format!(
                "it has {taken} bytes of standard input, of which {} were sent",
                self.kept.end()
            );
            return Err(ClientError::Protocol { peer: peer(), why });
        }
        self.kept.forget(taken);
        Ok(())
    }

    /// A hub of an older version counts nothing: what is lost with it is lost, and is told.
    async fn attach(mut self) -> Result<(), ClientError> {
        let mut attachment = self.cluster.attach_once(&self.id);
        let mut offset = 0;
        while let Some(data) = self.kept.from(offset) {
            offset += data.len() as u64;
            if !attachment.send(AttachmentInput::Data(data)).await {
                return attachment.ended().await;
            }
        }
        drop(std::mem::take(&mut self.kept.pieces));
        let mut at_end = self.kept.at_end;
        while !at_end {
            let is_taken = match self.pieces.recv().await {
                Some(Piece::Data(data)) => attachment.send(AttachmentInput::Data(data)).await,
                Some(Piece::End) => {
                    at_end = true;
                    true
                }
                None => return Ok(()),
            };
            if !is_taken {
                return attachment.ended().await;
            }
        }
        if attachment.send(AttachmentInput::Eof).await { Ok(()) } else { attachment.ended().await }
    }
}
