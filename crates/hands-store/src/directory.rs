//! Directories of Merkle trees: decoding, a bounded cache of them, and walks over whole trees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hands_proto::{decode_blob, reapi};
use hands_tree::{Directory, DirectoryNode, FileNode, SymlinkNode};
use hands_types::limits::{self, MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use hands_types::{Digest, DigestFunction};

use crate::db::lock;
use crate::error::StageError;
use crate::store::{Inner, Store};

/// Bytes of decoded directories kept, about.
const CACHE: u64 = 16 << 20;
/// What a walk over a tree found.
#[derive(Clone, Debug, Default)]
pub struct TreeReport {
    /// Blobs that are not in the store, each once: directories and files. What stands below a missing directory is
    /// not known.
    pub missing: Vec<Digest>,
    /// Every blob that the tree is made of, each once, the root included: what an open invocation pins.
    pub blobs: Vec<Digest>,
    /// Files, directories and links, counted as often as they stand there.
    pub entries: u64,
}

impl Store {
    /// A directory of a Merkle tree, checked to be canonical. `None` if it is not here.
    pub fn directory(&self, digest: &Digest) -> Result<Option<Arc<Directory>>, StageError> {
        self.inner.directory(digest)
    }

    /// Walks a whole tree and asks for every blob of it. Counts as a use of each.
    pub fn check_tree(&self, root: &Digest) -> Result<TreeReport, StageError> {
        let walk = self.inner.walk(root)?;
        let mut blobs: Vec<Digest> = walk.directories.keys().chain(&walk.absent).copied().collect();
        blobs.extend(&walk.files);
        let missing = self.inner.missing(&blobs)?;
        Ok(TreeReport { missing, blobs, entries: walk.entries })
    }
}

/// A whole tree in memory.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) directories: BTreeMap<Digest, Arc<Directory>>,
    pub(crate) absent: BTreeSet<Digest>,
    pub(crate) files: BTreeSet<Digest>,
    pub(crate) entries: u64,
}

impl Inner {
    pub(crate) fn directory(&self, digest: &Digest) -> Result<Option<Arc<Directory>>, StageError> {
        if let Some(directory) = lock(&self.trees.directories).get(digest) {
            return Ok(Some(Arc::clone(directory)));
        }
        let invalid = |why: String| StageError::Invalid { digest: *digest, why };
        if digest.size > limits::MAX_PROTO_BLOB {
            return Err(invalid(format!("it has {} bytes", digest.size)));
        }
        let Some(bytes) = self.read(digest)? else { return Ok(None) };
        let directory = Arc::new(parse(bytes, digest.function).map_err(invalid)?);
        let mut cache = lock(&self.trees.directories);
        cache.insert(*digest, Arc::clone(&directory), 200 + 128 * directory.len() as u64);
        cache.shrink(CACHE);
        Ok(Some(directory))
    }

    /// Loads every directory below a root. Absent ones are listed, not errors.
    pub(crate) fn walk(&self, root: &Digest) -> Result<Walk, StageError> {
        let mut walk = Walk::default();
        self.walk_below(root, root, 0, &mut walk)?;
        Ok(walk)
    }

    pub(crate) fn walk_below(
        &self,
        root: &Digest,
        digest: &Digest,
        depth: usize,
        walk: &mut Walk,
    ) -> Result<(), StageError> {
        let directory = match walk.directories.get(digest) {
            Some(directory) => Arc::clone(directory),
            None if walk.absent.contains(digest) => return Ok(()),
            None => match self.directory(digest)? {
                Some(directory) => {
                    walk.directories.insert(*digest, Arc::clone(&directory));
                    walk.files.extend(directory.files.iter().map(|file| file.digest));
                    directory
                }
                None => {
                    walk.absent.insert(*digest);
                    return Ok(());
                }
            },
        };
        walk.entries += directory.len() as u64 + 1;
        if walk.entries > MAX_TREE_ENTRIES || depth > MAX_TREE_DEPTH {
            let why = format!(
                "its tree has more than {MAX_TREE_ENTRIES} entries or is deeper than {MAX_TREE_DEPTH}"
            );
            return Err(StageError::Invalid { digest: *root, why });
        }
        for node in &directory.directories {
            self.walk_below(root, &node.digest, depth + 1, walk)?;
        }
        Ok(())
    }
}

/// Reads an encoded directory, which must be canonical; else why it is not one.
pub(crate) fn parse(bytes: Bytes, function: DigestFunction) -> Result<Directory, String> {
    let message: reapi::Directory = decode_blob(bytes).map_err(|error| error.to_string())?;
    let directory = convert(message, function)?;
    directory.check(function).map_err(|error| error.to_string())?;
    Ok(directory)
}

fn convert(message: reapi::Directory, function: DigestFunction) -> Result<Directory, String> {
    let digest = |digest: Option<reapi::Digest>, name: &str| match digest {
        Some(digest) => digest
            .to_digest(function)
            .map_err(|error| format!("`{}`: {error}", name.escape_debug())),
        None => Err(format!("`{}` has no digest", name.escape_debug())),
    };
    let mtime = |properties: Option<reapi::NodeProperties>, name: &str| {
        reapi::NodeProperties::to_mtime(properties.as_ref())
            .map_err(|error| format!("`{}`: {error}", name.escape_debug()))
    };
    let mut directory =
        Directory { mtime: mtime(message.node_properties, ".")?, ..Directory::default() };
    for node in message.files {
        directory.files.push(FileNode {
            digest: digest(node.digest, &node.name)?,
            executable: node.is_executable,
            mtime: mtime(node.node_properties, &node.name)?,
            name: node.name,
        });
    }
    for node in message.directories {
        let digest = digest(node.digest, &node.name)?;
        directory.directories.push(DirectoryNode { name: node.name, digest });
    }
    for node in message.symlinks {
        let mtime = mtime(node.node_properties, &node.name)?;
        directory.symlinks.push(SymlinkNode { name: node.name, target: node.target, mtime });
    }
    Ok(directory)
}
