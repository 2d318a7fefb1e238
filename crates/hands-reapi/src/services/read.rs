//! ByteStream.Read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use hands_proto::bytestream::{ReadRequest, ReadResponse};
use hands_proto::{Charge, Reserved};
use hands_store::{BlobReader, Store};
use hands_tree::Hasher;
use hands_types::Digest;
use hands_types::limits::CHUNK;
use tonic::{Code, Status};

use super::{blocking, reserve_later};
use crate::codec::Deflate;
use crate::{Backend, BlobName, Bulk, LogName, missing_blobs, store_status};

pub(super) type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

/// What one step of a large read takes from the disk.
const STEP: usize = 4 * CHUNK;
/// The same where the client's budget has room for no more.
const SMALL_STEP: usize = 16 << 10;
/// What an open read takes: two small steps, and its descriptor, of which there are fewer than bytes. So a client that opens
/// reads and takes nothing has some thousand of them, and the next ones wait.
const OPEN: usize = 64 << 10;
/// What the pieces of a log take that are on their way.
const LOG: usize = 2 * CHUNK;

pub(super) async fn read(
    backend: &Backend,
    request: ReadRequest,
    charge: Option<Arc<Charge>>,
) -> Result<ReadStream, Status> {
    let offset = u64::try_from(request.read_offset)
        .map_err(|_| Status::out_of_range("read_offset is negative"))?;
    let limit = match u64::try_from(request.read_limit) {
        Ok(0) => None,
        Ok(limit) => Some(limit),
        Err(_) => return Err(Status::invalid_argument("read_limit is negative")),
    };
    if let Some(name) = LogName::parse(&request.resource_name) {
        reserve_later(charge.as_ref(), LOG).await?;
        pay(charge.as_ref());
        let pieces = backend.logs.read(&name, offset).await?;
        return Ok(match limit {
            None => Box::pin(pieces.map(|piece| piece.map(response))),
            Some(limit) => Box::pin(take(pieces, limit).map(|piece| piece.map(response))),
        });
    }
    let name = BlobName::parse(&request.resource_name)
        .map_err(|e| Status::invalid_argument(e.to_string()))?;
    if name.zstd && limit.is_some() {
        return Err(Status::invalid_argument("read_limit has no meaning for compressed blobs"));
    }
    let digest = name.digest;
    if offset > digest.size {
        return Err(Status::out_of_range(format!(
            "read_offset {offset} is beyond the end of {digest}"
        )));
    }
    let missing = || missing_blobs(Code::NotFound, &[digest]);
    let left = digest.size - offset;
    let wanted = limit.map_or(left, |limit| limit.min(left));
    let is_small = !name.zstd && digest.size <= CHUNK as u64;
    if is_small && fits(charge.as_ref(), &digest) {
        pay(charge.as_ref());
        let data = if digest.is_empty() {
            Bytes::new()
        } else {
            backend.store.read(&digest).map_err(|e| store_status(&e))?.ok_or_else(missing)?
        };
        // Of a blob of at most CHUNK bytes; what the store returns has the digest's size.
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let end = usize::try_from(offset + wanted).unwrap_or(usize::MAX).min(data.len());
        return Ok(Box::pin(stream::iter([Ok(response(data.slice(start..end)))])));
    }
    reserve_later(charge.as_ref(), OPEN).await?;
    let reader = if digest.is_empty() {
        None
    } else {
        // The first reader of a large blob since a restart has it hashed.
        let store = backend.store.clone();
        Some(
            blocking(move || store.reader(&digest))
                .await?
                .map_err(|e| store_status(&e))?
                .ok_or_else(missing)?,
        )
    };
    let deflate = if name.zstd {
        reserve_later(charge.as_ref(), Deflate::MEMORY).await?;
        Some(Deflate::new())
    } else {
        None
    };
    // Whoever asks for all of it gets nothing but what its digest says, whatever the disk has done to it since it was
    // hashed first.
    let check = (reader.is_some() && wanted == digest.size).then(|| Check {
        hasher: Hasher::new(digest.function),
        digest,
        store: backend.store.clone(),
    });
    // A client with many reads at once gets smaller pieces of each, and none of them ahead.
    let held = charge.as_ref().map(|charge| charge.spare(3 * STEP));
    let step = if matches!(held, Some(None)) { SMALL_STEP } else { STEP };
    pay(charge.as_ref());
    let blob = Pump { reader, at: offset, end: offset + wanted, step, deflate, check };
    Ok(pump(blob, held.flatten()))
}

/// Whether a small blob may wait in memory for its turn.
fn fits(charge: Option<&Arc<Charge>>, digest: &Digest) -> bool {
    let size = usize::try_from(digest.size).unwrap_or(CHUNK);
    charge.is_none_or(|charge| charge.reserve(size).is_ok())
}

/// What is held covers the answer's messages.
fn pay(charge: Option<&Arc<Charge>>) {
    if let Some(charge) = charge {
        charge.pays_answers();
    }
}

fn response(data: Bytes) -> ReadResponse {
    ReadResponse { data }
}

/// The first `limit` bytes of a log.
fn take(pieces: crate::LogStream, limit: u64) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    stream::unfold((pieces, limit), |(mut pieces, left)| async move {
        if left == 0 {
            return None;
        }
        let piece = pieces.next().await?;
        let piece = piece.map(|p| {
            let keep = usize::try_from(left).unwrap_or(usize::MAX).min(p.len());
            p.slice(..keep)
        });
        let left = piece.as_ref().map_or(0, |p| left - p.len() as u64);
        Some((piece, (pieces, left)))
    })
}

/// Reads, and maybe compresses, a blob step by step on blocking threads.
struct Pump {
    reader: Option<BlobReader>,
    at: u64,
    end: u64,
    /// Of the blob, in one step.
    step: usize,
    deflate: Option<Deflate>,
    check: Option<Check>,
}

/// Hashes a blob on its way out; its last piece is held back until all of it is known to be right.
struct Check {
    hasher: Hasher,
    digest: Digest,
    store: Store,
}

impl Check {
    fn end(self) -> Result<(), Status> {
        if self.hasher.finish() == self.digest {
            return Ok(());
        }
        self.store.recheck(&self.digest).map_err(|e| store_status(&e))?;
        Err(missing_blobs(Code::NotFound, &[self.digest]))
    }
}

type Step = Result<(Option<Bytes>, Pump), Status>;

impl Pump {
    /// The next bytes; none at the end.
    fn step(mut self) -> Step {
        loop {
            let raw = match &self.reader {
                Some(reader) if self.at < self.end => {
                    let len = usize::try_from(self.end - self.at).unwrap_or(STEP).min(self.step);
                    let raw = reader.read_at(self.at, len).map_err(|e| store_status(&e))?;
                    if raw.is_empty() {
                        return Err(Status::data_loss("the blob is shorter than its digest says"));
                    }
                    self.at += raw.len() as u64;
                    if let Some(check) = &mut self.check {
                        check.hasher.update(&raw);
                    }
                    if self.at >= self.end
                        && let Some(check) = self.check.take()
                    {
                        check.end()?;
                    }
                    raw
                }
                Some(_) | None => Bytes::new(),
            };
            let Some(deflate) = &mut self.deflate else {
                return Ok(((!raw.is_empty()).then_some(raw), self));
            };
            let failed = |e| Status::internal(format!("can't compress: {e}"));
            let mut out = Vec::new();
            deflate.push(&raw, &mut out).map_err(failed)?;
            if self.at >= self.end {
                deflate.finish(&mut out).map_err(failed)?;
                // What follows is the end, as of an uncompressed blob.
                self.deflate = None;
                self.reader = None;
            }
            if !out.is_empty() {
                return Ok((Some(Bytes::from(out)), self));
            }
        }
    }
}

/// The pieces of a pump. One step is always under way while the pieces of the one before are sent.
fn pump(pump: Pump, held: Option<Reserved>) -> ReadStream {
    struct State {
        ready: VecDeque<Bytes>,
        job: Option<Bulk<Step>>,
        _held: Option<Reserved>,
    }
    let start = |pump: Pump| crate::bulk(move || pump.step());
    let state = State { ready: VecDeque::new(), job: Some(start(pump)), _held: held };
    Box::pin(stream::unfold(state, move |mut state| async move {
        loop {
            if let Some(piece) = state.ready.pop_front() {
                return Some((Ok(response(piece)), state));
            }
            let outcome = match state.job.take()?.await {
                Ok(outcome) => outcome,
                Err(failed) => Err(failed.resume()),
            };
            match outcome {
                Ok((Some(mut bytes), pump)) => {
                    state.job = Some(start(pump));
                    while bytes.len() > CHUNK {
                        state.ready.push_back(bytes.split_to(CHUNK));
                    }
                    state.ready.push_back(bytes);
                }
                Ok((None, _)) => return None,
                Err(status) => return Some((Err(status), state)),
            }
        }
    }))
}
