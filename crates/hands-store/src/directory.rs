//! Directories of Merkle trees: decoding, a bounded cache of them, and walks over whole trees.

mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hands_proto::reapi::{self, NodeProperties};
use hands_proto::{Room, Tight, fields, weigh_blob};
use hands_tree::{Directory, Held};
use hands_types::limits::{self, MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use hands_types::{Digest, DigestFunction};
use prost::Message as _;

use crate::db::lock;
use crate::error::StageError;
use crate::store::{Inner, Store};

pub use entries::{Entry, read_entries};

/// Bytes of decoded directories kept, about.
const CACHE: u64 = 16 << 20;
/// What a directory becomes for each of its bytes at most, with them: links of short names take the most.
const BECOMES: usize = 17;
/// And what it never becomes more than.
const MOST: usize = 320 << 20;
/// What a look keeps of each directory, of each directory in it, and of each file.
const KEPT: (usize, usize, usize) = (256, 64, 64);

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

/// Why a look at a tree brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It needs more memory than it had.
    #[error(transparent)]
    Tight(#[from] Tight),
    /// It is no tree, or can't be looked at.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Bytes of memory that a directory of so many bytes takes while it is read, at most.
fn memory_of(size: u64) -> usize {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    size.saturating_mul(BECOMES).min(size.saturating_add(MOST))
}

impl Store {
    /// A directory of a Merkle tree, checked to be canonical. `None` if it is not here.
    pub fn directory(&self, digest: &Digest) -> Result<Option<Arc<Directory>>, StageError> {
        self.inner.directory(digest)
    }

    /// Walks a whole tree, whatever it takes, and asks for every blob of it. Counts as a use of each.
    pub fn check_tree(&self, root: &Digest) -> Result<TreeReport, StageError> {
        match self.look_at_tree(root, &mut Room::new(usize::MAX), &mut |_| {}) {
            Ok(report) => Ok(report),
            Err(LookError::Stage(error)) => Err(error),
            Err(LookError::Tight(tight)) => {
                Err(StageError::Invalid { digest: *root, why: tight.to_string() })
            }
        }
    }

    /// The same within a room, one directory after the other. `found` hears of blobs before they are looked for, so that it can
    /// keep what is there.
    pub fn look_at_tree(
        &self,
        root: &Digest,
        room: &mut Room,
        found: &mut dyn FnMut(&[Digest]),
    ) -> Result<TreeReport, LookError> {
        let invalid = |why| StageError::Invalid { digest: *root, why };
        found(&[*root]);
        let mut directories = BTreeSet::from([*root]);
        let mut held: BTreeMap<Digest, Held> = BTreeMap::new();
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        let mut todo = vec![*root];
        let mut entries = 0;
        while let Some(digest) = todo.pop() {
            room.passes(memory_of(digest.size))?;
            let Some(directory) = self.inner.directory(&digest)? else {
                missing.push(digest);
                continue;
            };
            entries += directory.len() as u64;
            if entries > MAX_TREE_ENTRIES {
                let why = format!("its tree has more than {MAX_TREE_ENTRIES} entries");
                return Err(invalid(why).into());
            }
            let (n_below, n_files) = (directory.directories.len(), directory.files.len());
            room.keep(KEPT.0 + KEPT.1 * n_below + KEPT.2 * n_files)?;
            let below = directory.directories.iter().map(|node| (node.digest, node.name.len()));
            let below: Vec<_> = below.collect();
            let new = below.iter().map(|(child, _)| *child).filter(|it| directories.insert(*it));
            let new: Vec<Digest> = new.collect();
            found(&new);
            todo.extend(new);
            files.extend(directory.files.iter().map(|file| file.digest));
            let longest = 0;
            held.insert(digest, Held { entries: directory.len() as u64, longest, below });
        }
        let shape = hands_tree::shape(root, &held);
        drop(held);
        if shape.depth > MAX_TREE_DEPTH {
            let depth = shape.depth;
            let why =
                format!("its tree is {depth} directories deep, and {MAX_TREE_DEPTH} is the most");
            return Err(invalid(why).into());
        }
        // As they are counted when the tree is staged: each directory by itself, too.
        let staged = shape.entries.saturating_add(shape.directories).saturating_add(1);
        if staged > MAX_TREE_ENTRIES {
            let why = format!("its tree has {staged} entries, and {MAX_TREE_ENTRIES} is the most");
            return Err(invalid(why).into());
        }
        files.sort_unstable();
        files.dedup();
        found(&files);
        missing.extend(self.inner.missing(&files).map_err(StageError::Store)?);
        missing.sort_unstable();
        missing.dedup();
        let mut blobs = files;
        blobs.extend(directories);
        Ok(TreeReport { missing, blobs, entries: shape.entries.saturating_add(1) })
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
        let directory = Arc::new(parse_directory(&bytes, digest.function).map_err(invalid)?);
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

/// The message of a directory, whose lists are sorted.
pub fn encode_directory(directory: &Directory) -> Vec<u8> {
    let files = directory.files.iter().map(|file| reapi::FileNode {
        name: file.name.clone(),
        digest: Some(file.digest.into()),
        is_executable: file.executable,
        node_properties: NodeProperties::of_mtime(file.mtime),
    });
    let directories = directory.directories.iter().map(|below| reapi::DirectoryNode {
        name: below.name.clone(),
        digest: Some(below.digest.into()),
    });
    let symlinks = directory.symlinks.iter().map(|link| reapi::SymlinkNode {
        name: link.name.clone(),
        target: link.target.clone(),
        node_properties: NodeProperties::of_mtime(link.mtime),
    });
    let message = reapi::Directory {
        files: files.collect(),
        directories: directories.collect(),
        symlinks: symlinks.collect(),
        node_properties: NodeProperties::of_mtime(directory.mtime),
    };
    message.encode_to_vec()
}

/// Reads an encoded directory, which must be canonical; else why it is not one.
pub fn parse_directory(bytes: &[u8], function: DigestFunction) -> Result<Directory, String> {
    weigh_blob::<reapi::Directory>(bytes).map_err(|error| error.to_string())?;
    let mut n = [0_usize; 4];
    for (number, _) in fields(bytes).flatten() {
        let kind = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(n) = n.get_mut(kind) {
            *n += 1;
        }
    }
    let mut directory = Directory {
        files: Vec::with_capacity(n[1]),
        directories: Vec::with_capacity(n[2]),
        symlinks: Vec::with_capacity(n[3]),
        mtime: None,
    };
    directory.mtime = read_entries(bytes, function, |entry| match entry {
        Entry::File(node) => directory.files.push(node),
        Entry::Directory(node) => directory.directories.push(node),
        Entry::Symlink(node) => directory.symlinks.push(node),
    })?;
    Ok(directory)
}
