//! Snapshots into the agent's own store: what is read is stored in the same pass.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::Ordering;

use hands_store::{Store, StoreError};
use hands_types::{Digest, DigestFunction};

use super::stored::{self, To, store_error};
use super::{Paths, ROUNDS, Taken};
use crate::error::SnapshotError;
use crate::stat_cache::StatCache;
use crate::walk::{Ingest, Sink};

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

pub(super) fn take(to: &To<'_>, paths: &Paths, cache: &StatCache) -> Result<Taken, SnapshotError> {
    let store = to.store;
    let sink = Into { store, function: to.function };
    let walk = paths.walk(to, cache, &sink);
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
        to.progress
            .bytes_sent
            .fetch_add(directories.iter().map(|d| d.size).sum(), Ordering::Relaxed);
        // Evicted since they were hashed, although unchanged on disk.
        if !walk.reread(&mut walked, &files.into_iter().collect())? {
            stored::keep(to, &walked.root(), &digests)?;
            drop(pin);
            return Ok(Taken::of(&walked));
        }
    }
    Err(SnapshotError::Unsteady)
}
