//! Snapshots for a hub elsewhere: hashed here, asked about once, and what is missing sent.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hands_link::{Address, Engine, Way};
use hands_proto::v1::SnapshotRequest;
use hands_reapi::{Blob, BlobClient, BlobError, Channel, Source};
use hands_store::digest_of_stream;
use hands_types::{Digest, DigestFunction};
use tokio::runtime::Handle;

use super::patience::patiently;
use super::stored::To;
use super::{Paths, ROUNDS, Taken};
use crate::error::{SnapshotError, sentence};
use crate::stat_cache::StatCache;
use crate::walk::{Ingest, Sink};

/// Files that are open at once for an upload.
const OPEN_FILES: usize = 128;

struct HashOnly(DigestFunction);

impl Sink for HashOnly {
    fn ingest(&self, file: &mut File) -> Result<Ingest, SnapshotError> {
        digest_of_stream(self.0, file).map(Ingest::Whole).or_else(|e| Ok(Ingest::Failed(e)))
    }

    fn stores(&self) -> bool {
        false
    }
}

/// Blocks; called on a thread for that. Pins are the hub's affair: it keeps for an invocation what was uploaded or
/// asked about shortly before.
pub(super) fn take(to: &To<'_>, paths: &Paths, cache: &StatCache) -> Result<Taken, SnapshotError> {
    let To { runtime, request, function, progress, .. } = *to;
    let failed = |error: BlobError| failed(request, &error);
    let client = client(runtime, request, function)?;
    let sink = HashOnly(function);
    let walk = paths.walk(to, cache, &sink);
    let mut walked = walk.run()?;
    let lacking = |digests: &[Digest]| {
        patiently(runtime, progress, || client.find_missing(digests))?.map_err(failed)
    };
    let mut missing = lacking(&walked.digests())?;
    for _ in 0..ROUNDS {
        let mut changed: HashSet<Digest> = HashSet::new();
        for group in missing.chunks(OPEN_FILES) {
            progress.check()?;
            let mut blobs = Vec::with_capacity(group.len());
            for digest in group {
                let source = match walked.directories().get(digest) {
                    Some(bytes) => Source::Bytes(bytes.clone()),
                    None => match walked.open(digest)? {
                        Some(file) => Source::File(Arc::new(file), PathBuf::from("an input file")),
                        // It has vanished since it was hashed.
                        None => {
                            changed.insert(*digest);
                            continue;
                        }
                    },
                };
                blobs.push(Blob { digest: *digest, source });
            }
            match patiently(runtime, progress, || client.upload(blobs.clone()))? {
                Ok(_) => {
                    progress
                        .bytes_sent
                        .fetch_add(group.iter().map(|d| d.size).sum(), Ordering::Relaxed);
                }
                Err(BlobError::Changed { digest, .. }) => {
                    changed.insert(digest);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if changed.is_empty() {
            return Ok(Taken::of(&walked));
        }
        // A file changed between its hashing and its upload: take its new content, and whatever is missing then.
        walk.reread(&mut walked, &changed)?;
        missing = lacking(&walked.digests())?;
    }
    Err(SnapshotError::Unsteady)
}

/// The client by which the target's blobs are reached.
pub(super) fn client(
    runtime: &Handle,
    request: &SnapshotRequest,
    function: DigestFunction,
) -> Result<BlobClient, SnapshotError> {
    let address = match &request.engine {
        Some(engine) => Engine::try_from(engine).map(|e| Address::Engine(Arc::new(e))),
        None => request.target.parse(),
    };
    let address = address.map_err(|_| SnapshotError::Protocol("a target that is no address"))?;
    let _inside = runtime.enter();
    let way = Way::to(&address);
    // What the handshake measures decides on windows and keepalive. Where nobody answers, the first call says so.
    if let Err(error) = runtime.block_on(way.open()) {
        tracing::debug!(%error, "not yet connected");
    }
    let channel = Channel::with_headers(way.channel(), address.headers());
    let channel = channel.map_err(|_| SnapshotError::Protocol("a header that can't be sent"))?;
    // Only now it is known whether a member's hub is on this machine.
    Ok(BlobClient::new(channel, &request.instance_name, function)
        .with_compression(!(address.is_local() || way.is_here())))
}

/// What the target said.
pub(super) fn failed(request: &SnapshotRequest, error: &BlobError) -> SnapshotError {
    SnapshotError::Target {
        target: request.target.clone(),
        message: sentence(error),
        class: error.class(),
    }
}
