//! One of a job's streams: live while it runs, and what is left of it when the result is there.
//!
//! A stream belongs to one attempt. When that is lost, the next one's stream is read from its first byte: shown anew where
//! that can be done, and else compared with what was handed out, which can't be taken back.

use std::{fmt, mem};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::bytestream::{ReadRequest, ReadResponse};
use hands_proto::reapi;
use hands_reapi::BlobName;
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction, limits};
use tonic::{Code, Status, Streaming};

use crate::retry::Backoff;
use crate::{ClientError, Cluster, JobStream};

pub(super) struct Log {
    stream: JobStream,
    state: State,
    /// Whose bytes these are; 0 where nobody tells.
    attempt: u32,
    /// Bytes of that attempt received so far: where a stream that broke is taken up again.
    received: u64,
    /// What was handed out so far.
    shown: Hasher,
    /// What was handed out came from an earlier attempt, and this one has not come as far yet.
    compared: Option<Compared>,
    /// Whether its reader can begin anew with another attempt.
    restarts: bool,
    /// Where the read that is under way began.
    began: u64,
    /// The pauses before reads that were refused, while nothing comes.
    backoff: Option<Backoff>,
}

struct Compared {
    /// The attempt that was shown.
    first: u32,
    shown: Digest,
    so_far: Hasher,
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
    /// Its read was refused for now, or lost: it is made again after a pause.
    Pausing(BoxFuture<'static, Result<Backoff, ClientError>>, String, Source),
    Opening(BoxFuture<'static, Result<Streaming<ReadResponse>, Status>>, String, Source),
    Open(Box<Streaming<ReadResponse>>, String, Source),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Live,
    Blob,
}

impl Log {
    pub(super) fn idle(stream: JobStream, function: DigestFunction) -> Self {
        Self {
            stream,
            state: State::Idle,
            attempt: 0,
            received: 0,
            shown: Hasher::new(function),
            compared: None,
            restarts: false,
            began: 0,
            backoff: None,
        }
    }

    pub(super) fn unwanted(stream: JobStream, function: DigestFunction) -> Self {
        Self { state: State::Settled, ..Self::idle(stream, function) }
    }

    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled)
    }

    /// Has the stream of another attempt be handed out from its beginning, instead of compared with what was.
    pub(super) const fn restart(&mut self) {
        self.restarts = true;
    }

    pub(super) const fn stream(&self) -> JobStream {
        self.stream
    }

    /// Whose bytes come next.
    pub(super) const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Begins to read the live stream of an attempt, unless that has happened. Tells whether something that was shown is
    /// now shown anew.
    pub(super) fn open(&mut self, cluster: &Cluster, name: &str, attempt: u32) -> bool {
        let anew = self.turn_to(attempt);
        if matches!(self.state, State::Idle) && !name.is_empty() {
            self.read(cluster, name.to_owned(), Source::Live);
        }
        anew
    }

    /// Begins to read what an attempt left that has no result. What another one was shown of stays as it is: the action has
    /// failed, and nobody takes its output for whole.
    pub(super) fn open_left(&mut self, cluster: &Cluster, name: &str, attempt: u32) {
        let is_other = match self.attempt {
            0 => self.compared.is_some(),
            before => attempt != 0 && attempt != before,
        };
        if is_other && self.shown.size() > 0 && !self.restarts {
            self.state = State::Settled;
        } else {
            self.open(cluster, name, attempt);
        }
    }

    /// What comes from now on is this attempt's.
    pub(super) fn turn_to(&mut self, attempt: u32) -> bool {
        if self.is_settled() || attempt == 0 || attempt == self.attempt {
            return false;
        }
        let first = mem::replace(&mut self.attempt, attempt);
        (first > 0 || self.received > 0) && self.begin_anew(first)
    }

    /// What comes from now on is another execution's, whose attempts are counted anew, or not at all. Tells whether
    /// something that was shown is now shown anew.
    pub(super) fn turn_to_other_execution(&mut self) -> bool {
        if self.is_settled() {
            return false;
        }
        let first = mem::replace(&mut self.attempt, 0);
        (first > 0 || self.received > 0) && self.begin_anew(first)
    }

    fn begin_anew(&mut self, first: u32) -> bool {
        self.state = State::Idle;
        self.received = 0;
        let function = self.shown.clone().finish().function;
        let was_shown = self.shown.size() > 0;
        if self.restarts || !was_shown {
            self.shown = Hasher::new(function);
            self.compared = None;
            return was_shown;
        }
        // Where a third attempt follows a second that had not come so far, what was shown is still the first one's.
        let first = self.compared.take().map_or(first, |compared| compared.first);
        let shown = self.shown.clone().finish();
        self.compared = Some(Compared { first, shown, so_far: Hasher::new(function) });
        false
    }

    fn read(&mut self, cluster: &Cluster, name: String, source: Source) {
        let (cluster, offset, resource) = (cluster.clone(), self.received, name.clone());
        self.began = offset;
        self.state = State::Opening(
            async move { read_stream(&cluster, resource, offset).await }.boxed(),
            name,
            source,
        );
    }

    /// Reads on after a pause. The action runs as long as it likes, and its stream with it; what is left of it when it has
    /// ended is waited for as long as any blob.
    fn pause(&mut self, cluster: &Cluster, name: String, source: Source, error: ClientError) {
        let patience = (source == Source::Blob).then_some(limits::ORPHAN);
        let came = self.received > self.began;
        let waited = self.backoff.take().filter(|_| !came);
        let mut backoff = waited.unwrap_or_else(|| Backoff::new(patience));
        let cluster = cluster.clone();
        let pausing = async move {
            backoff.pause(cluster.contact(), cluster.peer(), &error).await?;
            Ok(backoff)
        };
        self.state = State::Pausing(pausing.boxed(), name, source);
    }

    /// Nothing more of it comes.
    pub(super) fn give_up(&mut self) {
        self.state = State::Settled;
    }

    /// The next piece; None when the state has changed. Waits for ever when there is nothing to read.
    pub(super) async fn next(&mut self, cluster: &Cluster) -> Result<Option<Bytes>, ClientError> {
        let (result, name, source) = match &mut self.state {
            State::Settled | State::Idle | State::Absent | State::Ended => {
                return std::future::pending().await;
            }
            State::Pausing(pausing, name, source) => {
                let paused = pausing.await;
                let (name, source) = (mem::take(name), *source);
                self.backoff = Some(paused?);
                self.read(cluster, name, source);
                return Ok(None);
            }
            State::Opening(opening, name, source) => {
                let opened = opening.await;
                let (name, source) = (mem::take(name), *source);
                match opened {
                    Ok(stream) => {
                        if self.backoff.is_some() {
                            cluster.contact().made();
                        }
                        self.state = State::Open(Box::new(stream), name, source);
                        return Ok(None);
                    }
                    Err(status) => (Err(status), name, source),
                }
            }
            State::Open(stream, name, source) => match stream.message().await {
                Ok(Some(piece)) => return self.take(piece.data),
                ended => (ended, mem::take(name), *source),
            },
        };
        match result {
            Ok(_) if source == Source::Blob && self.received == self.began => {
                let (peer, size) = (cluster.peer().to_owned(), self.received);
                let why = format!("a stream in its store ended after {size} bytes, too early");
                Err(ClientError::Protocol { peer, why })
            }
            Ok(_) => {
                self.state = State::Ended;
                Ok(None)
            }
            Err(status) => {
                self.broke(cluster, name, source, &status)?;
                Ok(None)
            }
        }
    }

    fn broke(
        &mut self,
        cluster: &Cluster,
        name: String,
        source: Source,
        status: &Status,
    ) -> Result<(), ClientError> {
        let error = ClientError::rpc("the read of a stream", cluster.peer(), status);
        if source == Source::Blob {
            if !error.is_lost_connection() {
                return Err(error);
            }
            self.pause(cluster, name, source, error);
            return Ok(());
        }
        tracing::debug!(%error, "a live stream broke");
        if matches!(error, ClientError::NotNow { .. }) {
            // The operation may have nothing more to say for hours.
            self.pause(cluster, name, source, error);
            return Ok(());
        }
        // ABORTED: the attempt was lost, and the operation's next message names another. One that was refused may have been
        // lost with its hub, which does not know it yet.
        let is_lost = status.code() == Code::Aborted && self.attempt > 0;
        let is_new = status.code() == Code::NotFound && self.backoff.is_some();
        let comes_back = error.is_lost_connection() || is_lost || is_new;
        self.state = if comes_back { State::Idle } else { State::Absent };
        Ok(())
    }

    /// Takes a piece, and gives what of it is to be handed out.
    pub(super) fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, ClientError> {
        self.received += piece.len() as u64;
        if let Some(compared) = &mut self.compared {
            let left = compared.shown.size - compared.so_far.size();
            let known =
                piece.split_to(usize::try_from(left).unwrap_or(usize::MAX).min(piece.len()));
            compared.so_far.update(&known);
            if compared.so_far.size() == compared.shown.size {
                if compared.so_far.clone().finish() != compared.shown {
                    return Err(self.differs());
                }
                self.compared = None;
            }
        }
        self.shown.update(&piece);
        Ok(Some(piece))
    }

    fn differs(&self) -> ClientError {
        ClientError::OtherOutput {
            stream: self.stream,
            bytes: self.shown.size(),
            first: self.compared.as_ref().map_or(0, |compared| compared.first),
            second: self.attempt,
        }
    }

    /// The result is there, by this attempt: hands out what came with it, lets a live stream run to its end, or fetches
    /// the rest.
    pub(super) fn settle(
        &mut self,
        cluster: &Cluster,
        raw: &Bytes,
        digest: Option<&reapi::Digest>,
        attempt: u32,
    ) -> Result<Option<Bytes>, ClientError> {
        self.turn_to(attempt);
        let size = digest.map_or(raw.len() as u64, |d| u64::try_from(d.size_bytes).unwrap_or(0));
        match &self.state {
            State::Settled => {}
            _ if self.compared.as_ref().is_some_and(|compared| size < compared.shown.size) => {
                return Err(self.differs());
            }
            _ if self.received >= size => self.state = State::Settled,
            _ if raw.len() as u64 == size => {
                let from = usize::try_from(self.received).unwrap_or(usize::MAX).min(raw.len());
                let rest = self.take(raw.slice(from..));
                self.state = State::Settled;
                return rest;
            }
            State::Opening(..) | State::Open(..) | State::Pausing(_, _, Source::Blob) => {}
            State::Ended | State::Idle | State::Absent | State::Pausing(_, _, Source::Live) => {
                self.backoff = None;
                let digest =
                    digest.map(|d| d.to_digest(cluster.function())).transpose().map_err(|e| {
                        ClientError::Protocol {
                            peer: cluster.peer().to_owned(),
                            why: e.to_string(),
                        }
                    })?;
                match digest {
                    Some(digest) => {
                        let instance = cluster.instance().to_owned();
                        let name = BlobName { instance, digest, zstd: false }.to_name();
                        self.read(cluster, name, Source::Blob);
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

/// Opens a stream from some byte on.
async fn read_stream(
    cluster: &Cluster,
    resource_name: String,
    offset: u64,
) -> Result<Streaming<ReadResponse>, Status> {
    let mut client =
        ByteStreamClient::new(cluster.channel()).max_decoding_message_size(limits::MAX_MESSAGE);
    let read_offset = i64::try_from(offset).map_err(|_| Status::out_of_range("offset"))?;
    let request = ReadRequest { resource_name, read_offset, read_limit: 0 };
    Ok(client.read(cluster.request(request)).await?.into_inner())
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Settled => "Settled",
            State::Idle => "Idle",
            State::Absent => "Absent",
            State::Ended => "Ended",
            State::Pausing(..) => "Pausing",
            State::Opening(..) => "Opening",
            State::Open(..) => "Open",
        };
        f.debug_struct("Log")
            .field("state", &state)
            .field("attempt", &self.attempt)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
