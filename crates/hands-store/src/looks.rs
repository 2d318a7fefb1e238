//! Looks at staged trees in use: whether anything in them was touched since they were known to be right.
//!
//! A look asks the file system for inode, mode, size, modification and change time of each entry and compares a sum of
//! it all (see `sum`); it reads no content. A tree that was touched is read in whole (see `soundness`) before it is used
//! again. So that warm trees stay cheap, a tree is looked at again only when fifty times as long has passed as a look
//! takes: two per cent of the time at most, for each tree. Results of actions are noted until a later look has found the
//! tree untouched; when the tree proves damaged instead, they are the ones that may be wrong.
//!
//! One thread at a time looks at a tree or reads it. It holds no lock meanwhile: whoever must not block can still note
//! results and ask what is known.

pub(crate) mod sum;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hands_types::Digest;

use crate::db::lock;
use crate::error::StageError;
use crate::linked::Linked;
use crate::looks::sum::{Purpose, Sum, sum};
use crate::soundness::Soundness;
use crate::stage::Staged;
use crate::store::{Inner, Store};
use crate::trees::Tree;

/// A tree is looked at again after this many times what a look takes.
const REST: u32 = 50;
/// And no sooner than this.
const LEAST: Duration = Duration::from_millis(100);
/// A look that took no longer than this is done where no thread is to be blocked: actions with small trees start in the
/// order in which they came. A quick look that turns out to take longer is given up.
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
pub(crate) struct Looks {
    known: Mutex<Known>,
    /// Told when a [`Turn`] ends.
    free: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    /// What the file system said when the tree was known to be right.
    sum: Option<u64>,
    /// When it was last looked at, and how long that took.
    last: Option<(Instant, Duration)>,
    /// Results since.
    made: Vec<Made>,
    /// Whether somebody has the [`Turn`].
    is_taken: bool,
}

/// How a tree is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// If that is due, after whoever looks at it now.
    Due,
    /// If that is due, unless it takes more than a moment or somebody looks at it now.
    Quick,
    Now,
}

impl Looks {
    /// The tree was just made: what stands there now is right.
    pub(crate) fn taken(path: &Path, linked: &Linked) -> io::Result<Self> {
        let sum = sum(path, linked, Purpose::Take, None)?;
        let last = Some((Instant::now(), sum.took));
        let known = Known { sum: Some(sum.total), last, ..Known::default() };
        Ok(Self { known: Mutex::new(known), free: Condvar::new() })
    }

    /// Whether a look is due and nobody is looking.
    pub(crate) fn is_due_and_free(&self, now: Instant) -> bool {
        let known = lock(&self.known);
        known.is_due(now) && !known.is_taken
    }

    fn is_due(&self, now: Instant) -> bool {
        lock(&self.known).is_due(now)
    }

    fn is_quick(&self) -> bool {
        lock(&self.known).last.is_some_and(|(_, took)| took <= QUICK)
    }

    pub(crate) fn has_notes(&self) -> bool {
        !lock(&self.known).made.is_empty()
    }

    fn note(&self, made: &Made) {
        let mut known = lock(&self.known);
        if known.made.last() != Some(made) {
            known.made.push(made.clone());
        }
    }

    /// The right to look at the tree or to read it; waits for whoever has it.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut known = lock(&self.known);
        while known.is_taken {
            known = self.free.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
        known.is_taken = true;
        Turn { looks: self, begun: Instant::now(), noted: known.made.len() }
    }

    /// The same, if nobody has it.
    fn try_turn(&self) -> Option<Turn<'_>> {
        let mut known = lock(&self.known);
        if std::mem::replace(&mut known.is_taken, true) {
            return None;
        }
        Some(Turn { looks: self, begun: Instant::now(), noted: known.made.len() })
    }
}

impl Known {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|(at, took)| now.duration_since(at) >= LEAST.max(took * REST))
            || self.made.len() >= MOST_MADE
    }
}

/// The right to look at a tree or to read it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    looks: &'a Looks,
    begun: Instant,
    /// Results that were noted before it began: they are confirmed by what it finds, later ones are not.
    noted: usize,
}

impl Turn<'_> {
    fn expects(&self, sum: &Sum) -> bool {
        lock(&self.looks.known).sum == Some(sum.total)
    }

    /// The tree is right as it stands.
    pub(crate) fn confirm(&self, sum: &Sum) {
        let mut known = lock(&self.looks.known);
        known.sum = Some(sum.total);
        known.last = Some((Instant::now(), sum.took));
        known.made.drain(..self.noted);
    }

    /// The tree is damaged: what was made with it.
    fn refute(&self) -> Vec<Made> {
        std::mem::take(&mut lock(&self.looks.known).made)
    }

    /// A quick look was given up: this one and the next is left to a thread that may block.
    fn is_slow(&self) {
        if let Some((_, took)) = &mut lock(&self.looks.known).last {
            *took = self.begun.elapsed().max(QUICK * 2);
        }
    }

    /// Nothing was found out; it is tried again when that is due.
    pub(crate) fn give_up(&self) {
        lock(&self.looks.known).last = Some((Instant::now(), self.begun.elapsed()));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.looks.known).is_taken = false;
        self.looks.free.notify_all();
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
        self.look_at_both(tree, How::Due)
    }

    /// The same, but it takes a moment only. False also where the look would take longer.
    pub(crate) fn look_quickly(&self, tree: &Tree) -> bool {
        self.look_at_both(tree, How::Quick)
    }

    fn look_at_both(&self, tree: &Tree, how: How) -> bool {
        let base = tree.base.as_ref().is_none_or(|base| self.look_at_one(base, how));
        // Both, so that each counts as looked at.
        self.look_at_one(tree, how) && base
    }

    /// Looks at a tree that nobody holds any more a last time, if results of it are not confirmed yet. It is not read:
    /// what is corrupt is taken out by the very thread that evicts, and the tree goes anyway.
    pub(crate) fn last_look(&self, tree: &Tree) {
        if tree.looks.has_notes() && !tree.health.is_spoiled() && !self.look_at_one(tree, How::Now)
        {
            self.tell_damage(tree, tree.looks.turn().refute());
        }
    }

    fn look_at_one(&self, tree: &Tree, how: How) -> bool {
        let is_done = || how != How::Now && !tree.looks.is_due(Instant::now());
        if tree.health.is_sound() && is_done() {
            return true;
        }
        let turn = match how {
            How::Due | How::Now => tree.looks.turn(),
            How::Quick => match tree.looks.try_turn() {
                Some(turn) => turn,
                None => return false,
            },
        };
        if !tree.health.is_sound() {
            return false;
        }
        // Whoever had the turn before has looked.
        if is_done() {
            return true;
        }
        let path = self.tree_path(tree);
        let limit = (how == How::Quick).then_some(QUICK);
        match sum(&path, &self.linked, Purpose::Look, limit) {
            Ok(sum) if turn.expects(&sum) => {
                turn.confirm(&sum);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                turn.is_slow();
                false
            }
            found => {
                let error = found.err().map(|error| error.to_string());
                tracing::warn!(path = %path.display(), error, "a staged tree was touched while in use and is read again");
                tree.health.forget();
                false
            }
        }
    }

    /// All of the tree was read, since `sum` was taken. A damaged one takes with it what was made since the last good
    /// look; of one that could not be compared nothing is known that was not known before.
    pub(crate) fn end_look(&self, tree: &Tree, turn: &Turn<'_>, sum: &Sum, found: Soundness) {
        match found {
            Soundness::Sound => {
                self.linked.note(&sum.links);
                turn.confirm(sum);
            }
            Soundness::Damaged => self.tell_damage(tree, turn.refute()),
            Soundness::Unknown => turn.give_up(),
        }
    }

    fn tell_damage(&self, tree: &Tree, made: Vec<Made>) {
        let operations: Vec<&str> = made.iter().map(|made| &*made.operation).take(32).collect();
        if !made.is_empty() {
            tracing::error!(
                root = %tree.root, results = made.len(), operations = operations.join(" "),
                "results may be wrong: a staged tree was damaged after it was last found right"
            );
        }
        lock(&self.damages).push(Damage { root: tree.root, made });
    }

    pub(crate) fn tree_path(&self, tree: &Tree) -> PathBuf {
        self.trees.dir.join(tree.id.to_string())
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
        self.inner.trees.doubted().iter().any(|tree| tree.looks.is_due_and_free(now))
    }

    /// Looks at the trees whose last results no look has confirmed yet, where that is due. Blocks: a microsecond for
    /// each entry of a tree, and as long as it takes to read one that was touched.
    pub fn look(&self) {
        for tree in self.inner.trees.doubted() {
            // Whoever wants a tree that was touched would find out; its results are wanted now.
            if tree.looks.is_due_and_free(Instant::now())
                && !self.inner.look(&tree)
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

    /// Looks at the tree if that is due. False if it is damaged: then what was made with it may be wrong. Fails if it was
    /// touched and can't be compared with what it should be. Blocks as [`Store::look`] does.
    pub fn confirm(&self) -> Result<bool, StageError> {
        let inner = &self.store.inner;
        if self.tree.is_sound() && inner.look(&self.tree) {
            return Ok(true);
        }
        match inner.check(&self.tree)? {
            Soundness::Sound => Ok(true),
            Soundness::Damaged => Ok(false),
            Soundness::Unknown => Err(StageError::Missing(vec![self.tree.root])),
        }
    }

    /// Notes a result that was made with the tree, until a look confirms it.
    pub fn note(&self, made: &Made) {
        self.tree.looks.note(made);
        if let Some(base) = &self.tree.base {
            base.looks.note(made);
        }
    }
}

#[cfg(test)]
mod tests;
