//! Walking input trees.
//!
//! From directory handles, by names: no path is ever opened twice and no link ever followed. One pass lists and stats;
//! files that the stat cache does not vouch for are read, hashed and (for the embedded store) written in the same read,
//! on two threads; then the directories are encoded from the leaves up.

mod files;
mod left_out;
mod listing;
mod rules;
mod tree;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hands_types::{Digest, DigestFunction, RelPath};

use crate::error::SnapshotError;
use crate::stat_cache::{Clock, StatCache};

use files::Files;
pub(crate) use left_out::LeftOut;
use tree::Encoded;

/// One path that becomes part of the input root.
#[derive(Debug)]
pub(crate) struct WalkInput {
    /// The directory itself, or the one that holds `entry`.
    pub(crate) directory: OwnedFd,
    /// A single entry of the directory.
    pub(crate) entry: Option<String>,
    /// Where it appears in the input root.
    pub(crate) place: RelPath,
    /// Leave out what ignore files name.
    pub(crate) respect_ignore: bool,
    /// The path as the person named it, for messages.
    pub(crate) display: String,
}

/// Where file contents go.
pub(crate) trait Sink: Sync {
    /// Reads a file from where it stands to its end. An embedded store takes the content in the same pass.
    fn ingest(&self, file: &mut std::fs::File) -> Result<Ingest, SnapshotError>;
    /// Whether [`Sink::ingest`] stores what it reads.
    fn stores(&self) -> bool;
}

/// What came of reading a file.
#[derive(Debug)]
pub(crate) enum Ingest {
    /// All of it, with this digest.
    Whole(Digest),
    /// It grew or shrank meanwhile.
    Changed,
    /// It can't be read.
    Failed(std::io::Error),
}

/// Counted while the walk goes on; read by whoever shows progress.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) files: AtomicU64,
    pub(crate) bytes_hashed: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    /// Set when nobody waits for the result any more.
    pub(crate) cancelled: AtomicBool,
}

impl Progress {
    pub(crate) fn check(&self) -> Result<(), SnapshotError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(SnapshotError::Cancelled) } else { Ok(()) }
    }
}

/// What a walk is given.
pub(crate) struct Walk<'a> {
    pub(crate) inputs: &'a [WalkInput],
    /// A directory that is there even when no input brings it.
    pub(crate) working_directory: &'a RelPath,
    pub(crate) function: DigestFunction,
    /// Whether the nodes carry the times that they have here.
    pub(crate) times: bool,
    pub(crate) cache: &'a StatCache,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) sink: &'a dyn Sink,
    pub(crate) progress: &'a Progress,
    /// Threads that read and hash.
    pub(crate) threads: usize,
}

/// A walked tree: its files with their digests, and the encoded directories.
pub(crate) struct Walked<'a> {
    files: Files<'a>,
    tree: tree::Tree,
    encoded: Encoded,
}

impl<'a> Walk<'a> {
    /// Walks, hashes, encodes.
    pub(crate) fn run(&self) -> Result<Walked<'a>, SnapshotError> {
        let mut files = Files::new(self.inputs, self.times);
        let tree = listing::list(self, &mut files)?;
        files.hash_pending(self)?;
        let encoded = tree::encode(&tree, &files, self.function);
        Ok(Walked { files, tree, encoded })
    }

    /// Reads again the files whose blobs `missing` says are not in the store although the cache knew their digests.
    /// Returns whether the tree has changed by it.
    pub(crate) fn reread(
        &self,
        walked: &mut Walked<'a>,
        missing: &std::collections::HashSet<Digest>,
    ) -> Result<bool, SnapshotError> {
        if !walked.files.reread(self, missing)? {
            return Ok(false);
        }
        walked.encoded = tree::encode(&walked.tree, &walked.files, self.function);
        Ok(true)
    }
}

impl Walked<'_> {
    /// The root's digest.
    pub(crate) fn root(&self) -> Digest {
        self.encoded.root
    }

    /// The encoded directories.
    pub(crate) fn directories(&self) -> &std::collections::HashMap<Digest, bytes::Bytes> {
        &self.encoded.directories
    }

    /// Every blob of the tree: directories and files, each once.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        let mut all: Vec<Digest> = self.encoded.directories.keys().copied().collect();
        all.extend(self.files.digests());
        all.sort_unstable();
        all.dedup();
        all.retain(|d| !d.is_empty());
        all
    }

    /// Number of files, and their bytes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.files.totals()
    }

    /// What is here, or was when it was listed, and not in the tree.
    pub(crate) fn left_out(&self) -> &LeftOut {
        &self.files.left_out
    }

    /// Opens the file that has this content, for an upload; none where it has vanished.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Option<std::fs::File>, SnapshotError> {
        self.files.open_by_digest(digest)
    }
}

#[cfg(test)]
mod tests;
