//! Writing a tree to disk. Works from directory handles, and never follows a link that it or anybody else made.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hands_tree::{Change, ChangeKind, Directory, FileNode, Node, SymlinkNode};
use hands_types::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{StageError, StoreError};
use crate::files::{EXECUTABLE, FILE, Face, on_disk, times};
use crate::index::Place;
use crate::stage::{Directories, missing};
use crate::store::Inner;

/// Bytes that a directory takes.
const DIRECTORY_BYTES: u64 = 4096;

/// What a delta holds, as a tree of names.
#[derive(Debug, Default)]
pub(crate) struct Delta<'a> {
    names: BTreeMap<&'a str, DeltaNode<'a>>,
}

#[derive(Debug)]
enum DeltaNode<'a> {
    /// Stands in both trees, and differs below.
    Below(Delta<'a>),
    Changed(&'a ChangeKind),
}

impl<'a> Delta<'a> {
    pub(crate) fn new(changes: &'a [Change]) -> Self {
        let mut root = Self::default();
        for change in changes {
            root.insert(&change.path, &change.kind);
        }
        root
    }

    fn insert(&mut self, path: &'a str, kind: &'a ChangeKind) {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        match kind {
            // The directory is in the delta for its time; what has changed below it may follow.
            ChangeKind::Touched(_) if name.is_empty() => return,
            ChangeKind::Removed
            | ChangeKind::File(_)
            | ChangeKind::Symlink(_)
            | ChangeKind::Directory(_)
                if rest.is_empty() =>
            {
                self.names.insert(name, DeltaNode::Changed(kind));
                return;
            }
            _ => {}
        }
        let below = self.names.entry(name).or_insert_with(|| DeltaNode::Below(Self::default()));
        // A path that has changed as a whole has nothing below it in the list.
        if let DeltaNode::Below(below) = below {
            below.insert(rest, kind);
        }
    }
}

/// Writes one tree.
#[derive(Debug)]
pub(crate) struct Materializer<'a> {
    inner: &'a Inner,
    directories: &'a Directories,
    bytes: u64,
    missing: Vec<Digest>,
}

impl<'a> Materializer<'a> {
    pub(crate) fn new(inner: &'a Inner, directories: &'a Directories) -> Self {
        Self { inner, directories, bytes: 0, missing: Vec::new() }
    }

    /// Bytes on disk that are not shared with the store's blobs.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn take_missing(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.missing)
    }

    /// Writes a whole tree at a path where nothing is yet.
    pub(crate) fn whole(&mut self, path: &Path, root: &Digest) -> Result<(), StageError> {
        let directory = missing(self.directories, root)?;
        let handle = self.make_root(path)?;
        self.fill(&handle, path, &directory)?;
        self.all_there()
    }

    /// Writes a delta at a path where nothing is yet. `directory` is the root of the tree that the delta leads to.
    pub(crate) fn delta(
        &mut self,
        path: &Path,
        delta: &Delta<'_>,
        directory: &Directory,
    ) -> Result<(), StageError> {
        let handle = self.make_root(path)?;
        self.fill_delta(&handle, path, delta, directory)?;
        self.all_there()
    }

    fn all_there(&self) -> Result<(), StageError> {
        if self.missing.is_empty() { Ok(()) } else { Err(StageError::Missing(Vec::new())) }
    }

    fn fill(
        &mut self,
        handle: &OwnedFd,
        path: &Path,
        directory: &Directory,
    ) -> Result<(), StageError> {
        for node in &directory.files {
            self.file(handle.as_fd(), path, node)?;
        }
        for node in &directory.symlinks {
            symlink(handle.as_fd(), path, node)?;
        }
        for node in &directory.directories {
            let below = missing(self.directories, &node.digest)?;
            let path = path.join(&node.name);
            let handle = self.make_directory(handle.as_fd(), &node.name, &path)?;
            self.fill(&handle, &path, &below)?;
        }
        finish_directory(handle, path, directory)
    }

    fn fill_delta(
        &mut self,
        handle: &OwnedFd,
        path: &Path,
        delta: &Delta<'_>,
        directory: &Directory,
    ) -> Result<(), StageError> {
        for (name, node) in &delta.names {
            let path_below = path.join(name);
            match node {
                DeltaNode::Below(below) => {
                    // Of what lies over each other an overlay shows the topmost directory's time.
                    let Some(Node::Directory(node)) = directory.get(name) else { continue };
                    let Some(now) = self.inner.directory(&node.digest)? else {
                        return Err(StageError::Missing(vec![node.digest]));
                    };
                    let handle = self.make_directory(handle.as_fd(), name, &path_below)?;
                    self.fill_delta(&handle, &path_below, below, &now)?;
                }
                DeltaNode::Changed(ChangeKind::File(node)) => {
                    self.file(handle.as_fd(), path, node)?;
                }
                DeltaNode::Changed(ChangeKind::Symlink(node)) => {
                    symlink(handle.as_fd(), path, node)?;
                }
                DeltaNode::Changed(ChangeKind::Directory(node)) => {
                    let below = missing(self.directories, &node.digest)?;
                    let handle = self.make_directory(handle.as_fd(), name, &path_below)?;
                    self.fill(&handle, &path_below, &below)?;
                }
                // Never by itself: see `Delta::insert`.
                DeltaNode::Changed(ChangeKind::Touched(_)) => {}
                DeltaNode::Changed(ChangeKind::Removed) => {
                    whiteout(handle, name)
                        .map_err(StoreError::errno("make a whiteout at", &path_below))?;
                }
            }
        }
        finish_directory(handle, path, directory)
    }

    fn make_root(&mut self, path: &Path) -> Result<OwnedFd, StoreError> {
        self.make_directory_at(CWD, path, path)
    }

    fn make_directory(
        &mut self,
        at: BorrowedFd<'_>,
        name: &str,
        path: &Path,
    ) -> Result<OwnedFd, StoreError> {
        self.make_directory_at(at, Path::new(name), path)
    }

    fn make_directory_at(
        &mut self,
        at: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
    ) -> Result<OwnedFd, StoreError> {
        self.inner.ensure_room(DIRECTORY_BYTES)?;
        self.bytes += DIRECTORY_BYTES;
        rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))
            .map_err(StoreError::errno("create", path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(at, name, flags, Mode::empty())
            .map_err(StoreError::errno("open", path))?;
        // Whatever the umask says.
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(0o755))
            .map_err(StoreError::errno("set the mode of", path))?;
        Ok(handle)
    }

    fn file(&mut self, at: BorrowedFd<'_>, dir: &Path, node: &FileNode) -> Result<(), StageError> {
        let digest = &node.digest;
        let entry = if digest.is_empty() { None } else { self.inner.look_up(digest)? };
        if entry.is_some_and(|entry| entry.place == Place::File) {
            let face = Face { digest: *digest, executable: node.executable, mtime: node.mtime };
            match self.link(&face, at, dir, &node.name)? {
                Linked::Yes => return Ok(()),
                Linked::Corrupt => {
                    self.missing.push(*digest);
                    return Ok(());
                }
                Linked::TooOften => {}
            }
        }
        let Some(bytes) = self.inner.read(digest)? else {
            self.missing.push(*digest);
            return Ok(());
        };
        self.inner.ensure_room(on_disk(digest.size))?;
        self.bytes += on_disk(digest.size);
        let path = || dir.join(&node.name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // FILE and EXECUTABLE: as literals they fit the width that each system has for modes.
        let mode = Mode::from_raw_mode(if node.executable { 0o755 } else { 0o644 });
        let file = rustix::fs::openat(at, &node.name, flags, mode)
            .map_err(|errno| StoreError::errno("create", &path())(errno))?;
        let mut file = File::from(file);
        std::io::Write::write_all(&mut file, &bytes)
            .map_err(|error| StoreError::io("write", &path())(error))?;
        rustix::fs::fchmod(&file, mode)
            .map_err(|errno| StoreError::errno("set the mode of", &path())(errno))?;
        rustix::fs::futimens(&file, &times(node.mtime))
            .map_err(|errno| StoreError::errno("set the time of", &path())(errno))?;
        Ok(())
    }

    /// Puts a large blob into a tree as one more link to the file of this face.
    fn link(
        &self,
        face: &Face,
        at: BorrowedFd<'_>,
        dir: &Path,
        name: &str,
    ) -> Result<Linked, StoreError> {
        let Some(mut file) = self.inner.watched_file(&face.digest)? else {
            return Ok(Linked::Corrupt);
        };
        let link = |from: &Path| match self.inner.linked.link(from, at, name) {
            Ok(()) => Ok(Some(Linked::Yes)),
            // The file system's limit of links to one file, 65,000 on ext4: copy.
            Err(Errno::MLINK) => Ok(Some(Linked::TooOften)),
            // No tree had it any more, and it has just gone.
            Err(Errno::NOENT) if !face.is_blob() => Ok(None),
            Err(errno) => Err(StoreError::errno("link", &dir.join(name))(errno)),
        };
        let place = self.inner.layout.face(face);
        if (face.is_blob() || self.inner.is_face_sound(face, &place))
            && let Some(linked) = link(&place)?
        {
            return Ok(linked);
        }
        self.inner.ensure_room(on_disk(face.digest.size))?;
        let mut temp = self.inner.temp()?;
        temp.copy_from(&mut file)?;
        temp.dress(if face.executable { EXECUTABLE } else { FILE }, face.mtime)?;
        let linked = self.inner.place_face(face, &place, temp, || link(&place))?;
        Ok(linked.unwrap_or(Linked::TooOften))
    }
}

/// What came of putting a large blob into a tree.
enum Linked {
    Yes,
    /// There are as many links as a file can have.
    TooOften,
    /// The blob is not what its digest says.
    Corrupt,
}

fn symlink(at: BorrowedFd<'_>, dir: &Path, node: &SymlinkNode) -> Result<(), StoreError> {
    let path = || dir.join(&node.name);
    rustix::fs::symlinkat(&node.target, at, &node.name)
        .map_err(|errno| StoreError::errno("create the link", &path())(errno))?;
    rustix::fs::utimensat(at, &node.name, &times(node.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| StoreError::errno("set the time of", &path())(errno))
}

fn finish_directory(
    handle: &OwnedFd,
    path: &Path,
    directory: &Directory,
) -> Result<(), StageError> {
    rustix::fs::futimens(handle, &times(directory.mtime))
        .map_err(StoreError::errno("set the time of", path))?;
    Ok(())
}

/// An overlay takes a character device 0/0 for "nothing here"; making one needs no privilege.
#[cfg(target_os = "linux")]
pub(crate) fn whiteout(directory: &impl AsFd, name: &str) -> rustix::io::Result<()> {
    use rustix::fs::FileType;
    rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Differences are for overlays, which only workers mount.
#[cfg(not(target_os = "linux"))]
pub(crate) fn whiteout(_directory: &impl AsFd, _name: &str) -> rustix::io::Result<()> {
    Err(rustix::io::Errno::NOTSUP)
}
