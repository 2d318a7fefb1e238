//! From the engine into a local store: single blobs and whole trees.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hands_proto::{decode_blob, reapi};
use hands_store::{BlobWriter, Store, StoreError};
use hands_types::Digest;
use hands_types::limits::MAX_PROTO_BLOB;

use super::download::Sink;
use super::{BlobClient, BlobError, blocking};

/// Batches under way at once.
const CALLS: usize = 8;
/// Large blobs under way at once.
const STREAMS: usize = 4;

/// What a fetch moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Blobs that came over the wire.
    pub blobs: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
}

impl Fetched {
    fn add(&mut self, digests: &[Digest]) {
        self.blobs += digests.len() as u64;
        self.bytes += digests.iter().map(|d| d.size).sum::<u64>();
    }
}

impl BlobClient {
    /// Brings blobs into the store, those that it does not have already. Names all that the engine lacks, not the
    /// first; the others are in the store even then. The caller pins what it needs.
    pub async fn fetch(&self, digests: &[Digest], into: &Store) -> Result<Fetched, BlobError> {
        let mut wanted = digests.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let store = into.clone();
        let wanted = blocking(move || store.missing(&wanted)).await??;
        self.fetch_absent(&wanted, into).await
    }

    /// Brings a whole tree into the store: its directories, level by level, and the files that the store lacks, which
    /// flow while the next level is asked for. Names all blobs that the engine lacks and that could be found out.
    pub async fn fetch_tree(&self, root: &Digest, into: &Store) -> Result<Fetched, BlobError> {
        let mut total = Fetched::default();
        let mut seen = HashSet::from([*root]);
        let mut level = vec![*root];
        let mut files = Vec::new();
        let mut lacking = Vec::new();
        while !level.is_empty() {
            // Files of the level above and directories of this one travel together.
            let (directories, above) =
                tokio::join!(self.fetch(&level, into), self.fetch(&files, into));
            for outcome in [directories, above] {
                match outcome {
                    Ok(fetched) => {
                        total.blobs += fetched.blobs;
                        total.bytes += fetched.bytes;
                    }
                    Err(BlobError::Missing(digests)) => lacking.extend(digests),
                    Err(other) => return Err(other),
                }
            }
            let store = into.clone();
            let skip: HashSet<Digest> = lacking.iter().copied().collect();
            let here = std::mem::take(&mut level);
            let (below, content) = blocking(move || {
                let (mut below, mut content) = (Vec::new(), Vec::new());
                for digest in here.iter().filter(|d| !skip.contains(d)) {
                    read_directory(&store, digest, &mut below, &mut content)?;
                }
                Ok::<_, BlobError>((below, content))
            })
            .await??;
            level = below.into_iter().filter(|d| seen.insert(*d)).collect();
            files = content.into_iter().filter(|d| seen.insert(*d)).collect();
        }
        match self.fetch(&files, into).await {
            Ok(fetched) => {
                total.blobs += fetched.blobs;
                total.bytes += fetched.bytes;
            }
            Err(BlobError::Missing(digests)) => lacking.extend(digests),
            Err(other) => return Err(other),
        }
        if lacking.is_empty() { Ok(total) } else { Err(BlobError::Missing(lacking)) }
    }

    async fn fetch_absent(&self, digests: &[Digest], into: &Store) -> Result<Fetched, BlobError> {
        let mut total = Fetched::default();
        if digests.is_empty() {
            return Ok(total);
        }
        let limits = self.limits().await?;
        let (batches, streams) = limits.split(digests.iter().copied(), |digest| digest.size);
        let batches = stream::iter(batches)
            .map(|batch| self.fetch_batch(batch, into))
            .buffer_unordered(CALLS)
            .try_collect::<Vec<_>>();
        let streams = stream::iter(streams)
            .map(|digest| self.fetch_stream(digest, into))
            .buffer_unordered(STREAMS)
            .try_collect::<Vec<_>>();
        let (batches, streams) = tokio::try_join!(batches, streams)?;
        let lacking: Vec<Digest> =
            batches.into_iter().flatten().chain(streams.into_iter().flatten()).collect();
        if lacking.is_empty() {
            total.add(digests);
            Ok(total)
        } else {
            Err(BlobError::Missing(lacking))
        }
    }

    /// Returns those that the engine lacks.
    async fn fetch_batch(
        &self,
        batch: Vec<Digest>,
        into: &Store,
    ) -> Result<Vec<Digest>, BlobError> {
        let got = self.download_batch(&batch).await?;
        let mut lacking: HashSet<Digest> = batch.into_iter().collect();
        let blobs: Vec<(Digest, Bytes)> = got
            .into_iter()
            .filter_map(|(digest, bytes)| {
                let bytes = bytes?;
                lacking.remove(&digest).then_some((digest, bytes))
            })
            .collect();
        let store = into.clone();
        blocking(move || store.put_many(blobs).into_iter().collect::<Result<(), StoreError>>())
            .await??;
        Ok(lacking.into_iter().collect())
    }

    async fn fetch_stream(
        &self,
        digest: Digest,
        into: &Store,
    ) -> Result<Option<Digest>, BlobError> {
        let store = into.clone();
        let writer = blocking(move || store.writer(digest)).await??;
        match self.pump(&digest, ToStore { writer }).await {
            Ok(()) => Ok(None),
            Err(BlobError::Missing(_)) => Ok(Some(digest)),
            Err(other) => Err(other),
        }
    }
}

/// The store hashes what it is given, so this sink need not.
struct ToStore {
    writer: BlobWriter,
}

impl Sink for ToStore {
    type Out = ();

    fn take(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        Ok(self.writer.write(&bytes)?)
    }

    fn end(self, expected: Digest) -> Result<(), BlobError> {
        let size = self.writer.written();
        self.writer.commit().map_err(|error| match error {
            StoreError::Mismatch { claimed, actual } => {
                BlobError::Corrupt { expected: claimed, actual }
            }
            StoreError::Size { .. } => {
                BlobError::Corrupt { expected, actual: Digest { size, ..expected } }
            }
            other => BlobError::Store(other),
        })
    }
}

/// Lists what a directory in the store refers to.
fn read_directory(
    store: &Store,
    digest: &Digest,
    below: &mut Vec<Digest>,
    content: &mut Vec<Digest>,
) -> Result<(), BlobError> {
    if digest.is_empty() {
        return Ok(());
    }
    let bad = |why: String| BlobError::Directory { digest: *digest, why };
    if digest.size > MAX_PROTO_BLOB {
        return Err(bad(format!("it is larger than {MAX_PROTO_BLOB} bytes")));
    }
    // Evicted in the moment since it was fetched: the caller did not pin, and tries again.
    let bytes = store.read(digest)?.ok_or_else(|| BlobError::Missing(vec![*digest]))?;
    let directory: reapi::Directory = decode_blob(bytes).map_err(|e| bad(e.to_string()))?;
    let read = |d: Option<&reapi::Digest>| {
        d.ok_or_else(|| bad("a node has no digest".to_owned()))?
            .to_digest(digest.function)
            .map_err(|e| bad(e.to_string()))
    };
    for node in &directory.directories {
        below.push(read(node.digest.as_ref())?);
    }
    for node in &directory.files {
        content.push(read(node.digest.as_ref())?);
    }
    Ok(())
}
