//! Staged trees that stood there before this process began are read before they are used.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use hands_tree::{Directory, FileNode, Node};
use hands_types::{Digest, Mtime};

use crate::error::{StageError, StoreError};
use crate::files::{EXECUTABLE, FILE, Face, has_time};
use crate::linked::Link;
use crate::read::digest_of_stream;
use crate::store::Inner;
use crate::trees::Tree;

impl Inner {
    /// Whether a tree on disk is what its digest says, which is found out once. Blobs that share their file with a
    /// spoiled one of it go into quarantine.
    pub(crate) fn check(&self, tree: &Tree) -> Result<bool, StageError> {
        if let Some(base) = &tree.base
            && !self.check_one(base)?
        {
            return Ok(false);
        }
        self.check_one(tree)
    }

    fn check_one(&self, tree: &Tree) -> Result<bool, StageError> {
        if tree.health.is_sound() || tree.health.is_spoiled() {
            return Ok(tree.health.is_sound());
        }
        let path = self.trees.dir.join(tree.id.to_string());
        let look = self.begin_look(tree);
        let sound = match self.directory(&tree.root)? {
            Some(directory) => self.is_sound(&path, &directory, tree.base.is_none())?,
            // What it should be is not known any more: it is made anew.
            None => false,
        };
        let sound = sound && look.is_some();
        self.end_look(tree, look, sound);
        tree.health.set(sound);
        Ok(sound)
    }

    /// Compares what stands in a directory with what should. Of a difference to another tree not everything does.
    fn is_sound(&self, path: &Path, wanted: &Directory, whole: bool) -> Result<bool, StageError> {
        let failed = StoreError::io("list", path);
        let entries: Vec<_> = match std::fs::read_dir(path).and_then(Iterator::collect) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        };
        if whole && entries.len() != wanted.len() {
            return Ok(is_spoiled(path));
        }
        for entry in entries {
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(StoreError::io("read", &path))?;
            let is_right = match name.to_str().and_then(|name| wanted.get(name)) {
                Some(Node::Directory(node)) if kind.is_dir() => {
                    let Some(below) = self.directory(&node.digest)? else { return Ok(false) };
                    if !self.is_sound(&path, &below, whole)? {
                        return Ok(false);
                    }
                    true
                }
                Some(Node::Symlink(node)) if kind.is_symlink() => {
                    let target =
                        std::fs::read_link(&path).map_err(StoreError::io("read", &path))?;
                    target.as_os_str() == OsStr::new(&node.target)
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
        Ok(true)
    }

    fn is_file_sound(&self, path: &Path, node: &FileNode) -> Result<bool, StoreError> {
        let metadata = path.symlink_metadata().map_err(StoreError::io("read", path))?;
        let mode = if node.executable { EXECUTABLE } else { FILE };
        if metadata.mode() & 0o7777 == mode
            && is_file(path, &node.digest, node.mtime).map_err(StoreError::io("read", path))?
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
                && has_time(metadata, face.mtime)
        };
        let Ok(file) = File::open(place) else { return false };
        let Some(before) = file.metadata().ok().filter(is_dressed) else { return false };
        if self.trees.knows_face(face) && self.linked.is_untouched(&file).unwrap_or(false) {
            return true;
        }
        if is_file(place, &face.digest, face.mtime).unwrap_or(false) {
            self.linked.note(&[Link::of(&before)]);
            self.trees.face_is_sound(face);
            return true;
        }
        tracing::error!(path = %place.display(), "a file of a staged tree is corrupt on disk and is made anew");
        false
    }
}

fn is_file(path: &Path, digest: &Digest, mtime: Option<Mtime>) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() != digest.size || !has_time(&metadata, mtime) {
        return Ok(false);
    }
    Ok(digest_of_stream(digest.function, &mut file)? == *digest)
}

/// Says so; always false.
fn is_spoiled(path: &Path) -> bool {
    tracing::error!(path = %path.display(), "a staged tree is corrupt on disk and is made anew");
    false
}
