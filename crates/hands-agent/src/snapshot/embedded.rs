//! Snapshots into the agent's own store: what is read is stored in the same pass.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hands_store::{Store, StoreError};
use hands_types::{Digest, DigestFunction, RelPath};

use super::{KEPT, ROUNDS, THREADS, Taken};
use crate::error::{SnapshotError, sentence};
use crate::stat_cache::{StatCache, SystemClock};
use crate::walk::{Ingest, Progress, Sink, Walk, WalkInput};

struct Into<'a> {
    store: &'a Store,
    function: DigestFunction,
}

impl Sink for Into<'_> {
    fn ingest(&self, file: &mut File) -> Result<Ingest, SnapshotError> {
        match self.store.ingest(self.function, file) {
            Ok(digest) => Ok(Ingest::Whole(digest)),
            Err(StoreError::Changed { .. }) => Ok(Ingest::Changed),
            Err(error) => Err(store_error(&error)),
        }
    }

    fn stores(&self) -> bool {
        true
    }
}

pub(crate) fn take(
    store: &Store,
    cache: &StatCache,
    inputs: &[WalkInput],
    working_directory: &RelPath,
    function: DigestFunction,
    times: bool,
    progress: &Progress,
) -> Result<Taken, SnapshotError> {
    let sink = Into { store, function };
    let walk = Walk {
        inputs,
        working_directory,
        function,
        times,
        cache,
        clock: &SystemClock,
        sink: &sink,
        progress,
        threads: THREADS,
    };
    let mut walked = walk.run()?;
    for _ in 0..ROUNDS {
        let digests = walked.digests();
        // Pinned first: what is there afterwards stays.
        let pin = store.pin(digests.iter().copied());
        let missing: HashSet<Digest> =
            store.missing(&digests).map_err(|e| store_error(&e))?.into_iter().collect();
        let (directories, files): (Vec<Digest>, Vec<Digest>) =
            missing.into_iter().partition(|digest| walked.directories().contains_key(digest));
        let blobs = directories
            .iter()
            .map(|digest| (*digest, walked.directories()[digest].clone()))
            .collect();
        for result in store.put_many(blobs) {
            result.map_err(|e| store_error(&e))?;
        }
        progress.bytes_sent.fetch_add(directories.iter().map(|d| d.size).sum(), Ordering::Relaxed);
        // Evicted since they were hashed, although unchanged on disk.
        if !walk.reread(&mut walked, &files.into_iter().collect())? {
            // Named after the root, so that snapshots of an unchanged tree share one pin.
            let root = walked.root();
            store.pin_named(&format!("snapshot/{root}"), &digests, Instant::now() + KEPT);
            drop(pin);
            return Ok(Taken::of(&walked));
        }
    }
    Err(SnapshotError::Unsteady)
}

fn store_error(error: &StoreError) -> SnapshotError {
    SnapshotError::Store { message: sentence(error), class: error.class() }
}
