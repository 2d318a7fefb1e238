//! One of a job's streams: live while it runs, and what is left of it when the result is there.

use std::fmt;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hands_proto::bytestream::ReadResponse;
use hands_proto::reapi;
use tonic::{Status, Streaming};

use crate::blob::{blob_name, read_stream};
use crate::{ClientError, Cluster};

pub(super) struct Log {
    state: State,
    /// Bytes handed out so far: where a stream that broke is taken up again.
    shown: u64,
}

enum State {
    /// Nobody wants it, or all of it was handed out.
    Settled,
    /// Not begun, or lost; the operation's next message opens it.
    Idle,
    /// The engine has no such stream: the result will bring it.
    Absent,
    /// The live stream has ended.
    Ended,
    Opening(BoxFuture<'static, Result<Streaming<ReadResponse>, Status>>, Source),
    Open(Box<Streaming<ReadResponse>>, Source),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Live,
    Blob,
}

impl Log {
    pub(super) const fn idle() -> Self {
        Self { state: State::Idle, shown: 0 }
    }

    pub(super) const fn unwanted() -> Self {
        Self { state: State::Settled, shown: 0 }
    }

    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }

    /// Begins to read the live stream, unless that has happened.
    pub(super) fn open(&mut self, cluster: &Cluster, name: &str) {
        if matches!(self.state, State::Idle) && !name.is_empty() {
            self.read(cluster, name.to_owned(), Source::Live);
        }
    }

    fn read(&mut self, cluster: &Cluster, name: String, source: Source) {
        let (cluster, offset) = (cluster.clone(), self.shown);
        self.state = State::Opening(
            async move { read_stream(&cluster, name, offset).await }.boxed(),
            source,
        );
    }

    /// The next piece; None when the state has changed. Waits for ever when there is nothing to read.
    pub(super) async fn next(&mut self, cluster: &Cluster) -> Result<Option<Bytes>, ClientError> {
        let (result, source) = match &mut self.state {
            State::Settled | State::Idle | State::Absent | State::Ended => {
                return std::future::pending().await;
            }
            State::Opening(opening, source) => {
                let source = *source;
                match opening.await {
                    Ok(stream) => {
                        self.state = State::Open(Box::new(stream), source);
                        return Ok(None);
                    }
                    Err(status) => (Err(status), source),
                }
            }
            State::Open(stream, source) => (stream.message().await, *source),
        };
        match result {
            Ok(Some(piece)) => {
                self.shown += piece.data.len() as u64;
                Ok(Some(piece.data))
            }
            Ok(None) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(status) => {
                let error = ClientError::rpc("the read of a stream", cluster.peer(), &status);
                if source == Source::Blob {
                    return Err(error);
                }
                tracing::debug!(%error, "a live stream broke");
                self.state = if error.is_lost_connection() { State::Idle } else { State::Absent };
                Ok(None)
            }
        }
    }

    /// The result is there: hands out what came with it, lets a live stream run to its end, or fetches the rest.
    pub(super) fn settle(
        &mut self,
        cluster: &Cluster,
        raw: &Bytes,
        digest: Option<&reapi::Digest>,
    ) -> Result<Option<Bytes>, ClientError> {
        let size = digest.map_or(raw.len() as u64, |d| u64::try_from(d.size_bytes).unwrap_or(0));
        match &self.state {
            State::Settled => {}
            _ if self.shown >= size => self.state = State::Settled,
            _ if raw.len() as u64 == size => {
                let from = usize::try_from(self.shown).unwrap_or(usize::MAX).min(raw.len());
                self.shown = size;
                self.state = State::Settled;
                return Ok(Some(raw.slice(from..)));
            }
            State::Opening(..) | State::Open(..) => {}
            State::Ended | State::Idle | State::Absent => {
                let digest =
                    digest.map(|d| d.to_digest(cluster.function())).transpose().map_err(|e| {
                        ClientError::Protocol {
                            peer: cluster.peer().to_owned(),
                            why: e.to_string(),
                        }
                    })?;
                match digest {
                    Some(digest) => {
                        self.read(cluster, blob_name(cluster.instance(), &digest), Source::Blob);
                    }
                    None => self.state = State::Settled,
                }
            }
        }
        Ok(None)
    }

    /// There is no result: what the live stream brings is all there is.
    pub(super) fn settle_without_result(&mut self) -> Option<Bytes> {
        if !matches!(self.state, State::Opening(..) | State::Open(..)) {
            self.state = State::Settled;
        }
        None
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Settled => "Settled",
            State::Idle => "Idle",
            State::Absent => "Absent",
            State::Ended => "Ended",
            State::Opening(..) => "Opening",
            State::Open(..) => "Open",
        };
        f.debug_struct("Log").field("state", &state).field("shown", &self.shown).finish()
    }
}
