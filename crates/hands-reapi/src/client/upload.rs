//! FindMissing, and blobs on their way to the engine.

mod produce;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{
    BatchUpdateBlobsRequest, FindMissingBlobsRequest, batch_update_blobs_request, compressor,
};
use hands_store::Store;
use hands_types::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::limits::Limits;
use super::patience::patiently;
use super::{BlobClient, BlobError, blocking};
use crate::codec;
use produce::{Reader, produce};

/// Digests in one FindMissing: some 150 KiB.
const WAVE: usize = 2000;
/// Calls under way at once, per kind.
const CALLS: usize = 8;
/// Large blobs under way at once.
const STREAMS: usize = 4;

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
        let reply = patiently(self.patience, || {
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
        for Blob { digest, .. } in &blobs {
            if let Some(limit) = limits.blob.filter(|limit| digest.size > *limit) {
                return Err(BlobError::TooLarge { digest: *digest, limit });
            }
            total.blobs += 1;
            total.bytes += digest.size;
        }
        let (batches, streams) = limits.split(blobs, |blob| blob.digest.size);
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
        let reply = patiently(self.patience, || {
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
        let (sender, receiver) = mpsc::channel(4);
        let producer = {
            let (blob, instance) = (blob.clone(), self.instance.to_string());
            tokio::task::spawn_blocking(move || produce(&blob, instance, zstd, &sender))
        };
        let reply = self.byte_stream().write(ReceiverStream::new(receiver)).await;
        // The engine's answer ends the producer: its channel is closed. An error of the file is the cause of any other.
        let produced = producer.await.map_err(|_| BlobError::Interrupted)?;
        let zstd = produced?;
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
