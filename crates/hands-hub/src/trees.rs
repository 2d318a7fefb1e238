//! Whether an input tree is whole. A verdict is kept together with a pin on everything that it speaks of, so that no
//! eviction can make it wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hands_proto::{Charge, Room, Tight};
use hands_store::{LookError, Pin, StageError, Store, StoreError};
use hands_types::Digest;
use tokio::time::Instant;

/// Blobs that all kept verdicts may pin together. Beyond it those unused the longest are dropped.
const MAX_PINNED: usize = 1 << 20;

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
    charge: Arc<Charge>,
}

#[derive(Debug, Default)]
struct Known {
    trees: HashMap<Digest, (Arc<WholeTree>, Instant)>,
    blobs: usize,
}

impl Trees {
    /// `charge` is that of looks which are nobody's call.
    pub(crate) fn new(store: Store, keep: Duration, charge: Arc<Charge>) -> Self {
        Self { store, keep, known: Mutex::default(), charge }
    }

    /// What looks of the hub's own take.
    pub(crate) const fn charge(&self) -> &Arc<Charge> {
        &self.charge
    }

    /// A verdict that needs no look.
    pub(crate) fn known(&self, root: &Digest) -> Option<Arc<WholeTree>> {
        let mut known = self.lock();
        let (tree, used) = known.trees.get_mut(root)?;
        *used = Instant::now();
        Some(Arc::clone(tree))
    }

    /// Walks the tree, within a room. Blocks for as long as that takes.
    pub(crate) fn look(
        &self,
        root: &Digest,
        room: &mut Room,
    ) -> Result<Result<Verdict, StoreError>, Tight> {
        if let Some(tree) = self.known(root) {
            return Ok(Ok(Verdict::Whole(tree)));
        }
        // What was found is pinned before it is looked for, so that it can't go before the verdict is given.
        let mut pin = self.store.pin([]);
        let looked = self.store.look_at_tree(root, room, &mut |digests| {
            pin.add(digests.iter().copied());
        });
        let report = match looked {
            Ok(report) => report,
            Err(LookError::Tight(tight)) => return Err(tight),
            Err(LookError::Stage(StageError::Store(error))) => return Ok(Err(error)),
            Err(LookError::Stage(StageError::Missing(missing))) => {
                return Ok(Ok(Verdict::Missing(missing)));
            }
            Err(LookError::Stage(StageError::Invalid { digest, why })) => {
                return Ok(Ok(Verdict::Invalid { digest, why }));
            }
        };
        if !report.missing.is_empty() {
            return Ok(Ok(Verdict::Missing(report.missing)));
        }
        let bytes = report.blobs.iter().map(|digest| digest.size).sum();
        let tree = Arc::new(WholeTree { bytes, blobs: report.blobs.len(), _pin: pin });
        self.keep(*root, &tree);
        Ok(Ok(Verdict::Whole(tree)))
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
