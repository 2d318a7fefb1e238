//! ByteStream.Write.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::bytestream::WriteRequest;
use hands_proto::{Charge, Reserved};
use hands_store::{BlobWriter, Store, StoreError};
use hands_types::Digest;
use tonic::{Status, Streaming};

use super::uploads::Uploads;
use super::{Wanted, blocking, while_wanted};
use crate::codec::{self, CodecError, Inflate};
use crate::{Bulk, INLINE, Invocation, UploadName, store_status};

/// What is gathered before a blocking thread hashes and writes it.
const GATHER: usize = 1 << 20;

/// Takes one stream; the answer is `committed_size`.
pub(super) async fn write(
    store: &Store,
    uploads: &Arc<Uploads>,
    invocation: Invocation,
    mut stream: Streaming<WriteRequest>,
    charge: Option<Arc<Charge>>,
) -> Result<i64, Status> {
    let first = stream
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the stream ended before its first message"))?;
    let name = UploadName::parse(&first.resource_name)
        .map_err(|e| Status::invalid_argument(e.to_string()))?;
    let digest = name.blob.digest;
    invocation.keep(store, &[digest]);
    let whole =
        first.finish_write && first.write_offset == 0 && first.data.len() as u64 == digest.size;
    if whole && !name.blob.zstd && first.data.len() <= INLINE {
        // Bazel sends every small blob like this: one message, one answer, no detour.
        store.put(digest, first.data).map_err(|e| store_status(&e))?;
        return Ok(digest.size.cast_signed());
    }
    if store.contains(&digest).map_err(|e| store_status(&e))? {
        // Whatever the client was about to send: the blob is here.
        return Ok(if name.blob.zstd { -1 } else { digest.size.cast_signed() });
    }
    // A task, so that a stream that breaks is still seen through to its parking place when tonic drops the handler.
    let receive = receive(store.clone(), Arc::clone(uploads), stream, first, name, charge);
    match tokio::spawn(receive).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Status::unavailable("the hub is shutting down")),
    }
}

async fn receive(
    store: Store,
    uploads: Arc<Uploads>,
    mut stream: Streaming<WriteRequest>,
    first: WriteRequest,
    name: UploadName,
    charge: Option<Arc<Charge>>,
) -> Result<i64, Status> {
    let digest = name.blob.digest;
    let base = u64::try_from(first.write_offset)
        .map_err(|_| Status::invalid_argument("write_offset is negative"))?;
    let writer = match base {
        0 => blocking(move || store.upload(digest)).await?.map_err(|e| store_status(&e))?,
        _ => resume(&uploads, &name, base)?,
    };
    let mut sink = Sink::new(writer, name.blob.zstd, digest, charge)?;
    let first_name = first.resource_name.clone();
    let mut sent: u64 = 0;
    let mut message = first;
    loop {
        if !message.resource_name.is_empty() && message.resource_name != first_name {
            return Err(Status::invalid_argument("resource_name changes within the stream"));
        }
        if u64::try_from(message.write_offset) != Ok(base + sent) {
            return Err(Status::invalid_argument(format!(
                "write_offset is {} where {} is next",
                message.write_offset,
                base + sent
            )));
        }
        sent += message.data.len() as u64;
        if !name.blob.zstd && base + sent > digest.size {
            return Err(Status::invalid_argument(format!(
                "more data than the {} bytes of {digest}",
                digest.size
            )));
        }
        let last = message.finish_write;
        sink.push(message.data).await?;
        if last {
            break;
        }
        message = match stream.message().await {
            Ok(Some(message)) => message,
            // Some clients end the stream where they should say finish_write.
            Ok(None) if !name.blob.zstd && base + sent == digest.size => break,
            Ok(None) => {
                let writer = sink.flush().await?.writer;
                let written = writer.written().cast_signed();
                uploads.park(&name, writer);
                return Ok(written);
            }
            Err(status) => {
                uploads.park(&name, sink.flush().await?.writer);
                return Err(status);
            }
        };
    }
    let work = sink.finish().await?;
    blocking(move || work.commit()).await??;
    Ok((base + sent).cast_signed())
}

fn resume(uploads: &Uploads, name: &UploadName, offset: u64) -> Result<BlobWriter, Status> {
    let parked = uploads.take(name);
    let written = parked.as_ref().map_or(0, BlobWriter::written);
    match parked {
        Some(writer) if written == offset => Ok(writer),
        parked => {
            if let Some(writer) = parked {
                uploads.park(name, writer);
            }
            Err(Status::invalid_argument(format!(
                "write_offset is {offset}, but {written} bytes of this upload are here: ask QueryWriteStatus"
            )))
        }
    }
}

/// Gathers pieces while a blocking thread works on the ones before.
struct Sink {
    idle: Option<Work>,
    job: Option<Bulk<Result<Work, Status>>>,
    gathered: Vec<Piece>,
    bytes: usize,
    /// Something has been written.
    has_begun: bool,
    charge: Option<Arc<Charge>>,
}

/// Bytes that came, and the memory that they take in the budget, where they may wait.
struct Piece {
    bytes: Bytes,
    _paid: Option<Reserved>,
}

struct Work {
    writer: BlobWriter,
    inflate: Option<Inflate>,
    digest: Digest,
    charge: Option<Arc<Charge>>,
    /// What the decoder takes in the budget.
    decoder: Vec<Reserved>,
    paid: usize,
}

impl Sink {
    fn new(
        writer: BlobWriter,
        zstd: bool,
        digest: Digest,
        charge: Option<Arc<Charge>>,
    ) -> Result<Self, Status> {
        let left = digest.size.saturating_sub(writer.written());
        let inflate = zstd
            .then(|| Inflate::new(left))
            .transpose()
            .map_err(|e| Status::internal(format!("can't start zstd: {e}")))?;
        let (decoder, paid) = Default::default();
        let work = Work { writer, inflate, digest, charge: charge.clone(), decoder, paid };
        let (gathered, bytes, has_begun) = Default::default();
        Ok(Self { idle: Some(work), job: None, gathered, bytes, has_begun, charge })
    }

    async fn push(&mut self, data: Bytes) -> Result<(), Status> {
        // The message itself is paid for only until the next is waited for. A client with many uploads at once has nothing
        // gathered: each of its messages is written before the next is taken.
        let paid = self.charge.as_ref().map(|charge| charge.spare(data.len()));
        let may_wait = !matches!(paid, Some(None));
        self.bytes += data.len();
        self.gathered.push(Piece { bytes: data, _paid: paid.flatten() });
        // Many tiny pieces cost more than their bytes.
        if may_wait && self.bytes < GATHER && self.gathered.len() < 1024 {
            return Ok(());
        }
        let work = self.idle().await?;
        let pieces = std::mem::take(&mut self.gathered);
        self.bytes = 0;
        self.has_begun = true;
        self.job = Some(crate::bulk(move || work.take(&pieces)));
        if !may_wait {
            self.idle = Some(self.idle().await?);
        }
        Ok(())
    }

    /// The stream has ended well: what is still gathered is written. Of an upload that is all there, nothing is written
    /// before it is known to be what its digest says, where a few bytes stand for many.
    async fn finish(mut self) -> Result<Work, Status> {
        if self.has_begun {
            return self.flush().await;
        }
        let work = self.idle().await?;
        let pieces = self.gathered;
        while_wanted(move |wanted| work.check(&pieces, wanted)?.take(&pieces)).await?
    }

    /// Waits until all is written.
    async fn flush(mut self) -> Result<Work, Status> {
        let work = self.idle().await?;
        let pieces = self.gathered;
        if pieces.is_empty() { Ok(work) } else { blocking(move || work.take(&pieces)).await? }
    }

    async fn idle(&mut self) -> Result<Work, Status> {
        if let Some(work) = self.idle.take() {
            return Ok(work);
        }
        let job = self.job.take().ok_or_else(|| Status::aborted("the upload failed before"))?;
        match job.await {
            Ok(outcome) => outcome,
            Err(failed) => Err(failed.resume()),
        }
    }
}

impl Work {
    fn check(self, pieces: &[Piece], wanted: &Wanted) -> Result<Self, Status> {
        if self.inflate.is_some() && self.writer.written() == 0 {
            let sent = pieces.iter().map(|piece| &*piece.bytes);
            let is_wanted = || wanted.check().is_ok();
            codec::check(sent, &self.digest, is_wanted).map_err(|e| {
                Status::invalid_argument(format!("the data of {} {e}", self.digest))
            })?;
        }
        Ok(self)
    }

    fn take(mut self, pieces: &[Piece]) -> Result<Self, Status> {
        for Piece { bytes: piece, .. } in pieces {
            let Self { writer, inflate, digest, .. } = &mut self;
            match inflate {
                None => writer.write(piece).map_err(|e| store_status(&e))?,
                Some(inflate) => {
                    let write = |out: &[u8]| {
                        writer.write(&Bytes::copy_from_slice(out)).map_err(Failure::Store)
                    };
                    inflate.push(piece, write).map_err(|failure| match failure {
                        Failure::Store(error) => store_status(&error),
                        Failure::Codec(error) => {
                            Status::invalid_argument(format!("the data of {digest} {error}"))
                        }
                    })?;
                }
            }
            self.pay()?;
        }
        Ok(self)
    }

    /// Pays for what the decoder has grown by: a few bytes may tell it to keep megabytes.
    fn pay(&mut self) -> Result<(), Status> {
        let (Some(inflate), Some(charge)) = (&self.inflate, &self.charge) else { return Ok(()) };
        let takes = inflate.memory();
        if takes > self.paid {
            self.decoder.push(charge.hold(takes - self.paid)?);
            self.paid = takes;
        }
        Ok(())
    }

    fn commit(self) -> Result<(), Status> {
        if let Some(inflate) = &self.inflate {
            inflate.finish().map_err(|e| {
                Status::invalid_argument(format!("the data of {} {e}", self.digest))
            })?;
        }
        self.writer.commit().map_err(|e| store_status(&e))
    }
}

enum Failure {
    Store(StoreError),
    Codec(CodecError),
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}
