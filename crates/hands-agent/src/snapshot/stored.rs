//! What is not walked but read, such as an image, a tar or a pipe: into the agent's own store, and from there to a hub
//! elsewhere.

use std::cell::RefCell;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
#[cfg(feature = "oci")]
use hands_proto::Room;
use hands_proto::v1::SnapshotRequest;
use hands_reapi::{Blob, Source};
use hands_store::{Pin, Store, StoreError};
use hands_types::{Digest, DigestFunction};
use tokio::runtime::Handle;

use super::patience::patiently;
use super::{KEPT, ROUNDS, Taken, remote};
use crate::error::{SnapshotError, sentence};
use crate::walk::Progress;

/// Blobs that are asked for and sent at once.
const GROUP: usize = 1024;

/// Where it goes, and for whom.
pub(super) struct To<'a> {
    pub(super) store: &'a Store,
    pub(super) runtime: &'a Handle,
    pub(super) request: &'a SnapshotRequest,
    pub(super) function: DigestFunction,
    pub(super) progress: &'a Progress,
}

/// Has something read into the store, and brings all of it to where it is wanted. `read` answers with the tree and every blob
/// of it; it is called again where some of these have gone meanwhile.
pub(super) fn take(
    to: &To<'_>,
    mut read: impl FnMut(&IntoStore<'_>) -> Result<(Taken, Vec<Digest>), SnapshotError>,
) -> Result<Taken, SnapshotError> {
    let pin = RefCell::new(to.store.pin([]));
    let sink = IntoStore { to, pin: &pin };
    for _ in 0..ROUNDS {
        let (taken, blobs) = read(&sink)?;
        pin.borrow_mut().add(blobs.iter().copied());
        // One that was here may have gone between its writing and its pin.
        if to.store.missing(&blobs).map_err(|e| store_error(&e))?.is_empty() {
            keep(to, &taken.root, &blobs)?;
            return Ok(taken);
        }
    }
    Err(SnapshotError::Unsteady)
}

/// Brings a tree to where it is wanted, if all of it is in the store.
#[cfg(feature = "oci")]
pub(super) fn is_there(to: &To<'_>, root: &Digest) -> Result<bool, SnapshotError> {
    let mut pin = to.store.pin([]);
    let mut room = Room::new(usize::MAX);
    let looked = to.store.look_at_tree(root, &mut room, &mut |digests| {
        pin.add(digests.iter().copied());
    });
    // What can't be looked at is read anew.
    let Ok(report) = looked else { return Ok(false) };
    if report.missing.is_empty() {
        keep(to, root, &report.blobs)?;
    }
    Ok(report.missing.is_empty())
}

/// Brings a tree that is in the store to where it is wanted.
pub(super) fn keep(to: &To<'_>, root: &Digest, blobs: &[Digest]) -> Result<(), SnapshotError> {
    if to.request.target.is_empty() {
        // Named after the root, so that snapshots of an unchanged tree share one pin.
        to.store.pin_named(&format!("snapshot/{root}"), blobs, Instant::now() + KEPT);
        return Ok(());
    }
    send(to, blobs)
}

/// Sends what the target misses.
fn send(to: &To<'_>, blobs: &[Digest]) -> Result<(), SnapshotError> {
    let To { store, runtime, request, function, progress } = to;
    let client = remote::client(runtime, request, *function)?;
    let blobs: Vec<Digest> = blobs.iter().copied().filter(|d| !d.is_empty()).collect();
    let failed = |error| remote::failed(request, &error);
    let missing = patiently(runtime, progress, || client.find_missing(&blobs))?.map_err(failed)?;
    for group in missing.chunks(GROUP) {
        progress.check()?;
        let source = || Source::Stored((*store).clone());
        let blobs = group.iter().map(|digest| Blob { digest: *digest, source: source() });
        let blobs: Vec<Blob> = blobs.collect();
        patiently(runtime, progress, || client.upload(blobs.clone()))?.map_err(failed)?;
        progress.bytes_sent.fetch_add(group.iter().map(|d| d.size).sum(), Ordering::Relaxed);
    }
    Ok(())
}

/// The agent's store; what goes into it stays until the tree is done.
pub(super) struct IntoStore<'a> {
    pub(super) to: &'a To<'a>,
    pin: &'a RefCell<Pin>,
}

impl IntoStore<'_> {
    /// Whatever comes, to its end.
    pub(super) fn stream(&self, content: &mut dyn Read) -> Result<Digest, SnapshotError> {
        let to = self.to;
        let stored = to.store.ingest_to_end(to.function, content, &|| self.is_wanted());
        let digest = stored.map_err(|error| match error {
            StoreError::GivenUp => SnapshotError::Cancelled,
            _ if !self.is_wanted() => SnapshotError::Cancelled,
            error => store_error(&error),
        })?;
        self.has_stored(&digest);
        Ok(digest)
    }

    /// Directories that were encoded.
    pub(super) fn put_directories(
        &self,
        directories: Vec<(Digest, Bytes)>,
    ) -> Result<(), StoreError> {
        self.pin.borrow_mut().add(directories.iter().map(|(digest, _)| *digest));
        self.to.store.put_many(directories).into_iter().collect()
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.to.progress.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn has_stored(&self, digest: &Digest) {
        self.pin.borrow_mut().add([*digest]);
        self.to.progress.files.fetch_add(1, Ordering::Relaxed);
        self.to.progress.bytes_hashed.fetch_add(digest.size, Ordering::Relaxed);
    }
}

pub(super) fn store_error(error: &StoreError) -> SnapshotError {
    SnapshotError::Store { message: sentence(error), class: error.class() }
}
