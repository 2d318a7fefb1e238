//! The staged trees that there are. A tree is in use while somebody besides this table holds it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Instant;

use hands_tree::{Directory, Lru};
use hands_types::{Digest, Mtime};

use crate::db::lock;
use crate::error::StoreError;
use crate::files::Face;
use crate::looks::Looks;
use crate::store::Inner;

/// A tree as the database has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredTree {
    pub(crate) id: u64,
    /// `None` if its key can't be read.
    pub(crate) root: Option<Digest>,
    pub(crate) base: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) used: u64,
}

/// A directory tree on disk that is never changed.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its directory's name.
    pub(crate) id: u64,
    pub(crate) root: Digest,
    /// The whole tree that a delta lies over; held, so that it stays as long.
    pub(crate) base: Option<Arc<Self>>,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) used: AtomicU64,
    pub(crate) health: Health,
    pub(crate) looks: Looks,
}

/// Whether a tree on disk is what its digest says. One that stood there before this process began is read before it is
/// used: a disk may have spoiled it.
#[derive(Debug)]
pub(crate) struct Health(AtomicU8);

const UNKNOWN: u8 = 0;
const SOUND: u8 = 1;
const SPOILED: u8 = 2;

impl Health {
    pub(crate) const fn sound() -> Self {
        Self(AtomicU8::new(SOUND))
    }

    pub(crate) fn set(&self, sound: bool) {
        self.0.store(if sound { SOUND } else { SPOILED }, Ordering::Release);
    }

    /// It has to be read again; unless it is known to be spoiled, which it stays.
    pub(crate) fn forget(&self) {
        // A refusal is one that was not sound.
        let _was = self.0.compare_exchange(SOUND, UNKNOWN, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn is_spoiled(&self) -> bool {
        self.0.load(Ordering::Acquire) == SPOILED
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.0.load(Ordering::Acquire) == SOUND
    }
}

#[derive(Debug)]
pub(crate) struct Trees {
    pub(crate) dir: PathBuf,
    state: Mutex<State>,
    /// Told when a tree is staged, or has failed to be.
    pub(crate) changed: Condvar,
    next_id: AtomicU64,
    /// Decoded directories.
    pub(crate) directories: Mutex<Lru<Digest, Arc<Directory>>>,
    whiteouts: OnceLock<bool>,
    /// Files of large blobs beside their own that this process has made or read.
    faces: Mutex<Lru<Face, ()>>,
    /// Times that the disk may have no room for, and what it keeps of them.
    pub(crate) kept_times: Mutex<Lru<Mtime, (i64, i64)>>,
    /// Held while a face comes or goes.
    pub(crate) placing: Mutex<()>,
}

/// Faces that are remembered; others are read again.
const FACES: u64 = 65_536;

#[derive(Debug, Default)]
struct State {
    ready: HashMap<Digest, Arc<Tree>>,
    /// Deltas whose tree is ready as a whole now. They go when nobody uses them.
    retired: Vec<Arc<Tree>>,
    staging: HashSet<Digest>,
}

/// The answer to one who wants a tree.
pub(crate) enum Claim {
    Ready(Arc<Tree>),
    /// It is the caller's to stage, and then to call [`Trees::finish`]. A tree that stands there may do if it is sound.
    Yours(Option<Arc<Tree>>),
}

impl Trees {
    pub(crate) fn new(dir: PathBuf, stored: Vec<StoredTree>) -> Self {
        let mut ready: HashMap<Digest, Arc<Tree>> = HashMap::new();
        let mut by_id: BTreeMap<u64, Arc<Tree>> = BTreeMap::new();
        let mut retired = Vec::new();
        let next_id = stored.iter().map(|tree| tree.id).max().unwrap_or(0) + 1;
        for StoredTree { id, root, base, bytes, entries, used } in stored {
            // Rows come by id, and a base is older than what lies over it.
            let below = base.map(|base| by_id.get(&base).cloned());
            let (Some(root), true) = (root, dir.join(id.to_string()).is_dir()) else { continue };
            let base = match below {
                None => None,
                Some(Some(base)) => Some(base),
                Some(None) => continue,
            };
            let used = AtomicU64::new(used);
            let (health, looks) = (Health(AtomicU8::new(UNKNOWN)), Looks::default());
            let tree = Arc::new(Tree { id, root, base, bytes, entries, used, health, looks });
            by_id.insert(id, Arc::clone(&tree));
            retired.extend(ready.insert(root, tree));
        }
        let state = State { ready, retired, staging: HashSet::new() };
        Self {
            dir,
            state: Mutex::new(state),
            changed: Condvar::new(),
            next_id: AtomicU64::new(next_id),
            directories: Mutex::default(),
            whiteouts: OnceLock::new(),
            faces: Mutex::default(),
            kept_times: Mutex::default(),
            placing: Mutex::default(),
        }
    }

    /// Whether a difference can say here that something is gone. Not on an overlay, the usual file system of a
    /// container: there the mark is the file system's own.
    pub(crate) fn takes_whiteouts(&self) -> bool {
        *self.whiteouts.get_or_init(|| {
            let name = format!("probe-{}", self.new_id());
            let made = std::fs::File::open(&self.dir)
                .and_then(|dir| Ok(crate::materialize::whiteout(&dir, &name)?))
                .and_then(|()| std::fs::remove_file(self.dir.join(&name)));
            made.inspect_err(|error| {
                tracing::debug!(%error, "trees that lack something of another are staged whole");
            })
            .is_ok()
        })
    }

    /// The tree if it is staged, as a `whole` if that is asked for; otherwise waits for who is staging it, or leaves it
    /// to the caller.
    pub(crate) fn claim(&self, root: &Digest, whole: bool, now: u64) -> Claim {
        let mut state = lock(&self.state);
        loop {
            let found = state.ready.get(root).filter(|tree| !whole || tree.base.is_none());
            let found = found.map(Arc::clone);
            if let Some(tree) = &found {
                tree.touch(now);
                if tree.is_sound() {
                    return Claim::Ready(Arc::clone(tree));
                }
            }
            if state.staging.insert(*root) {
                return Claim::Yours(found);
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// The tree if it is staged, known to be sound, and no look at it is due but one that takes a moment.
    pub(crate) fn ready(&self, root: &Digest, now: u64) -> Option<Arc<Tree>> {
        let state = lock(&self.state);
        let fresh = |tree: &&Arc<Tree>| {
            tree.is_sound() && (!tree.is_look_due(Instant::now()) || tree.is_look_quick())
        };
        state.ready.get(root).filter(fresh).map(|tree| {
            tree.touch(now);
            Arc::clone(tree)
        })
    }

    /// Trees with results that no look has confirmed.
    pub(crate) fn doubted(&self) -> Vec<Arc<Tree>> {
        let state = lock(&self.state);
        let trees = state.ready.values().chain(&state.retired);
        trees
            .filter(|tree| tree.looks.has_notes() && !tree.health.is_spoiled())
            .map(Arc::clone)
            .collect()
    }

    pub(crate) fn finish(&self, root: &Digest, tree: Option<&Arc<Tree>>) {
        let mut state = lock(&self.state);
        state.staging.remove(root);
        if let Some(tree) = tree {
            let before = state.ready.insert(*root, Arc::clone(tree));
            state.retired.extend(before.filter(|before| before.id != tree.id));
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn knows_face(&self, face: &Face) -> bool {
        lock(&self.faces).get(face).is_some()
    }

    pub(crate) fn forget_face(&self, face: &Face) {
        lock(&self.faces).remove(face);
    }

    pub(crate) fn face_is_sound(&self, face: &Face) {
        let mut faces = lock(&self.faces);
        faces.insert(*face, (), 1);
        faces.shrink(FACES);
    }

    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whole trees that a delta can lie over, the most recently used first.
    pub(crate) fn bases(&self, function: hands_types::DigestFunction, n: usize) -> Vec<Arc<Tree>> {
        let state = lock(&self.state);
        let mut bases: Vec<(u64, Arc<Tree>)> = state
            .ready
            .values()
            .filter(|tree| tree.root.function == function)
            .map(|tree| (tree.used.load(Ordering::Relaxed), tree.base.as_ref().unwrap_or(tree)))
            .filter(|(_, tree)| !tree.health.is_spoiled())
            .map(|(used, tree)| (used, Arc::clone(tree)))
            .collect();
        drop(state);
        bases.sort_unstable_by_key(|(used, tree)| (std::cmp::Reverse(*used), tree.id));
        let mut seen = HashSet::new();
        bases.retain(|(_, tree)| seen.insert(tree.id));
        bases.truncate(n);
        bases.into_iter().map(|(_, tree)| tree).collect()
    }

    /// Roots of what is staged, the most recently used first.
    pub(crate) fn roots(&self, n: usize) -> Vec<Digest> {
        let state = lock(&self.state);
        let ready = state.ready.values().filter(|tree| !tree.health.is_spoiled());
        let mut roots: Vec<(u64, u64, Digest)> =
            ready.map(|tree| (tree.used.load(Ordering::Relaxed), tree.id, tree.root)).collect();
        drop(state);
        roots.sort_unstable_by_key(|(used, id, _)| std::cmp::Reverse((*used, *id)));
        roots.truncate(n);
        roots.into_iter().map(|(_, _, root)| root).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        let state = lock(&self.state);
        state.ready.values().chain(&state.retired).map(|tree| tree.bytes).sum()
    }

    pub(crate) fn len(&self) -> u64 {
        lock(&self.state).ready.len() as u64
    }

    /// Whether somebody holds a tree.
    pub(crate) fn in_use(&self) -> bool {
        let state = lock(&self.state);
        if !state.staging.is_empty() {
            return true;
        }
        // A tree is held by this table, directly and as a base of others.
        let all = || state.ready.values().chain(&state.retired);
        let mut deltas: HashMap<u64, usize> = HashMap::new();
        for base in all().filter_map(|tree| tree.base.as_ref()) {
            *deltas.entry(base.id).or_insert(0) += 1;
        }
        all().any(|tree| {
            Arc::strong_count(tree) > 1 + deltas.get(&tree.id).copied().unwrap_or_default()
        })
    }

    pub(crate) fn uses(&self) -> Vec<(u64, u64)> {
        lock(&self.state)
            .ready
            .values()
            .map(|tree| (tree.id, tree.used.load(Ordering::Relaxed)))
            .collect()
    }

    /// Takes out the least recently used tree that nobody holds and that was used before `before`.
    fn evict(&self, before: u64) -> Option<Arc<Tree>> {
        let mut state = lock(&self.state);
        if let Some(at) = state.retired.iter().position(|tree| Arc::strong_count(tree) == 1) {
            return Some(state.retired.swap_remove(at));
        }
        let oldest = state
            .ready
            .values()
            // Only the table holds it: no user, and no delta that lies over it.
            .filter(|tree| Arc::strong_count(tree) == 1)
            .min_by_key(|tree| (tree.used.load(Ordering::Relaxed), tree.id))?;
        if oldest.used.load(Ordering::Relaxed) >= before {
            return None;
        }
        let root = oldest.root;
        state.ready.remove(&root)
    }
}

impl Tree {
    pub(crate) fn is_sound(&self) -> bool {
        self.health.is_sound() && self.base.as_ref().is_none_or(|base| base.health.is_sound())
    }

    pub(crate) fn touch(&self, now: u64) {
        self.used.fetch_max(now, Ordering::Relaxed);
        if let Some(base) = &self.base {
            base.touch(now);
        }
    }
}

impl Inner {
    /// Evicts trees that were used before `before`, until about `wanted` bytes are free; answers with the bytes freed.
    pub(crate) fn evict_trees(&self, before: u64, wanted: u64) -> Result<u64, StoreError> {
        let mut freed = 0;
        while freed < wanted {
            let Some(tree) = self.trees.evict(before) else { break };
            self.last_look(&tree);
            freed += tree.bytes.max(1);
            let id = tree.id;
            self.writer.run("forget a staged tree", move |connection| {
                connection
                    .prepare_cached("DELETE FROM trees WHERE id = ?1")?
                    .execute([id.cast_signed()])?;
                Ok(())
            })?;
            self.linked.remove_all(&self.trees.dir.join(id.to_string()))?;
        }
        if freed > 0 {
            freed += self.remove_unused_faces()?;
        }
        Ok(freed)
    }
}
