//! The memory in which calls look at what the store has, beside that of their messages: decoded results, commands, trees.
//!
//! Nobody knows what a tree takes before it was looked at. So a look has little room at first, and begins again with more where
//! that was too little. Small looks and large ones wait in lines of their own: first behind those of the same client, then
//! behind one of each other client, so that nobody waits for all that somebody else has sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a look may take at first, bytes.
pub const FIRST_LOOK: usize = 4 << 20;
/// The largest of the small looks: some 300,000 files.
pub const SMALL_LOOK: usize = 32 << 20;
/// What a look takes that is too large for that, before it takes all: several of this size go on at once.
const MIDDLE_LOOK: usize = 96 << 20;
/// The largest look: a directory of 64 MiB, and what it becomes.
pub const LARGEST_LOOK: usize = 384 << 20;

/// What all small looks take together, and those of one client.
const SMALL: (usize, usize) = (128 << 20, 64 << 20);
/// The same of large ones: one that takes all, or several that take less.
const LARGE: (usize, usize) = (LARGEST_LOOK, LARGEST_LOOK);
const KIB: usize = 1 << 10;

/// What a look may keep in memory, and what it keeps until now.
#[derive(Debug)]
pub struct Room {
    most: usize,
    kept: usize,
    /// Whether nobody wants what the look finds any more.
    is_over: Option<Arc<AtomicBool>>,
}

/// A look takes more memory than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes more than {0} bytes of memory to look at it")]
pub struct Tight(pub usize);

impl Room {
    /// So many bytes, of which nothing is used.
    pub const fn new(most: usize) -> Self {
        Self { most, kept: 0, is_over: None }
    }

    /// The same for a call that sets this once it is given up: from then on nothing has room.
    pub const fn of_call(most: usize, is_over: Arc<AtomicBool>) -> Self {
        Self { most, kept: 0, is_over: Some(is_over) }
    }

    /// All that it may keep.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Takes memory for as long as the look lasts.
    pub fn keep(&mut self, bytes: usize) -> Result<(), Tight> {
        self.kept = self.kept.saturating_add(bytes);
        self.passes(0)
    }

    /// What is left of it, for a part of the look that gives back what it takes.
    pub fn rest(&self) -> Self {
        let most = self.most.saturating_sub(self.kept);
        Self { most, kept: 0, is_over: self.is_over.clone() }
    }

    /// Memory that is given back at once, such as that of a message which is read and thrown away.
    pub fn passes(&self, bytes: usize) -> Result<(), Tight> {
        let is_over = self.is_over.as_ref().is_some_and(|it| it.load(Ordering::Relaxed));
        if is_over || self.kept.saturating_add(bytes) > self.most {
            return Err(Tight(self.most));
        }
        Ok(())
    }
}

/// The lines of all clients, or of one.
#[derive(Debug)]
pub(crate) struct Lines {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Lines {
    pub(crate) fn of_all() -> Self {
        Self::new(SMALL.0, LARGE.0)
    }

    pub(crate) fn of_one() -> Self {
        Self::new(SMALL.1, LARGE.1)
    }

    fn new(small: usize, large: usize) -> Self {
        let line = |bytes| Arc::new(Semaphore::new(bytes / KIB));
        Self { small: line(small), large: line(large) }
    }

    /// Waits in a line. What is above the largest look takes as much as that.
    pub(crate) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let line = if bytes <= SMALL_LOOK { &self.small } else { &self.large };
        let kib = u32::try_from(bytes.min(LARGEST_LOOK).div_ceil(KIB)).unwrap_or(u32::MAX);
        // None of them is ever closed.
        Arc::clone(line).acquire_many_owned(kib).await.ok()
    }
}

/// Memory that a look takes, until it is dropped.
#[derive(Debug)]
pub struct Look {
    pub(crate) of_all: Option<OwnedSemaphorePermit>,
    pub(crate) of_one: Option<OwnedSemaphorePermit>,
}

impl Look {
    /// Gives back all but so many bytes: what it has found takes less than finding it.
    pub fn shrink(&mut self, bytes: usize) {
        let keep = bytes.div_ceil(KIB);
        for permit in [&mut self.of_all, &mut self.of_one].into_iter().flatten() {
            let more = permit.num_permits().saturating_sub(keep);
            drop(permit.split(more));
        }
    }
}

/// How much room a look has, from the first time on, that expects to take so many bytes.
pub fn rooms(expected: usize) -> impl Iterator<Item = usize> {
    let first = expected.clamp(FIRST_LOOK, LARGEST_LOOK);
    let later =
        [SMALL_LOOK, MIDDLE_LOOK, LARGEST_LOOK].into_iter().filter(move |room| *room > first);
    std::iter::once(first).chain(later)
}
