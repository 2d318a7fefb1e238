//! The directories in which outputs are made: they must exist before the command runs (REAPI v2). Those that the inputs
//! lack lie over them as a tree of empty directories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hands_store::Store;
use hands_tree::{BuiltDirectory, Directory, DirectoryNode, Node};
use hands_types::{Digest, DigestFunction, RelPath};

use crate::outputs::encode_directory;

#[derive(Default)]
struct Draft {
    children: BTreeMap<String, Self>,
}

/// The tree that brings these directories, which an input root lacks: children before parents, nothing where it lacks none.
/// What stands in both has the time that it has in the inputs, for an overlay shows the topmost one's.
pub(crate) fn tree(
    store: &Store,
    function: DigestFunction,
    input_root: &Digest,
    lacking: &BTreeSet<RelPath>,
) -> Vec<BuiltDirectory> {
    let top = load(store, input_root);
    let mut draft = Draft::default();
    for path in lacking {
        let mut here = &mut draft;
        for name in path.names() {
            here = here.children.entry(name.to_owned()).or_default();
        }
    }
    let mut built = Vec::new();
    if !draft.children.is_empty() {
        draft.build(store, function, top.as_ref(), &mut built);
    }
    built
}

/// One that can't be read any more is as good as none: what is missing was asked for before.
fn load(store: &Store, digest: &Digest) -> Option<Arc<Directory>> {
    store.directory(digest).ok().flatten()
}

fn below(store: &Store, directory: &Directory, name: &str) -> Option<Arc<Directory>> {
    match directory.get(name) {
        Some(Node::Directory(node)) => load(store, &node.digest),
        Some(Node::File(_) | Node::Symlink(_)) | None => None,
    }
}

impl Draft {
    fn build(
        self,
        store: &Store,
        function: DigestFunction,
        input: Option<&Arc<Directory>>,
        built: &mut Vec<BuiltDirectory>,
    ) -> Digest {
        let mtime = input.and_then(|input| input.mtime);
        let mut directory = Directory { mtime, ..Directory::default() };
        for (name, draft) in self.children {
            let input = input.and_then(|input| below(store, input, &name));
            let digest = draft.build(store, function, input.as_ref(), built);
            directory.directories.push(DirectoryNode { name, digest });
        }
        let bytes = encode_directory(&directory, true);
        let digest = hands_tree::hash(function, &bytes);
        built.push(BuiltDirectory { digest, bytes });
        digest
    }
}
