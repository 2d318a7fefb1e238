//! From a list of paths to the directories of a Merkle tree.

use std::collections::BTreeMap;
use std::fmt;

use hands_types::{Digest, DigestFunction, RelPath};

use crate::directory::{Directory, DirectoryNode, FileNode, SymlinkNode};
use crate::hash::hash;

/// What stands at one path of an input root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, below the root.
    pub path: RelPath,
    /// What.
    pub leaf: Leaf,
}

/// What a path can be given as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A regular file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A directory that exists even if nothing is in it. Entries below it may stand in the list as well.
    Directory,
    /// A whole directory that was built before, by digest. Nothing may stand below it.
    Tree {
        /// The digest of its encoded `Directory`.
        digest: Digest,
    },
}

/// One directory of the result, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltDirectory {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The encoded `Directory`.
    pub bytes: Vec<u8>,
}

/// Builds the directories of a tree, children before parents, so that the root is the last. Equal directories appear
/// once. `encode` turns a canonical directory into the bytes that are hashed.
pub fn build(
    function: DigestFunction,
    entries: impl IntoIterator<Item = Entry>,
    mut encode: impl FnMut(&Directory) -> Vec<u8>,
) -> Result<Vec<BuiltDirectory>, BuildError> {
    let mut root = Draft::default();
    for Entry { path, leaf } in entries {
        root.insert(&path, leaf)?;
    }
    let mut built = Vec::new();
    let mut seen = BTreeMap::new();
    root.finish(function, &mut encode, &mut seen, &mut built);
    Ok(built)
}

#[derive(Default)]
struct Draft {
    children: BTreeMap<String, Child>,
}

enum Child {
    Leaf(Leaf),
    Draft(Draft),
}

impl Draft {
    fn insert(&mut self, path: &RelPath, leaf: Leaf) -> Result<(), BuildError> {
        let twice = || BuildError { path: path.clone() };
        let mut names = path.names();
        let Some(last) = names.next_back() else {
            return if leaf == Leaf::Directory { Ok(()) } else { Err(twice()) };
        };
        let mut here = self;
        for name in names {
            // Most entries of a list share their directory with the entry before: look before allocating the name.
            if !here.children.contains_key(name) {
                here.children.insert(name.to_owned(), Child::Draft(Self::default()));
            }
            match here.children.get_mut(name) {
                Some(Child::Draft(draft)) => here = draft,
                Some(Child::Leaf(_)) | None => return Err(twice()),
            }
        }
        match (here.children.get(last), leaf) {
            (None, Leaf::Directory) => {
                here.children.insert(last.to_owned(), Child::Draft(Self::default()));
            }
            (None, leaf) => {
                here.children.insert(last.to_owned(), Child::Leaf(leaf));
            }
            (Some(Child::Draft(_)), Leaf::Directory) => {}
            (Some(Child::Leaf(there)), leaf) if *there == leaf => {}
            (Some(_), _) => return Err(twice()),
        }
        Ok(())
    }

    fn finish(
        self,
        function: DigestFunction,
        encode: &mut impl FnMut(&Directory) -> Vec<u8>,
        seen: &mut BTreeMap<Digest, ()>,
        built: &mut Vec<BuiltDirectory>,
    ) -> Digest {
        let mut directory = Directory::default();
        // A `BTreeMap` of strings iterates in the order of their bytes, which is the canonical one.
        for (name, child) in self.children {
            match child {
                Child::Leaf(Leaf::File { digest, executable }) => {
                    directory.files.push(FileNode { name, digest, executable, mtime: None });
                }
                Child::Leaf(Leaf::Symlink { target }) => {
                    directory.symlinks.push(SymlinkNode { name, target, mtime: None });
                }
                Child::Leaf(Leaf::Tree { digest }) => {
                    directory.directories.push(DirectoryNode { name, digest });
                }
                // Inserted as a draft, never as a leaf.
                Child::Leaf(Leaf::Directory) => {}
                Child::Draft(draft) => {
                    let digest = draft.finish(function, encode, seen, built);
                    directory.directories.push(DirectoryNode { name, digest });
                }
            }
        }
        let bytes = encode(&directory);
        let digest = hash(function, &bytes);
        if seen.insert(digest, ()).is_none() {
            built.push(BuiltDirectory { digest, bytes });
        }
        digest
    }
}

/// A path that was given twice in different ways, or that has something below it and is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    /// The path.
    pub path: RelPath,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the path {} is given twice, or is both a directory and something else",
            self.path
        )
    }
}

impl std::error::Error for BuildError {}
