//! From a root digest to directories on disk that an overlay can be mounted over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hands_tree::{Change, ChangeKind, DiffError, Directory};
use hands_types::Digest;

use crate::directory::Walk;
use crate::error::{StageError, StoreError};
use crate::looks::Looks;
use crate::materialize::{Delta, Materializer};
use crate::pins::Pin;
use crate::recover::key;
use crate::soundness::Soundness;
use crate::store::{Inner, Store};
use crate::trees::{Claim, Health, Tree};

/// Trees that are compared with a new one.
const BASES: usize = 4;
/// Changes up to which a delta is made whatever the size of the tree.
const FEW: usize = 64;

/// Stages trees of one store.
#[derive(Clone, Debug)]
pub struct Stager {
    store: Store,
}

/// A staged tree. It stays on disk at least until the last clone of this is dropped.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(crate) tree: Arc<Tree>,
    lowers: Vec<PathBuf>,
    // Kept so that the store is not closed under a running action.
    pub(crate) store: Store,
}

impl Staged {
    /// The directories that make up the tree, topmost first, relative to [`Stager::root`]: the lower layers of an
    /// overlay. One is a whole tree; of two the first is what differs from the second.
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }

    /// The directory that they are relative to.
    pub(crate) fn root(&self) -> &Path {
        &self.store.inner.trees.dir
    }

    /// The digest of the tree's root directory.
    pub fn root_digest(&self) -> &Digest {
        &self.tree.root
    }
}

impl Store {
    /// What stages trees of this store.
    pub fn stager(&self) -> Stager {
        Stager { store: self.clone() }
    }
}

impl Stager {
    /// The directory in which staged trees stand.
    pub fn root(&self) -> &Path {
        &self.store.inner.trees.dir
    }

    /// Makes sure that a tree stands on disk: files 0644 or 0755, directories 0755, links as given, everything with the
    /// modification time that its node has, or else [`crate::INPUT_MTIME`]. Requests for the same root share the work.
    pub fn stage(&self, root: &Digest) -> Result<Staged, StageError> {
        self.stage_as(root, false)
    }

    /// The same, but as one directory: what is mounted without an overlay can't be a difference to another tree.
    pub fn stage_whole(&self, root: &Digest) -> Result<Staged, StageError> {
        self.stage_as(root, true)
    }

    fn stage_as(&self, root: &Digest, whole: bool) -> Result<Staged, StageError> {
        let inner = &self.store.inner;
        let tree = match inner.trees.claim(root, whole, inner.now()) {
            Claim::Ready(tree) if inner.look(&tree) => tree,
            // It was touched: whoever has the claim reads it.
            Claim::Ready(_) => return self.stage_as(root, whole),
            Claim::Yours(found) => {
                let mut claim = Unfinished { inner, root, tree: None };
                let tree = match found {
                    Some(tree) if inner.check(&tree)? == Soundness::Sound => tree,
                    // One that can't be compared needs what would make it anew, too.
                    Some(_) | None => inner.stage_new(root, whole)?,
                };
                claim.tree = Some(Arc::clone(&tree));
                tree
            }
        };
        Ok(self.staged(tree))
    }

    /// The tree if it is staged already and that is found out in a moment: what [`Stager::stage`] does, but it waits for
    /// nobody.
    pub fn ready(&self, root: &Digest) -> Option<Staged> {
        let inner = &self.store.inner;
        let tree = inner.trees.ready(root, inner.now())?;
        inner.look_quickly(&tree).then(|| self.staged(tree))
    }

    fn staged(&self, tree: Arc<Tree>) -> Staged {
        let lowers = std::iter::once(&tree)
            .chain(&tree.base)
            .map(|tree| tree.id.to_string().into())
            .collect();
        Staged { tree, lowers, store: self.store.clone() }
    }
}

/// Ends a claim, with a tree or without.
struct Unfinished<'a> {
    inner: &'a Inner,
    root: &'a Digest,
    tree: Option<Arc<Tree>>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.inner.trees.finish(self.root, self.tree.as_ref());
    }
}

impl Inner {
    fn stage_new(&self, root: &Digest, whole: bool) -> Result<Arc<Tree>, StageError> {
        let Some(directory) = self.directory(root)? else {
            return Err(StageError::Missing(vec![*root]));
        };
        let delta = if whole { None } else { self.stage_delta(root, &directory)? };
        let tree = match delta {
            Some(tree) => tree,
            None => self.stage_whole(root)?,
        };
        let row = (
            tree.id,
            tree.base.as_ref().map(|base| base.id.cast_signed()),
            tree.bytes,
            tree.entries,
        );
        let (root, used) = (tree.root, tree.used.load(Ordering::Relaxed));
        // The row is what makes it survive a restart; nobody needs to wait for it.
        self.writer.submit_quietly("write down a staged tree", move |connection| {
            connection
                .prepare_cached("INSERT INTO trees VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute((
                    row.0.cast_signed(),
                    key(&root),
                    root.size.cast_signed(),
                    row.1,
                    row.2.cast_signed(),
                    row.3.cast_signed(),
                    used.cast_signed(),
                ))?;
            Ok(())
        });
        Ok(tree)
    }

    fn stage_whole(&self, root: &Digest) -> Result<Arc<Tree>, StageError> {
        let walk = self.walk(root)?;
        let _pin = self.pin_present(&walk)?;
        let materializer = Materializer::new(self, &walk.directories);
        self.finish_tree(root, None, walk.entries, materializer, |materializer, path| {
            materializer.whole(path, root)
        })
    }

    /// Stages what differs from a tree that stands already. `None` if no tree is similar enough.
    fn stage_delta(
        &self,
        root: &Digest,
        directory: &Directory,
    ) -> Result<Option<Arc<Tree>>, StageError> {
        let mut best: Option<(Vec<Change>, Arc<Tree>)> = None;
        for base in self.trees.bases(root.function, BASES) {
            let limit = match &best {
                Some((changes, _)) => changes.len().saturating_sub(1),
                None => FEW.max(usize::try_from(base.entries / 4).unwrap_or(usize::MAX)),
            };
            // What a base was made from may have been evicted since; then it is no base any more.
            let Ok(Some(below)) = self.directory(&base.root) else { continue };
            let load = &mut |digest: &Digest| self.directory(digest).ok().flatten().ok_or(());
            match hands_tree::diff(&below, directory, limit, load) {
                Ok(changes) => best = Some((changes, base)),
                Err(DiffError::TooMany | DiffError::Load(())) => {}
            }
        }
        let Some((changes, base)) = best else { return Ok(None) };
        if self.check(&base)? != Soundness::Sound {
            return Ok(None);
        }
        let lacks = changes.iter().any(|change| matches!(change.kind, ChangeKind::Removed));
        if lacks && !self.trees.takes_whiteouts() {
            return Ok(None);
        }

        let mut walk = Walk::default();
        for change in &changes {
            match &change.kind {
                ChangeKind::File(node) => {
                    walk.entries += 1;
                    walk.files.insert(node.digest);
                }
                ChangeKind::Directory(node) => {
                    let depth = change.path.split('/').count();
                    self.walk_below(root, &node.digest, depth, &mut walk)?;
                }
                ChangeKind::Removed | ChangeKind::Symlink(_) | ChangeKind::Touched(_) => {
                    walk.entries += 1;
                }
            }
        }
        if walk.entries > (FEW as u64).max(base.entries / 4) {
            return Ok(None);
        }
        // A missing blob of a part that stands already is no reason to refuse: it is not needed.
        let _pin = self.pin_present(&walk)?;
        let delta = Delta::new(&changes);
        let entries = walk.entries;
        let materializer = Materializer::new(self, &walk.directories);
        self.finish_tree(root, Some(base), entries, materializer, |materializer, path| {
            materializer.delta(path, &delta, directory)
        })
        .map(Some)
    }

    /// Pins what a tree is made of, or tells everything that is missing.
    fn pin_present(&self, walk: &Walk) -> Result<Pin, StageError> {
        let files: Vec<Digest> = walk.files.iter().copied().collect();
        let pin = self.pins.pin(files);
        let mut missing: Vec<Digest> = walk.absent.iter().copied().collect();
        missing.extend(self.missing(pin.digests())?);
        if missing.is_empty() { Ok(pin) } else { Err(StageError::Missing(missing)) }
    }

    fn finish_tree(
        &self,
        root: &Digest,
        base: Option<Arc<Tree>>,
        entries: u64,
        mut materializer: Materializer<'_>,
        fill: impl FnOnce(&mut Materializer<'_>, &Path) -> Result<(), StageError>,
    ) -> Result<Arc<Tree>, StageError> {
        let id = self.trees.new_id();
        let path = self.trees.dir.join(id.to_string());
        let filled = fill(&mut materializer, &path).and_then(|()| {
            Looks::taken(&path, &self.linked)
                .map_err(|e| StoreError::io("look at", &path)(e).into())
        });
        let looks = match filled {
            Ok(looks) => looks,
            Err(error) => {
                if let Err(error) = self.linked.remove_all(&path) {
                    tracing::warn!(%error, "an unfinished tree stays until the next start");
                }
                return Err(match error {
                    // Corrupt blobs are found when they are read: the caller fetches them as it does others.
                    StageError::Missing(_) => StageError::Missing(materializer.take_missing()),
                    other => other,
                });
            }
        };
        let (bytes, used) = (materializer.bytes(), self.now());
        let (used, health) = (AtomicU64::new(used), Health::sound());
        Ok(Arc::new(Tree { id, root: *root, base, bytes, entries, used, health, looks }))
    }
}

/// Directories by digest, as a walk has loaded them.
pub(crate) type Directories = BTreeMap<Digest, Arc<Directory>>;

pub(crate) fn missing(
    directories: &Directories,
    digest: &Digest,
) -> Result<Arc<Directory>, StageError> {
    directories.get(digest).cloned().ok_or_else(|| StageError::Missing(vec![*digest]))
}
