//! The input root being put together, and its encoding.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hands_proto::reapi::{self, NodeProperties};
use hands_types::{Digest, DigestFunction, Mtime, RelPath};
use prost::Message;

use super::files::Files;
use crate::error::SnapshotError;

/// A directory of the input root. Sorted by the bytes of the names, as REAPI wants it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<String, Node>,
    /// When it was changed, where times are kept and it is a directory of this machine.
    pub(super) mtime: Option<Mtime>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// By its number in `Files`.
    File(usize),
    Symlink(Link),
    Directory(Tree),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) target: String,
    pub(super) mtime: Option<Mtime>,
}

impl Tree {
    /// Adds `node` at `place`. Directories of several inputs merge, and what is named twice is there once; anything else in
    /// the same place is an error.
    pub(super) fn insert(
        &mut self,
        place: &RelPath,
        node: Node,
        display: &str,
        files: &Files<'_>,
    ) -> Result<(), SnapshotError> {
        let mut here = self;
        let mut names: Vec<&str> = place.names().collect();
        let last = names.pop();
        let twice =
            || SnapshotError::Twice { place: place.to_string(), display: display.to_owned() };
        for name in names {
            let node = here
                .nodes
                .entry(name.to_owned())
                .or_insert_with(|| Node::Directory(Self::default()));
            let Node::Directory(below) = node else { return Err(twice()) };
            here = below;
        }
        match (last, node) {
            (None, Node::Directory(tree)) => here.merge(tree, files).map_err(|()| twice()),
            (None, Node::File(_) | Node::Symlink(_)) => Err(twice()),
            (Some(name), node) => here.add(name.to_owned(), node, files).map_err(|()| twice()),
        }
    }

    fn merge(&mut self, other: Self, files: &Files<'_>) -> Result<(), ()> {
        self.mtime = self.mtime.max(other.mtime);
        other.nodes.into_iter().try_for_each(|(name, node)| self.add(name, node, files))
    }

    fn add(&mut self, name: String, node: Node, files: &Files<'_>) -> Result<(), ()> {
        match (self.nodes.get_mut(&name), node) {
            (None, node) => {
                self.nodes.insert(name, node);
                Ok(())
            }
            (Some(Node::Directory(there)), Node::Directory(new)) => there.merge(new, files),
            (Some(Node::File(there)), Node::File(new)) if files.are_one(*there, new) => Ok(()),
            (Some(there), new) if *there == new => Ok(()),
            (Some(_), _) => Err(()),
        }
    }
}

/// The encoded directories.
pub(crate) struct Encoded {
    pub(crate) root: Digest,
    pub(crate) directories: HashMap<Digest, Bytes>,
}

pub(super) fn encode(tree: &Tree, files: &Files<'_>, function: DigestFunction) -> Encoded {
    let mut directories = HashMap::new();
    let root = encode_directory(tree, files, function, &mut directories);
    Encoded { root, directories }
}

fn encode_directory(
    tree: &Tree,
    files: &Files<'_>,
    function: DigestFunction,
    all: &mut HashMap<Digest, Bytes>,
) -> Digest {
    let mut message = reapi::Directory {
        node_properties: NodeProperties::of_mtime(tree.mtime),
        ..reapi::Directory::default()
    };
    for (name, node) in &tree.nodes {
        let name = name.clone();
        match node {
            Node::File(number) => {
                // One that has vanished is left out.
                let Some(file) = files.get(*number) else { continue };
                message.files.push(reapi::FileNode {
                    name,
                    digest: Some(file.digest.into()),
                    is_executable: file.executable,
                    node_properties: NodeProperties::of_mtime(file.mtime),
                });
            }
            Node::Symlink(link) => {
                message.symlinks.push(reapi::SymlinkNode {
                    name,
                    target: link.target.clone(),
                    node_properties: NodeProperties::of_mtime(link.mtime),
                });
            }
            Node::Directory(below) => {
                let digest = Some(encode_directory(below, files, function, all).into());
                message.directories.push(reapi::DirectoryNode { name, digest });
            }
        }
    }
    let bytes = Bytes::from(message.encode_to_vec());
    let digest = hands_tree::hash(function, &bytes);
    all.insert(digest, bytes);
    digest
}
