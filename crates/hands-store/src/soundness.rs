//! Staged trees that stood there before this process began are read before they are used.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use hands_tree::{Directory, FileNode, Node};
use hands_types::{Digest, Mtime};

use crate::db::lock;
use crate::error::{StageError, StoreError};
use crate::files::{EXECUTABLE, FILE, Face, has_time};
use crate::looks::sum::{Purpose, Sum, sum};
use crate::read::digest_of_stream;
use crate::store::Inner;
use crate::trees::Tree;

/// What came of comparing a tree on disk with what its digest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    Sound,
    Damaged,
    /// The store does not know any more what the tree should be.
    Unknown,
}

impl Inner {
    /// Whether a tree on disk is what its digest says, which is found out once. Blobs that share their file with a
    /// spoiled one of it go into quarantine.
    pub(crate) fn check(&self, tree: &Tree) -> Result<Soundness, StageError> {
        if let Some(base) = &tree.base {
            match self.check_one(base)? {
                Soundness::Sound => {}
                other => return Ok(other),
            }
        }
        self.check_one(tree)
    }

    fn check_one(&self, tree: &Tree) -> Result<Soundness, StageError> {
        let turn = tree.looks.turn();
        if tree.health.is_sound() {
            return Ok(Soundness::Sound);
        }
        if tree.health.is_spoiled() {
            return Ok(Soundness::Damaged);
        }
        let path = self.tree_path(tree);
        // Before the content is read, so that what is touched meanwhile shows at the next look.
        let (sum, found) = match sum(&path, &self.linked, Purpose::Take, None) {
            Ok(sum) => {
                let found = match self.directory(&tree.root) {
                    Ok(Some(wanted)) => self.compare(&path, &wanted, tree.base.is_none()),
                    Ok(None) => Ok(Soundness::Unknown),
                    Err(error) => Err(error),
                };
                (sum, found.inspect_err(|_| turn.give_up())?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Sum::default(), Soundness::Damaged)
            }
            Err(error) => {
                turn.give_up();
                return Err(StoreError::io("look at", &path)(error).into());
            }
        };
        self.end_look(tree, &turn, &sum, found);
        match found {
            Soundness::Sound => tree.health.set(true),
            Soundness::Damaged => tree.health.set(false),
            Soundness::Unknown => {}
        }
        Ok(found)
    }

    /// Compares what stands in a directory with what should. Of a difference to another tree not everything does.
    fn compare(
        &self,
        path: &Path,
        wanted: &Directory,
        whole: bool,
    ) -> Result<Soundness, StageError> {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(is_spoiled(path)),
            Err(error) => return Err(StoreError::io("look at", path)(error).into()),
        };
        if metadata.mode() & 0o7777 != EXECUTABLE || !self.has_time(&metadata, wanted.mtime) {
            return Ok(is_spoiled(path));
        }
        let failed = StoreError::io("list", path);
        let entries: Vec<_> =
            std::fs::read_dir(path).and_then(Iterator::collect).map_err(failed)?;
        if whole && entries.len() != wanted.len() {
            return Ok(is_spoiled(path));
        }
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(StoreError::io("read", &path))?;
            let is_right = match name.to_str().and_then(|name| wanted.get(name)) {
                Some(Node::Directory(node)) if kind.is_dir() => {
                    let Some(below) = self.directory(&node.digest)? else {
                        return Ok(Soundness::Unknown);
                    };
                    match self.compare(&path, &below, whole)? {
                        Soundness::Sound => true,
                        other => return Ok(other),
                    }
                }
                Some(Node::Symlink(node)) if kind.is_symlink() => {
                    let fail = |error| StoreError::io("read", &path)(error);
                    let metadata = path.symlink_metadata().map_err(fail)?;
                    let target = std::fs::read_link(&path).map_err(fail)?;
                    target.as_os_str() == OsStr::new(&node.target)
                        && self.has_time(&metadata, node.mtime)
                }
                Some(Node::File(node)) if kind.is_file() => self.is_file_sound(&path, node)?,
                Some(Node::Directory(_) | Node::Symlink(_) | Node::File(_)) => false,
                // A whiteout hides what is not in this tree.
                None => !whole && !kind.is_dir() && !kind.is_symlink() && !kind.is_file(),
            };
            if !is_right {
                return Ok(is_spoiled(&path));
            }
        }
        Ok(Soundness::Sound)
    }

    fn is_file_sound(&self, path: &Path, node: &FileNode) -> Result<bool, StoreError> {
        let metadata = path.symlink_metadata().map_err(StoreError::io("read", path))?;
        let mode = if node.executable { EXECUTABLE } else { FILE };
        if metadata.mode() & 0o7777 == mode
            && self.is_file(path, &node.digest, node.mtime).map_err(StoreError::io("read", path))?
        {
            return Ok(true);
        }
        // A large blob and the trees that it stands in share one file.
        self.trees.forget_face(&Face {
            digest: node.digest,
            executable: node.executable,
            mtime: node.mtime,
        });
        self.recheck(&node.digest)?;
        Ok(false)
    }

    /// Whether a large blob's file of this face stands there and is what it should be.
    pub(crate) fn is_face_sound(&self, face: &Face, place: &Path) -> bool {
        let mode = if face.executable { EXECUTABLE } else { FILE };
        let is_dressed = |metadata: &std::fs::Metadata| {
            metadata.len() == face.digest.size
                && metadata.mode() & 0o7777 == mode
                && self.has_time(metadata, face.mtime)
        };
        let Ok(file) = File::open(place) else { return false };
        if file.metadata().is_ok_and(|metadata| is_dressed(&metadata)) {
            if self.trees.knows_face(face) && self.linked.is_untouched(&file).unwrap_or(false) {
                return true;
            }
            let before = file.metadata().and_then(|m| self.linked.seen(&m, || file.metadata()));
            if let Ok(before) = before
                && self.is_file(place, &face.digest, face.mtime).unwrap_or(false)
            {
                self.linked.note(&[before]);
                self.trees.face_is_sound(face);
                return true;
            }
        }
        tracing::error!(path = %place.display(), "a file of a staged tree is corrupt on disk and is made anew");
        false
    }

    fn is_file(&self, path: &Path, digest: &Digest, mtime: Option<Mtime>) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.len() != digest.size || !self.has_time(&metadata, mtime) {
            return Ok(false);
        }
        Ok(digest_of_stream(digest.function, &mut file)? == *digest)
    }

    /// Whether something has the time that it was given. A file system that has no room for a time keeps the nearest
    /// that it has.
    fn has_time(&self, metadata: &Metadata, mtime: Option<Mtime>) -> bool {
        if has_time(metadata, mtime) {
            return true;
        }
        match mtime {
            Some(mtime) if !EVERYWHERE.contains(&mtime.seconds()) => {
                let kept = self.kept_time(mtime).inspect_err(|error| {
                    tracing::warn!(%error, "how this disk keeps a time can't be tried");
                });
                kept.is_ok_and(|kept| kept == (metadata.mtime(), metadata.mtime_nsec()))
            }
            Some(_) | None => false,
        }
    }

    /// What the store's file system makes of a time, found out with a file of our own.
    fn kept_time(&self, mtime: Mtime) -> Result<(i64, i64), StoreError> {
        if let Some(kept) = lock(&self.trees.kept_times).get(&mtime) {
            return Ok(*kept);
        }
        let temp = self.temp()?;
        temp.dress(FILE, Some(mtime))?;
        let metadata = temp.path().symlink_metadata();
        let metadata = metadata.map_err(StoreError::io("look at", temp.path()))?;
        let kept = (metadata.mtime(), metadata.mtime_nsec());
        let mut times = lock(&self.trees.kept_times);
        times.insert(mtime, kept, 1);
        times.shrink(KEPT_TIMES);
        Ok(kept)
    }
}

/// Seconds since 1970 that every file system has room for.
const EVERYWHERE: RangeInclusive<i64> = 0..=i32::MAX as i64;
/// Other times of which it is remembered what the disk makes of them.
const KEPT_TIMES: u64 = 1024;

/// Says so.
fn is_spoiled(path: &Path) -> Soundness {
    tracing::error!(path = %path.display(), "a staged tree is corrupt on disk and is made anew");
    Soundness::Damaged
}
