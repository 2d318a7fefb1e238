//! From a stack of trees to the one tree that an overlay of them would show.
//!
//! What one directory alone brings is taken by its digest and never read: the cost follows what overlaps, not what is
//! there.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hands_types::limits::{MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use hands_types::{Digest, DigestFunction, Mtime};

use crate::build::BuiltDirectory;
use crate::directory::{Directory, DirectoryNode, FileNode, Node, SymlinkNode};
use crate::hash::hash;

/// One tree of a stack.
#[derive(Clone, Copy, Debug)]
pub struct MergeLayer<'a> {
    /// The digest of its root.
    pub root: Digest,
    /// What it takes away from the trees below it.
    pub marks: &'a Marks,
}

/// What a directory of a layer takes away from the layers below it. What the layer itself has there stays. Plain trees
/// have no marks; image layers call them whiteouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Nothing of the layers below is seen in this directory.
    pub opaque: bool,
    /// Of the layers below, nothing of these names is seen.
    pub gone: BTreeSet<String>,
    /// The marks of directories in it, by name.
    pub below: BTreeMap<String, Self>,
}

impl Marks {
    /// No marks.
    pub const NONE: &'static Self =
        &Self { opaque: false, gone: BTreeSet::new(), below: BTreeMap::new() };
}

/// The one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The digest of its root.
    pub root: Digest,
    /// Its directories that had to be put together, children before parents, each once. All others are those of the layers.
    pub directories: Vec<BuiltDirectory>,
}

/// Why a stack is not merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeError<E> {
    /// A directory could not be loaded.
    Load(E),
    /// Directories of several layers lie over each other deeper than a tree may be: this one.
    TooDeep(String),
    /// Directories that lie over each other have more entries than a tree may have.
    TooMany,
}

impl<E: fmt::Display> fmt::Display for MergeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::TooDeep(path) => write!(
                f,
                "the directory `{}` lies deeper than {MAX_TREE_DEPTH} directories",
                path.escape_debug()
            ),
            Self::TooMany => write!(f, "there are more than {MAX_TREE_ENTRIES} entries"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for MergeError<E> {}

/// Merges a stack, the lowest layer first, as an overlay shows it: of what stands at a path the uppermost layer counts, and
/// directories that lie over each other show the entries of all, down to a layer that has something else there or marks
/// it. A node keeps all that its layer says of it; a directory without a time of its own has the one below it: a layer may
/// hold it only for the sake of what is in it.
///
/// `load` finds a directory by its digest, `encode` turns a canonical directory into the bytes that are hashed. Entries
/// and depth are bounded as those of every tree, as far as directories are read at all.
pub fn merge<E>(
    function: DigestFunction,
    layers: &[MergeLayer<'_>],
    load: &mut dyn FnMut(&Digest) -> Result<Arc<Directory>, E>,
    encode: &mut dyn FnMut(&Directory) -> Vec<u8>,
) -> Result<Merged, MergeError<E>> {
    let mut merge = Merge {
        function,
        load,
        encode,
        most_entries: MAX_TREE_ENTRIES,
        built: BTreeSet::new(),
        directories: Vec::new(),
    };
    let stack: Vec<Part<'_>> =
        layers.iter().rev().map(|l| Part { digest: l.root, marks: l.marks }).collect();
    let root = match stack.is_empty() {
        true => merge.put(&Directory::default()),
        false => merge.flatten(stack, &mut Vec::new())?,
    };
    Ok(Merged { root, directories: merge.directories })
}

/// A directory of one layer.
#[derive(Clone, Copy)]
struct Part<'a> {
    digest: Digest,
    marks: &'a Marks,
}

struct Merge<'f, E> {
    function: DigestFunction,
    load: &'f mut dyn FnMut(&Digest) -> Result<Arc<Directory>, E>,
    encode: &'f mut dyn FnMut(&Directory) -> Vec<u8>,
    /// Entries that may still be read.
    most_entries: u64,
    built: BTreeSet<Digest>,
    directories: Vec<BuiltDirectory>,
}

/// What is known of one name while a stack is gone through from its top.
enum Slot<'a> {
    /// It is decided: this, or nothing.
    File(FileNode),
    Symlink(SymlinkNode),
    Nothing,
    /// Directories that lie over each other, and whether those of lower layers are among them.
    Stack {
        parts: Vec<Part<'a>>,
        open: bool,
    },
}

impl<E> Merge<'_, E> {
    /// Merges directories that lie over each other, topmost first, at least one.
    fn flatten(
        &mut self,
        mut stack: Vec<Part<'_>>,
        path: &mut Vec<String>,
    ) -> Result<Digest, MergeError<E>> {
        if let Some(opaque) = stack.iter().position(|part| part.marks.opaque) {
            stack.truncate(opaque + 1);
        }
        // What lies below its equal adds nothing: each of its names is taken, and whatever a layer between them covers or
        // marks is in the upper one all the same. But what it takes away from layers still lower counts.
        let mut seen = BTreeSet::new();
        stack.retain(|part| seen.insert(part.digest) || *part.marks != Marks::default());
        if let [only] = &stack[..] {
            return Ok(only.digest);
        }
        if path.len() > MAX_TREE_DEPTH {
            return Err(MergeError::TooDeep(path.join("/")));
        }
        let mut slots: BTreeMap<String, Slot<'_>> = BTreeMap::new();
        let mut mtime: Option<Mtime> = None;
        for part in stack {
            let directory = (self.load)(&part.digest).map_err(MergeError::Load)?;
            let left = self.most_entries.checked_sub(directory.len() as u64);
            self.most_entries = left.ok_or(MergeError::TooMany)?;
            mtime = mtime.or(directory.mtime);
            for node in directory.nodes() {
                add(&mut slots, node, part.marks);
            }
            for name in &part.marks.gone {
                close(slots.entry(name.clone()).or_insert(Slot::Nothing));
            }
        }
        let mut merged = Directory { mtime, ..Directory::default() };
        // A map of strings goes by their bytes, which is the canonical order.
        for (name, slot) in slots {
            match slot {
                Slot::Nothing => {}
                Slot::File(node) => merged.files.push(node),
                Slot::Symlink(node) => merged.symlinks.push(node),
                Slot::Stack { parts, .. } => {
                    path.push(name);
                    let digest = self.flatten(parts, path)?;
                    let name = path.pop().unwrap_or_default();
                    merged.directories.push(DirectoryNode { name, digest });
                }
            }
        }
        Ok(self.put(&merged))
    }

    fn put(&mut self, directory: &Directory) -> Digest {
        let bytes = (self.encode)(directory);
        let digest = hash(self.function, &bytes);
        if self.built.insert(digest) {
            self.directories.push(BuiltDirectory { digest, bytes });
        }
        digest
    }
}

/// Puts a node of a lower layer below what is known of its name.
fn add<'a>(slots: &mut BTreeMap<String, Slot<'a>>, node: Node<'_>, marks: &'a Marks) {
    match (slots.get_mut(node.name()), node) {
        (Some(Slot::Stack { parts, open: true }), Node::Directory(below)) => {
            let marks = marks.below.get(&below.name).unwrap_or(Marks::NONE);
            parts.push(Part { digest: below.digest, marks });
        }
        (Some(slot), _) => close(slot),
        (None, Node::Directory(top)) => {
            let marks = marks.below.get(&top.name).unwrap_or(Marks::NONE);
            let parts = vec![Part { digest: top.digest, marks }];
            slots.insert(top.name.clone(), Slot::Stack { parts, open: true });
        }
        (None, Node::File(top)) => {
            slots.insert(top.name.clone(), Slot::File(top.clone()));
        }
        (None, Node::Symlink(top)) => {
            slots.insert(top.name.clone(), Slot::Symlink(top.clone()));
        }
    }
}

/// Nothing of a lower layer is seen there.
fn close(slot: &mut Slot<'_>) {
    if let Slot::Stack { open, .. } = slot {
        *open = false;
    }
}
