//! Whether an input tree is whole. A verdict is kept together with a pin on everything that it speaks of, so that no
//! eviction can make it wrong.

mod shape;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hands_store::{Pin, StageError, Store, StoreError};
use hands_types::Digest;
use tokio::time::Instant;

/// Blobs that all kept verdicts may pin together. Beyond it those unused the longest are dropped.
const MAX_PINNED: usize = 1 << 20;

/// Bytes of a directory that becomes much in memory.
const LARGE: u64 = 1 << 20;

/// A tree of which everything is in the store, and stays there while this is held.
#[derive(Debug)]
pub(crate) struct WholeTree {
    /// Bytes of all distinct blobs of it.
    pub(crate) bytes: u64,
    blobs: usize,
    _pin: Pin,
}

/// What a look at a tree brought.
#[derive(Debug)]
pub(crate) enum Verdict {
    Whole(Arc<WholeTree>),
    /// All that is missing, as far as the directories that are there tell.
    Missing(Vec<Digest>),
    /// A directory of it is not a directory as REAPI wants it.
    Invalid {
        digest: Digest,
        why: String,
    },
}

/// Verdicts of the recent past.
#[derive(Debug)]
pub(crate) struct Trees {
    store: Store,
    keep: Duration,
    known: Mutex<Known>,
    /// Held while a large directory is read: it may become 320 MiB, so that they come one after the other.
    large: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    trees: HashMap<Digest, (Arc<WholeTree>, Instant)>,
    blobs: usize,
}

impl Trees {
    pub(crate) fn new(store: Store, keep: Duration) -> Self {
        Self { store, keep, known: Mutex::default(), large: Mutex::default() }
    }

    /// A verdict that needs no look.
    pub(crate) fn known(&self, root: &Digest) -> Option<Arc<WholeTree>> {
        let mut known = self.lock();
        let (tree, used) = known.trees.get_mut(root)?;
        *used = Instant::now();
        Some(Arc::clone(tree))
    }

    /// Walks the tree. Blocks for as long as that takes.
    pub(crate) fn look(&self, root: &Digest) -> Result<Verdict, StoreError> {
        if let Some(tree) = self.known(root) {
            return Ok(Verdict::Whole(tree));
        }
        // Pinned before it is looked for, so that what was found can't go before the verdict is given.
        let mut pin = self.store.pin([*root]);
        let mut missing = Vec::new();
        let mut directories = BTreeSet::from([*root]);
        let mut files = BTreeSet::new();
        let mut held: BTreeMap<Digest, shape::Held> = BTreeMap::new();
        let mut wave = vec![*root];
        while let Some(digest) = wave.pop() {
            // Nothing is left half done by a panic.
            let lock = || self.large.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (digest.size > LARGE).then(lock);
            let read = self.store.directory(&digest);
            drop(turn);
            match read {
                Ok(Some(directory)) => {
                    pin.add(
                        directory
                            .directories
                            .iter()
                            .map(|d| d.digest)
                            .filter(|d| !directories.contains(d)),
                    );
                    wave.extend(
                        directory
                            .directories
                            .iter()
                            .map(|d| d.digest)
                            .filter(|d| directories.insert(*d)),
                    );
                    files.extend(directory.files.iter().map(|file| file.digest));
                    let below = directory.directories.iter().map(|d| d.digest).collect();
                    held.insert(digest, shape::Held { entries: directory.len() as u64, below });
                }
                Ok(None) => missing.push(digest),
                Err(StageError::Missing(digests)) => missing.extend(digests),
                Err(StageError::Store(error)) => return Err(error),
                Err(StageError::Invalid { digest, why }) => {
                    return Ok(Verdict::Invalid { digest, why });
                }
            }
        }
        if let Some(why) = shape::flaw(root, &held) {
            return Ok(Verdict::Invalid { digest: *root, why });
        }
        drop(held);
        let files: Vec<Digest> = files.into_iter().collect();
        pin.add(files.iter().copied());
        missing.extend(self.store.missing(&files)?);
        if !missing.is_empty() {
            return Ok(Verdict::Missing(missing));
        }
        let blobs = files.len() + directories.len();
        let bytes = files.iter().chain(&directories).map(|digest| digest.size).sum();
        let tree = Arc::new(WholeTree { bytes, blobs, _pin: pin });
        self.keep(*root, &tree);
        Ok(Verdict::Whole(tree))
    }

    /// Drops the verdicts that nobody asked for lately; tells whether any are left.
    pub(crate) fn expire(&self) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        known.trees.retain(|_, (_, used)| now.duration_since(*used) < self.keep);
        known.blobs = known.trees.values().map(|(tree, _)| tree.blobs).sum();
        !known.trees.is_empty()
    }

    pub(crate) const fn keep_for(&self) -> Duration {
        self.keep
    }

    fn keep(&self, root: Digest, tree: &Arc<WholeTree>) {
        let mut known = self.lock();
        if known.trees.insert(root, (Arc::clone(tree), Instant::now())).is_none() {
            known.blobs += tree.blobs;
        }
        while known.blobs > MAX_PINNED && known.trees.len() > 1 {
            let oldest =
                known.trees.iter().min_by_key(|(_, (_, used))| *used).map(|(digest, _)| *digest);
            let Some((gone, _)) = oldest.and_then(|digest| known.trees.remove(&digest)) else {
                return;
            };
            known.blobs -= gone.blobs;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
