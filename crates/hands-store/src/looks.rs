//! Looks at staged trees in use: whether anything in them was touched since they were known to be right.
//!
//! A look asks the file system for inode, mode, size, modification and change time of each entry and compares a sum of
//! it all; it reads no content. A tree that was touched is read in whole (see `soundness`) before it is used again. So
//! that warm trees stay cheap, a tree is looked at again only when fifty times as long has passed as a look takes: two
//! per cent of the time at most. Results of actions are noted until a later look has found the tree untouched; when the
//! tree proves damaged instead, they are the ones that may be wrong.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hands_types::Digest;

use crate::db::lock;
use crate::linked::{Link, Linked};
use crate::stage::Staged;
use crate::store::{Inner, Store};
use crate::trees::Tree;

/// A tree is looked at again after this many times what a look takes.
const REST: u32 = 50;
/// And no sooner than this.
const LEAST: Duration = Duration::from_millis(100);
/// A look that took no longer than this is done where no thread is to be blocked: actions with small trees start in the
/// order in which they came.
const QUICK: Duration = Duration::from_millis(1);
/// Results noted of one tree; when there are more the tree is looked at whatever the time.
const MOST_MADE: usize = 4096;

/// A result of an action, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The operation, as people name it.
    pub operation: Arc<str>,
    /// The action cache in which the result may be.
    pub instance: Arc<str>,
    /// The action.
    pub action: Digest,
}

/// A staged tree that was found damaged while it was in use.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The tree.
    pub root: Digest,
    /// What was made with it since the last look that found it right: the results that may be wrong.
    pub made: Vec<Made>,
}

/// What is known of one tree.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What the file system said when the tree was known to be right.
    sum: Option<u64>,
    /// When it was last looked at, and how long that took.
    last: Option<(Instant, Duration)>,
    /// Results since.
    made: Vec<Made>,
}

impl Looks {
    /// The tree was just made: what stands there now is right.
    pub(crate) fn taken(path: &Path, linked: &Linked) -> io::Result<Self> {
        let looks = Self::default();
        looks.retake(&sum(path, linked, Purpose::Take)?);
        Ok(looks)
    }

    fn retake(&self, sum: &Sum) {
        let mut known = lock(&self.0);
        known.sum = Some(sum.total);
        known.last = Some((Instant::now(), sum.took));
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        lock(&self.0).is_due(now)
    }

    fn is_quick(&self) -> bool {
        lock(&self.0).last.is_some_and(|(_, took)| took <= QUICK)
    }

    fn note(&self, made: &Made) {
        let mut known = lock(&self.0);
        if known.made.last() != Some(made) {
            known.made.push(made.clone());
        }
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|(at, took)| now.duration_since(at) >= LEAST.max(took * REST))
            || self.made.len() >= MOST_MADE
    }
}

impl Tree {
    /// Whether a look at it, or at the tree below it, is due.
    pub(crate) fn is_look_due(&self, now: Instant) -> bool {
        self.looks.is_due(now) || self.base.as_ref().is_some_and(|base| base.looks.is_due(now))
    }

    /// Whether a look at it and at the tree below it takes a moment only.
    pub(crate) fn is_look_quick(&self) -> bool {
        self.looks.is_quick() && self.base.as_ref().is_none_or(|base| base.looks.is_quick())
    }
}

impl Inner {
    /// Looks at a tree where that is due. False if it was touched: then it has to be read before it is used again.
    pub(crate) fn look(&self, tree: &Tree) -> bool {
        let base = tree.base.as_ref().is_none_or(|base| self.look_at_one(base, When::Due));
        // Both, so that each counts as looked at.
        self.look_at_one(tree, When::Due) && base
    }

    /// Looks at a tree a last time if results of it are not confirmed yet.
    pub(crate) fn last_look(&self, tree: &Tree) {
        if tree.looks.has_notes()
            && !self.look_at_one(tree, When::Now)
            && let Err(error) = self.check(tree)
        {
            tracing::warn!(%error, root = %tree.root, "a staged tree that was touched can't be read");
        }
    }

    fn look_at_one(&self, tree: &Tree, when: When) -> bool {
        let mut known = lock(&tree.looks.0);
        if !tree.health.is_sound() {
            return false;
        }
        if !known.is_due(Instant::now()) && when == When::Due {
            return true;
        }
        let path = self.trees.dir.join(tree.id.to_string());
        match sum(&path, &self.linked, Purpose::Look) {
            Ok(sum) if known.sum == Some(sum.total) => {
                known.last = Some((Instant::now(), sum.took));
                known.made.clear();
                true
            }
            found => {
                let error = found.err().map(|error| error.to_string());
                tracing::warn!(path = %path.display(), error, "a staged tree was touched while in use and is read again");
                tree.health.forget();
                false
            }
        }
    }

    /// Begins a look before the content is read, so that what is touched meanwhile shows at the next one.
    pub(crate) fn begin_look(&self, tree: &Tree) -> Option<Sum> {
        sum(&self.trees.dir.join(tree.id.to_string()), &self.linked, Purpose::Take).ok()
    }

    /// All of the tree was read. A damaged one takes with it what was made since the last good look.
    pub(crate) fn end_look(&self, tree: &Tree, sum: Option<Sum>, is_sound: bool) {
        let made = std::mem::take(&mut lock(&tree.looks.0).made);
        if let Some(sum) = sum.filter(|_| is_sound) {
            self.linked.note(&sum.links);
            return tree.looks.retake(&sum);
        }
        let operations: Vec<&str> = made.iter().map(|made| &*made.operation).take(32).collect();
        if !made.is_empty() {
            tracing::error!(
                root = %tree.root, results = made.len(), operations = operations.join(" "),
                "results may be wrong: a staged tree was damaged after it was last found right"
            );
        }
        lock(&self.damages).push(Damage { root: tree.root, made });
    }
}

impl Store {
    /// Trees that were found damaged since this was last asked.
    pub fn damages(&self) -> Vec<Damage> {
        std::mem::take(&mut lock(&self.inner.damages))
    }

    /// Whether [`Store::look`] has something to do.
    pub fn is_look_due(&self) -> bool {
        let now = Instant::now();
        self.inner.trees.doubted().iter().any(|tree| tree.looks.is_due(now))
    }

    /// Looks at the trees whose last results no look has confirmed yet, where that is due. Blocks: a microsecond for
    /// each entry of a tree, and as long as it takes to read one that was touched.
    pub fn look(&self) {
        for tree in self.inner.trees.doubted() {
            // Whoever wants a tree that was touched would find out; its results are wanted now.
            if !self.inner.look(&tree)
                && let Err(error) = self.inner.check(&tree)
            {
                tracing::warn!(%error, root = %tree.root, "a staged tree that was touched can't be read");
            }
        }
    }
}

impl Staged {
    /// Whether [`Staged::confirm`] has something to do.
    pub fn is_look_due(&self) -> bool {
        !self.tree.is_sound() || self.tree.is_look_due(Instant::now())
    }

    /// Looks at the tree if that is due. False if it is damaged: then what was made with it may be wrong. Blocks as
    /// [`Store::look`] does.
    pub fn confirm(&self) -> bool {
        let inner = &self.store.inner;
        if self.tree.is_sound() && inner.look(&self.tree) {
            return true;
        }
        // A tree that can't be read is as good as damaged.
        inner.check(&self.tree).unwrap_or(false)
    }

    /// Notes a result that was made with the tree, until a look confirms it.
    pub fn note(&self, made: &Made) {
        self.tree.looks.note(made);
        if let Some(base) = &self.tree.base {
            base.looks.note(made);
        }
    }
}

impl Looks {
    pub(crate) fn has_notes(&self) -> bool {
        !lock(&self.0).made.is_empty()
    }
}

/// What the file system says of everything at a path, in one number that does not depend on the order of names.
#[derive(Debug)]
pub(crate) struct Sum {
    total: u64,
    took: Duration,
    /// Files with several names, as they are.
    links: Vec<Link>,
}

/// When a tree is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Due,
    Now,
}

/// What a sum is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// All that stands there is right, or is about to be read.
    Take,
    Look,
}

fn sum(path: &Path, linked: &Linked, purpose: Purpose) -> io::Result<Sum> {
    let begun = Instant::now();
    let metadata = path.symlink_metadata()?;
    let mut walk = Walk { linked, purpose, total: 0, links: Vec::new() };
    walk.add(0, b"", &metadata);
    if metadata.is_dir() {
        walk.below(path, metadata.ino())?;
    }
    Ok(Sum { total: walk.total, took: begun.elapsed(), links: walk.links })
}

struct Walk<'a> {
    linked: &'a Linked,
    purpose: Purpose,
    total: u64,
    links: Vec<Link>,
}

impl Walk<'_> {
    fn below(&mut self, path: &Path, inode: u64) -> io::Result<()> {
        for found in std::fs::read_dir(path)? {
            let found = found?;
            let metadata = found.metadata()?;
            self.add(inode, found.file_name().as_bytes(), &metadata);
            if metadata.is_dir() {
                self.below(&found.path(), metadata.ino())?;
            }
        }
        Ok(())
    }

    fn add(&mut self, parent: u64, name: &[u8], metadata: &Metadata) {
        let mut hasher = DefaultHasher::new();
        (parent, name, metadata.ino(), metadata.mode(), metadata.uid(), metadata.size())
            .hash(&mut hasher);
        (metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
        let found = Link::of(metadata);
        // Each new name changes an inode's time: what our own doing has left is known by the inode, for all trees.
        let own_doing = match self.purpose {
            Purpose::Take if metadata.is_file() && metadata.nlink() > 1 => {
                self.links.push(found);
                Some(true)
            }
            Purpose::Take => {
                self.linked.forget(metadata);
                None
            }
            Purpose::Look => self.linked.expects(&found),
        };
        match own_doing {
            Some(as_expected) => as_expected.hash(&mut hasher),
            None => found.changed.hash(&mut hasher),
        }
        self.total = self.total.wrapping_add(hasher.finish());
    }
}
