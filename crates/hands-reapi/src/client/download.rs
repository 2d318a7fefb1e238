//! Blobs on their way from the engine. Whatever arrives is hashed before anybody sees it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use hands_proto::bytestream::{ReadRequest, ReadResponse};
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{BatchReadBlobsRequest, compressor};
use hands_store::SideHasher;
use hands_types::Digest;
use tokio::task::JoinHandle;
use tonic::{Code, Status, Streaming};

use super::patience::patiently;
use super::{BlobClient, BlobError, blocking};
use crate::codec::{CodecError, Inflate};
use crate::{BlobName, INLINE, LogName, codec};

/// What is gathered before a blocking thread hashes and writes it.
const GATHER: usize = 1 << 20;

impl BlobClient {
    /// A whole blob in memory. For those that are known to be small.
    pub async fn download(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        if digest.is_empty() {
            return Ok(Bytes::new());
        }
        let limits = self.limits().await?;
        if !limits.is_large(digest.size) {
            let mut got = self.download_batch(&[*digest]).await?;
            return match got.pop() {
                Some((_, Some(bytes))) => Ok(bytes),
                Some((_, None)) | None => Err(BlobError::Missing(vec![*digest])),
            };
        }
        self.gather(digest).await
    }

    /// Blobs in memory, each once; those that the engine does not have are left out. For those that are known to be small.
    pub async fn download_many(
        &self,
        digests: impl IntoIterator<Item = Digest>,
    ) -> Result<HashMap<Digest, Bytes>, BlobError> {
        let limits = self.limits().await?;
        let digests: HashSet<Digest> = digests.into_iter().collect();
        let mut all = HashMap::with_capacity(digests.len());
        let (batches, large) = limits.split(digests, |digest| digest.size);
        for batch in batches {
            let got = self.download_batch(&batch).await?;
            all.extend(got.into_iter().filter_map(|(digest, bytes)| Some((digest, bytes?))));
        }
        for digest in large {
            match self.gather(&digest).await {
                Ok(bytes) => drop(all.insert(digest, bytes)),
                Err(BlobError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn gather(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let hasher = SideHasher::new(digest.function);
        self.pump(digest, Gather { hasher, out: BytesMut::new() }).await
    }

    /// A whole blob into a file, from the file's beginning; its position is not moved. On an error the file holds
    /// what had arrived. `path` is for messages.
    pub async fn download_to(
        &self,
        digest: &Digest,
        file: &File,
        path: &Path,
    ) -> Result<(), BlobError> {
        let failed = |source| BlobError::File { what: "write", path: path.to_owned(), source };
        let file = file.try_clone().map_err(failed)?;
        let sink = ToFile { hasher: SideHasher::new(digest.function), file, path: path.to_owned() };
        self.pump(digest, sink).await
    }

    /// A log's bytes from `offset` on, as they come.
    pub async fn read_log(
        &self,
        name: &LogName,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, BlobError>> + Send + Unpin + use<>, BlobError>
    {
        let request = ReadRequest {
            resource_name: name.to_string(),
            read_offset: offset.cast_signed(),
            read_limit: 0,
        };
        let reply =
            self.byte_stream().read(request).await.map_err(|s| BlobError::rpc("read a log", s))?;
        Ok(reply
            .into_inner()
            .map(|piece| piece.map(|p| p.data).map_err(|s| BlobError::rpc("read a log", s))))
    }

    /// Blobs that fit into one batch together, verified; `None` for those that the engine does not have.
    pub(super) async fn download_batch(
        &self,
        digests: &[Digest],
    ) -> Result<Vec<(Digest, Option<Bytes>)>, BlobError> {
        let limits = self.limits().await?;
        let mut acceptable_compressors = vec![compressor::Value::Identity.into()];
        if limits.zstd_batch {
            acceptable_compressors.push(compressor::Value::Zstd.into());
        }
        let request = BatchReadBlobsRequest {
            instance_name: self.instance.to_string(),
            digests: digests.iter().map(Into::into).collect(),
            acceptable_compressors,
            digest_function: Value::from(self.function).into(),
        };
        let reply = patiently(self.patience, || {
            let (mut cas, request) = (self.cas(), request.clone());
            async move { cas.batch_read_blobs(request).await }
        });
        let reply = reply.await.map_err(|s| BlobError::rpc("download a batch of blobs", s))?;
        let bytes: usize = reply.responses.iter().map(|response| response.data.len()).sum();
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        let function = self.function;
        let check = move || {
            reply
                .responses
                .into_iter()
                .map(|response| {
                    let digest = response
                        .digest
                        .as_ref()
                        .ok_or(hands_proto::BadDigest::Missing("responses.digest"))?
                        .to_digest(function)?;
                    let status = response.status.unwrap_or_default();
                    match Code::from(status.code) {
                        Code::Ok => {}
                        Code::NotFound => return Ok((digest, None)),
                        code => {
                            let status = Status::new(code, status.message);
                            return Err(BlobError::rpc("download a blob", status));
                        }
                    }
                    let zstd = response.compressor == i32::from(compressor::Value::Zstd);
                    let data = if zstd {
                        codec::expand(&response.data, digest.size).map_err(bad_zstd)?
                    } else {
                        response.data
                    };
                    verify(digest, hands_tree::hash(function, &data))?;
                    Ok((digest, Some(data)))
                })
                .collect::<Result<Vec<_>, BlobError>>()
        };
        let small = digests.iter().map(|d| d.size).fold(0, u64::saturating_add) <= INLINE as u64;
        if small { check() } else { blocking(check).await? }
    }

    /// Streams a blob into a sink on blocking threads, while the next pieces arrive.
    pub(super) async fn pump<S: Sink>(
        &self,
        digest: &Digest,
        sink: S,
    ) -> Result<S::Out, BlobError> {
        let digest = *digest;
        if digest.is_empty() {
            return sink.end(digest);
        }
        let zstd = self.limits().await?.zstd_stream;
        let name = BlobName { instance: self.instance.to_string(), digest, zstd }.to_name();
        let request = ReadRequest { resource_name: name, ..Default::default() };
        let failed = |status: Status| match status.code() {
            Code::NotFound => BlobError::Missing(vec![digest]),
            _ => BlobError::rpc("download a blob", status),
        };
        let mut stream: Streaming<ReadResponse> =
            self.byte_stream().read(request).await.map_err(failed)?.into_inner();
        let inflate = zstd
            .then(|| Inflate::new(digest.size))
            .transpose()
            .map_err(|e| bad_zstd(CodecError::Invalid(e)))?;
        let mut turn = Turn::Idle(Work { sink, inflate });
        let mut received: u64 = 0;
        loop {
            let (mut pieces, mut bytes, mut ended) = (Vec::new(), 0, false);
            while bytes < GATHER {
                let Some(message) = stream.message().await.map_err(failed)? else {
                    ended = true;
                    break;
                };
                bytes += message.data.len();
                self.received.fetch_add(message.data.len() as u64, Ordering::Relaxed);
                pieces.push(message.data);
            }
            received += bytes as u64;
            // An engine that sends without end is stopped here, before the disk is full.
            if !zstd && received > digest.size {
                return Err(BlobError::Corrupt {
                    expected: digest,
                    actual: Digest { size: received, ..digest },
                });
            }
            let work = match turn {
                Turn::Idle(work) => work,
                Turn::Busy(job) => job.await.map_err(|_| BlobError::Interrupted)??,
            };
            if ended {
                return blocking(move || work.take(pieces)?.end(digest)).await?;
            }
            turn = Turn::Busy(tokio::task::spawn_blocking(move || work.take(pieces)));
        }
    }
}

/// Where a stream's content goes.
pub(super) trait Sink: Send + 'static {
    type Out: Send + 'static;

    fn take(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// All has come: checks that it is what was asked for.
    fn end(self, expected: Digest) -> Result<Self::Out, BlobError>;
}

enum Turn<S> {
    Idle(Work<S>),
    Busy(JoinHandle<Result<Work<S>, BlobError>>),
}

struct Work<S> {
    sink: S,
    inflate: Option<Inflate>,
}

impl<S: Sink> Work<S> {
    fn take(mut self, pieces: Vec<Bytes>) -> Result<Self, BlobError> {
        for piece in pieces {
            match &mut self.inflate {
                None => self.sink.take(piece)?,
                Some(inflate) => {
                    inflate.push(&piece, |out| self.sink.take(Bytes::copy_from_slice(out)))?;
                }
            }
        }
        Ok(self)
    }

    fn end(self, expected: Digest) -> Result<S::Out, BlobError> {
        if let Some(inflate) = &self.inflate {
            inflate.finish()?;
        }
        self.sink.end(expected)
    }
}

struct Gather {
    hasher: SideHasher,
    out: BytesMut,
}

impl Sink for Gather {
    type Out = Bytes;

    fn take(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.out.extend_from_slice(&bytes);
        self.hasher.update(bytes);
        Ok(())
    }

    fn end(self, expected: Digest) -> Result<Bytes, BlobError> {
        verify(expected, self.hasher.finish())?;
        Ok(self.out.freeze())
    }
}

struct ToFile {
    hasher: SideHasher,
    file: File,
    path: PathBuf,
}

impl Sink for ToFile {
    type Out = ();

    fn take(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let at = self.hasher.size();
        self.hasher.update(bytes.clone());
        self.file.write_all_at(&bytes, at).map_err(|source| BlobError::File {
            what: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn end(self, expected: Digest) -> Result<(), BlobError> {
        verify(expected, self.hasher.finish())
    }
}

fn verify(expected: Digest, actual: Digest) -> Result<(), BlobError> {
    if expected == actual { Ok(()) } else { Err(BlobError::Corrupt { expected, actual }) }
}

fn bad_zstd(error: CodecError) -> BlobError {
    BlobError::from(error)
}

impl From<CodecError> for BlobError {
    fn from(error: CodecError) -> Self {
        Self::Unsupported(format!("sent data that {error}"))
    }
}
