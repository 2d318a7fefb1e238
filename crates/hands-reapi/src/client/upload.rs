//! FindMissing, and blobs on their way to the engine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::bytestream::WriteRequest;
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{
    BatchUpdateBlobsRequest, FindMissingBlobsRequest, batch_update_blobs_request, compressor,
};
use hands_store::{BlobReader, Store};
use hands_types::Digest;
use hands_types::limits::CHUNK;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::limits::Limits;
use super::patience::patiently;
use super::{BlobClient, BlobError, blocking};
use crate::{BlobName, UploadName, codec};

/// Digests in one FindMissing: some 150 KiB.
const WAVE: usize = 2000;
/// Calls under way at once, per kind.
const CALLS: usize = 8;
/// Large blobs under way at once.
const STREAMS: usize = 4;
/// Blobs in one batch, whatever their size.
const BATCH_BLOBS: usize = 1000;

/// A blob and where its content is.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is. The engine checks it.
    pub digest: Digest,
    /// Where it is.
    pub source: Source,
}

/// Where a blob's content is.
#[derive(Clone)]
pub enum Source {
    /// In memory.
    Bytes(Bytes),
    /// In a file that is opened when its turn comes.
    Path(PathBuf),
    /// In an open file, read from its beginning without moving its position; the path is for messages.
    File(Arc<File>, PathBuf),
    /// In a local store.
    Stored(Store),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Path(path) | Self::File(_, path) => write!(f, "File({})", path.display()),
            Self::Stored(_) => f.write_str("Stored"),
        }
    }
}

/// What an upload moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Blobs that were sent.
    pub blobs: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
}

impl BlobClient {
    /// Which of these the engine does not have; each once, in no particular order. Asks in waves, several at once.
    pub async fn find_missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, BlobError> {
        let mut digests: Vec<Digest> = digests.iter().filter(|d| !d.is_empty()).copied().collect();
        digests.sort_unstable();
        digests.dedup();
        // Owned, so that the futures below borrow nothing but the client.
        let waves: Vec<Vec<Digest>> = digests.chunks(WAVE).map(<[Digest]>::to_vec).collect();
        let answers: Vec<Vec<Digest>> = stream::iter(waves)
            .map(|wave| async move { self.find_wave(&wave).await })
            .buffer_unordered(CALLS)
            .try_collect()
            .await?;
        Ok(answers.concat())
    }

    async fn find_wave(&self, wave: &[Digest]) -> Result<Vec<Digest>, BlobError> {
        let request = FindMissingBlobsRequest {
            instance_name: self.instance.to_string(),
            blob_digests: wave.iter().map(Into::into).collect(),
            digest_function: Value::from(self.function).into(),
        };
        let reply = patiently(|| {
            let (mut cas, request) = (self.cas(), request.clone());
            async move { cas.find_missing_blobs(request).await }
        });
        let reply = reply.await.map_err(|s| BlobError::rpc("ask which blobs are missing", s))?;
        reply
            .missing_blob_digests
            .iter()
            .map(|d| d.to_digest(self.function).map_err(BlobError::from))
            .collect()
    }

    /// Sends those of the blobs that the engine does not have.
    pub async fn upload_missing(&self, blobs: Vec<Blob>) -> Result<Uploaded, BlobError> {
        let digests: Vec<Digest> = blobs.iter().map(|b| b.digest).collect();
        let mut missing: std::collections::HashSet<Digest> =
            self.find_missing(&digests).await?.into_iter().collect();
        // Each blob once, even if it was given twice.
        self.upload(blobs.into_iter().filter(|b| missing.remove(&b.digest)).collect()).await
    }

    /// Sends blobs: small ones in batches, large ones as streams, several of both at once. Ends at the first error;
    /// what was acknowledged until then is there.
    pub async fn upload(&self, blobs: Vec<Blob>) -> Result<Uploaded, BlobError> {
        if blobs.is_empty() {
            return Ok(Uploaded::default());
        }
        let limits = self.limits().await?;
        let mut total = Uploaded::default();
        let (mut batches, mut streams) = (Vec::new(), Vec::new());
        let (mut batch, mut cost) = (Vec::new(), 0);
        for blob in blobs {
            let size = blob.digest.size;
            if let Some(limit) = limits.blob.filter(|limit| size > *limit) {
                return Err(BlobError::TooLarge { digest: blob.digest, limit });
            }
            total.blobs += 1;
            total.bytes += size;
            if Limits::cost(size) > limits.batch {
                streams.push(blob);
                continue;
            }
            if cost + Limits::cost(size) > limits.batch || batch.len() == BATCH_BLOBS {
                batches.push(std::mem::take(&mut batch));
                cost = 0;
            }
            cost += Limits::cost(size);
            batch.push(blob);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        let batches = stream::iter(batches)
            .map(|batch| self.send_batch(batch, limits))
            .buffer_unordered(CALLS)
            .try_collect::<()>();
        let streams = stream::iter(streams)
            .map(|blob| self.send_stream(blob, limits))
            .buffer_unordered(STREAMS)
            .try_collect::<()>();
        tokio::try_join!(batches, streams)?;
        Ok(total)
    }

    async fn send_batch(&self, batch: Vec<Blob>, limits: &Limits) -> Result<(), BlobError> {
        let zstd = limits.zstd_batch;
        let in_memory = !zstd && batch.iter().all(|b| matches!(b.source, Source::Bytes(_)));
        let load = {
            let batch = batch.clone();
            move || batch.into_iter().map(|b| load(b, zstd)).collect::<Result<Vec<_>, _>>()
        };
        let requests = if in_memory { load()? } else { blocking(load).await?? };
        let request = BatchUpdateBlobsRequest {
            instance_name: self.instance.to_string(),
            requests,
            digest_function: Value::from(self.function).into(),
        };
        let reply = patiently(|| {
            let (mut cas, request) = (self.cas(), request.clone());
            async move { cas.batch_update_blobs(request).await }
        });
        let reply = reply.await.map_err(|s| BlobError::rpc("upload a batch of blobs", s))?;
        for response in &reply.responses {
            let Some(status) = response.status.as_ref().filter(|s| s.code != 0) else { continue };
            let digest = response
                .digest
                .as_ref()
                .ok_or(hands_proto::BadDigest::Missing("responses.digest"))?
                .to_digest(self.function)?;
            let status = Status::new(Code::from(status.code), status.message.clone());
            let source = batch.iter().find(|b| b.digest == digest).map(|b| &b.source);
            return Err(refused(digest, source, status));
        }
        if reply.responses.len() < batch.len() {
            return Err(BlobError::Unsupported(format!(
                "answered for {} blobs of a batch of {}",
                reply.responses.len(),
                batch.len()
            )));
        }
        Ok(())
    }

    async fn send_stream(&self, blob: Blob, limits: &Limits) -> Result<(), BlobError> {
        let zstd = limits.zstd_stream;
        let blob_name = BlobName { instance: self.instance.to_string(), digest: blob.digest, zstd };
        let name = UploadName { uuid: random_uuid(), blob: blob_name }.to_name();
        let (sender, receiver) = mpsc::channel(4);
        let producer = {
            let blob = blob.clone();
            tokio::task::spawn_blocking(move || produce(&blob, name, zstd, &sender))
        };
        let reply = self.byte_stream().write(ReceiverStream::new(receiver)).await;
        // The engine's answer ends the producer: its channel is closed. An error of the file is the cause of any other.
        let produced = producer.await.map_err(|_| BlobError::Interrupted)?;
        produced?;
        let reply = reply.map_err(|status| refused(blob.digest, Some(&blob.source), status))?;
        let committed = reply.into_inner().committed_size;
        // For a compressed upload the number is the engine's own affair.
        if !zstd && committed != blob.digest.size.cast_signed() {
            return Err(BlobError::Unsupported(format!(
                "committed {committed} bytes of the {} of {}",
                blob.digest.size, blob.digest
            )));
        }
        Ok(())
    }
}

/// What a refusal of the engine means: a mismatch of a file is a file that changed.
fn refused(digest: Digest, source: Option<&Source>, status: Status) -> BlobError {
    match (status.code(), source) {
        (Code::InvalidArgument, Some(Source::Path(path) | Source::File(_, path))) => {
            BlobError::Changed { path: path.clone(), digest }
        }
        _ => BlobError::rpc("upload a blob", status),
    }
}

fn load(blob: Blob, zstd: bool) -> Result<batch_update_blobs_request::Request, BlobError> {
    let digest = blob.digest;
    let data = match blob.source {
        Source::Bytes(bytes) => bytes,
        source => {
            let reader = Reader::open(&digest, &source)?;
            // A batch holds only what fits into memory many times over.
            let len = usize::try_from(digest.size).unwrap_or(usize::MAX);
            reader.read_at(0, len)?
        }
    };
    let packed = if zstd { codec::shrink(&data) } else { None };
    let (data, compressor) = match packed {
        Some(packed) => (packed, compressor::Value::Zstd),
        None => (data, compressor::Value::Identity),
    };
    Ok(batch_update_blobs_request::Request {
        digest: Some(digest.into()),
        data,
        compressor: compressor.into(),
    })
}

/// Reads a blob piece by piece into the channel. Ends without an error when nobody listens any more.
fn produce(
    blob: &Blob,
    name: String,
    zstd: bool,
    sender: &mpsc::Sender<WriteRequest>,
) -> Result<(), BlobError> {
    let reader = Reader::open(&blob.digest, &blob.source)?;
    let mut deflate = if zstd { Some(codec::Deflate::new().map_err(zstd_failed)?) } else { None };
    let mut name = Some(name);
    let (mut at, mut sent) = (0u64, 0u64);
    loop {
        let len = usize::try_from(blob.digest.size - at).unwrap_or(CHUNK).min(CHUNK);
        let raw = reader.read_at(at, len)?;
        at += raw.len() as u64;
        let last = at == blob.digest.size;
        let data = match &mut deflate {
            None => raw,
            Some(deflate) => {
                let mut out = Vec::new();
                deflate.push(&raw, &mut out).map_err(zstd_failed)?;
                if last {
                    deflate.finish(&mut out).map_err(zstd_failed)?;
                }
                Bytes::from(out)
            }
        };
        if data.is_empty() && !last {
            continue;
        }
        let message = WriteRequest {
            resource_name: name.take().unwrap_or_default(),
            write_offset: sent.cast_signed(),
            finish_write: last,
            data: data.clone(),
        };
        sent += data.len() as u64;
        if sender.blocking_send(message).is_err() || last {
            return Ok(());
        }
    }
}

fn zstd_failed(source: io::Error) -> BlobError {
    BlobError::File { what: "compress", path: PathBuf::from("a blob"), source }
}

enum Reader<'a> {
    Bytes(&'a Bytes),
    File(Arc<File>, &'a PathBuf, Digest),
    Stored(BlobReader),
}

impl<'a> Reader<'a> {
    fn open(digest: &Digest, source: &'a Source) -> Result<Self, BlobError> {
        match source {
            Source::Bytes(bytes) if bytes.len() as u64 == digest.size => Ok(Self::Bytes(bytes)),
            Source::Bytes(bytes) => Err(BlobError::Corrupt {
                expected: *digest,
                actual: hands_tree::hash(digest.function, bytes),
            }),
            Source::File(file, path) => Ok(Self::File(Arc::clone(file), path, *digest)),
            Source::Path(path) => match File::open(path) {
                Ok(file) => Ok(Self::File(Arc::new(file), path, *digest)),
                Err(source) => Err(BlobError::File { what: "open", path: path.clone(), source }),
            },
            Source::Stored(store) => store
                .reader(digest)?
                .map(Self::Stored)
                .ok_or_else(|| BlobError::Missing(vec![*digest])),
        }
    }

    /// Exactly `len` bytes.
    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(bytes.slice(start..start + len))
            }
            Self::File(file, path, digest) => {
                let mut buffer = vec![0; len];
                match file.read_exact_at(&mut buffer, offset) {
                    Ok(()) => Ok(Bytes::from(buffer)),
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                        Err(BlobError::Changed { path: (*path).clone(), digest: *digest })
                    }
                    Err(source) => {
                        Err(BlobError::File { what: "read", path: (*path).clone(), source })
                    }
                }
            }
            Self::Stored(reader) => Ok(reader.read_at(offset, len)?),
        }
    }
}

/// A version 4 UUID. It only has to differ from those of other uploads under way, so the seeds of the standard
/// library's hash maps are random enough.
fn random_uuid() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (RandomState::new().hash_one(0u8), RandomState::new().hash_one(1u8));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}
