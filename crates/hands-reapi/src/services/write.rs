//! ByteStream.Write.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::bytestream::WriteRequest;
use hands_proto::{Charge, Reserved};
use hands_store::{BlobWriter, Spool, Store, StoreError};
use hands_types::Digest;
use tonic::{Status, Streaming};

use super::uploads::Uploads;
use super::{Call, Wanted, blocking};
use crate::codec::{self, Check, CodecError, Inflate};
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
    // A task, so that a stream that breaks is still seen through to its parking place when tonic drops the handler. What few
    // bytes stand for is not.
    let call = Call::default();
    let wanted = call.0.clone();
    let receive =
        receive(store.clone(), Arc::clone(uploads), stream, first, name, (charge, wanted));
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
    (charge, wanted): (Option<Arc<Charge>>, Wanted),
) -> Result<i64, Status> {
    let digest = name.blob.digest;
    let base = u64::try_from(first.write_offset)
        .map_err(|_| Status::invalid_argument("write_offset is negative"))?;
    let writer = match base {
        0 => {
            let store = store.clone();
            blocking(move || store.upload(digest)).await?.map_err(|e| store_status(&e))?
        }
        _ => resume(&uploads, &name, base)?,
    };
    let mut sink = Sink::new(store, writer, &name, charge, wanted)?;
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
                uploads.park(&name, sink.stop().await?.writer);
                return Err(status);
            }
        };
    }
    let work = sink.finish().await?;
    if work.is_cut {
        uploads.park(&name, work.writer);
        return Err(Status::cancelled("the client gave the call up"));
    }
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
    charge: Option<Arc<Charge>>,
    wanted: Wanted,
}

/// Bytes that came, and the memory that they take in the budget, where they may wait.
struct Piece {
    bytes: Bytes,
    _paid: Option<Reserved>,
}

struct Work {
    store: Store,
    writer: BlobWriter,
    inflate: Option<Inflate>,
    digest: Digest,
    /// Bytes that this stream claims to bring.
    claimed: u64,
    /// Bytes of it that came.
    sent: u64,
    /// What came, as long as it stands for too much to be believed. It is a 64th of the blob at most.
    spool: Option<Spool>,
    wanted: Wanted,
    /// Not all that came is written: nobody waits for it.
    is_cut: bool,
    charge: Option<Arc<Charge>>,
    /// What the decoder takes in the budget.
    decoder: Vec<Reserved>,
    paid: usize,
}

impl Sink {
    fn new(
        store: Store,
        writer: BlobWriter,
        name: &UploadName,
        charge: Option<Arc<Charge>>,
        wanted: Wanted,
    ) -> Result<Self, Status> {
        let work = Work::new(store, writer, name, charge.clone(), wanted.clone())?;
        let (gathered, bytes) = Default::default();
        Ok(Self { idle: Some(work), job: None, gathered, bytes, charge, wanted })
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
        self.job = Some(crate::bulk(move || work.take(&pieces)));
        if !may_wait {
            self.idle = Some(self.idle().await?);
        }
        Ok(())
    }

    /// The stream has ended well: what is still gathered is written.
    async fn finish(mut self) -> Result<Work, Status> {
        let work = self.idle().await?;
        let pieces = self.gathered;
        blocking(move || work.finish(&pieces)).await?
    }

    /// Waits until all is written, but for what nobody could believe yet.
    async fn flush(mut self) -> Result<Work, Status> {
        let work = self.idle().await?;
        let pieces = self.gathered;
        if pieces.is_empty() { Ok(work) } else { blocking(move || work.take(&pieces)).await? }
    }

    /// The stream has broken. What is gathered and stands for itself is written; few bytes that stand for many are not, not
    /// even the rest of those that are being written.
    async fn stop(self) -> Result<Work, Status> {
        self.wanted.end();
        self.flush().await
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
    fn new(
        store: Store,
        writer: BlobWriter,
        name: &UploadName,
        charge: Option<Arc<Charge>>,
        wanted: Wanted,
    ) -> Result<Self, Status> {
        let digest = name.blob.digest;
        let claimed = digest.size.saturating_sub(writer.written());
        let inflate = (name.blob.zstd)
            .then(|| Inflate::new(claimed))
            .transpose()
            .map_err(|e| Status::internal(format!("can't start zstd: {e}")))?;
        let (sent, spool, is_cut, decoder, paid) = Default::default();
        Ok(Self {
            store,
            writer,
            inflate,
            digest,
            claimed,
            sent,
            spool,
            wanted,
            is_cut,
            charge,
            decoder,
            paid,
        })
    }

    /// Writes what came, or keeps it as it is where a few bytes claim to be very many.
    fn take(mut self, pieces: &[Piece]) -> Result<Self, Status> {
        self.sent += pieces.iter().map(|piece| piece.bytes.len() as u64).sum::<u64>();
        if !self.is_doubtful() {
            self.write_all(pieces)?;
        } else if self.wanted.check().is_ok() {
            let store = &self.store;
            let spool = match &mut self.spool {
                Some(spool) => spool,
                none => none.insert(store.spool().map_err(|e| store_status(&e))?),
            };
            for piece in pieces {
                spool.write(&piece.bytes).map_err(|e| store_status(&e))?;
            }
        }
        Ok(self)
    }

    /// The same of the last that comes. What is doubtful until now is looked at whole before anything of it is written.
    fn finish(mut self, pieces: &[Piece]) -> Result<Self, Status> {
        self.sent += pieces.iter().map(|piece| piece.bytes.len() as u64).sum::<u64>();
        if self.is_doubtful() {
            if self.writer.written() > 0 {
                return Err(Status::aborted(format!(
                    "the rest of {} is too little to be believed without its beginning: send all of it",
                    self.digest
                )));
            }
            self.check(pieces).map_err(|failure| failure.status(&self.digest))?;
        }
        self.write_all(pieces)?;
        Ok(self)
    }

    fn is_doubtful(&self) -> bool {
        self.inflate.is_some() && codec::is_doubtful(self.claimed, self.sent)
    }

    fn check(&self, pieces: &[Piece]) -> Result<(), Failure> {
        let mut check = Check::new(self.digest)?;
        let mut push = |bytes: &[u8]| -> Result<(), Failure> {
            Ok(check.push(bytes, || self.wanted.check().is_ok())?)
        };
        if let Some(spool) = &self.spool {
            spool.each(&mut push)?;
        }
        pieces.iter().try_for_each(|piece| push(&piece.bytes))?;
        Ok(check.finish()?)
    }

    /// Writes what was kept, and then these.
    fn write_all(&mut self, pieces: &[Piece]) -> Result<(), Status> {
        if let Some(spool) = self.spool.take() {
            let expanded = spool.each(|bytes| self.expand(bytes));
            expanded.map_err(|failure| failure.status(&self.digest))?;
        }
        for Piece { bytes, .. } in pieces {
            if self.inflate.is_none() {
                self.writer.write(bytes).map_err(|e| store_status(&e))?;
            } else {
                self.expand(bytes).map_err(|failure| failure.status(&self.digest))?;
            }
        }
        Ok(())
    }

    /// Writes what these bytes stand for, as long as it is wanted.
    fn expand(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Self { writer, inflate: Some(inflate), wanted, is_cut, .. } = self else {
            return Ok(());
        };
        if *is_cut {
            return Ok(());
        }
        let expanded = inflate.push(bytes, |out| {
            if wanted.check().is_err() {
                return Err(CodecError::GivenUp.into());
            }
            writer.write(&Bytes::copy_from_slice(out)).map_err(Failure::Store)
        });
        match expanded {
            Err(Failure::Codec(CodecError::GivenUp)) => *is_cut = true,
            expanded => expanded?,
        }
        self.pay()
    }

    /// Pays for what the decoder has grown by: a few bytes may tell it to keep megabytes.
    fn pay(&mut self) -> Result<(), Failure> {
        let (Some(inflate), Some(charge)) = (&self.inflate, &self.charge) else { return Ok(()) };
        let takes = inflate.memory();
        if takes > self.paid {
            self.decoder.push(charge.hold(takes - self.paid).map_err(Failure::Budget)?);
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
    Budget(Status),
}

impl Failure {
    fn status(self, digest: &Digest) -> Status {
        match self {
            Self::Store(error) => store_status(&error),
            Self::Codec(error) => Status::invalid_argument(format!("the data of {digest} {error}")),
            Self::Budget(status) => status,
        }
    }
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests;
