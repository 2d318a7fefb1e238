//! A layer being put together: its tree, and what it takes away from those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hands_proto::reapi::{self, NodeProperties};
use hands_tree::{Directory, DirectoryNode, FileNode, Marks, SymlinkNode, There, follow};
use hands_types::limits::{MAX_PATH, MAX_TREE_DEPTH};
use hands_types::{Digest, DigestFunction, Mtime, RelPath};
use prost::Message;

/// A directory of a layer.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    nodes: BTreeMap<String, Node>,
    mtime: Option<Mtime>,
    opaque: bool,
    gone: BTreeSet<String>,
}

/// What stands at a name of a layer.
#[derive(Debug)]
pub(crate) enum Node {
    File { digest: Digest, executable: bool, mtime: Option<Mtime> },
    Symlink { target: String, mtime: Option<Mtime> },
    Directory(Draft),
}

/// What a layer says of a path.
enum Said<'a> {
    Node(&'a Node),
    /// Nothing stands there, whatever is below.
    Gone,
    /// The layers below decide.
    Nothing,
}

/// Directories of a tree by their digests, with what they are encoded as.
pub(crate) type Directories = BTreeMap<Digest, (Arc<Directory>, Bytes)>;

impl Draft {
    /// The layer's directory in which an entry of this path stands, made where it is not there, and the entry's name.
    /// Links on the way are followed as a kernel would that unpacks onto the layers below: `lib/x` lands in `usr/lib` where
    /// `lib` leads there. The root has no name. Directories that the path alone asks for are counted.
    pub(crate) fn place(
        &mut self,
        below: &[Self],
        path: &str,
        made: &mut u64,
    ) -> Result<(&mut Self, String), String> {
        if path.len() > MAX_PATH {
            return Err(format!("its path is longer than {MAX_PATH} bytes"));
        }
        let mut names: Vec<String> = Vec::new();
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            if name == ".." {
                return Err("its path leaves the image".to_owned());
            }
            if name.len() > 255 {
                return Err("a name in its path is longer than 255 bytes".to_owned());
            }
            names.push(name.to_owned());
        }
        let Some(last) = names.pop() else { return Ok((self, String::new())) };
        if !self.has(&names) {
            let mut look = |path: &str| Ok::<_, ()>(there(self, below, path));
            let real = follow(&RelPath::default(), &names.join("/"), Some("/"), &mut look);
            let Ok(real) = real else { return Err("its path can't be followed".to_owned()) };
            let real = real.map_err(|astray| format!("its path leads nowhere: {astray}"))?;
            names = real.path.names().map(str::to_owned).collect();
        }
        // Where links have led: each of them may lead deeper, and a tree is walked by calls within calls.
        if names.len() > MAX_TREE_DEPTH {
            return Err(format!("it lies deeper than {MAX_TREE_DEPTH} directories"));
        }
        let mut here = self;
        for name in names {
            let node = here.nodes.entry(name).or_insert_with(|| {
                *made += 1;
                Node::Directory(Self::default())
            });
            let Node::Directory(directory) = node else {
                return Err("something on its path is no directory".to_owned());
            };
            here = directory;
        }
        Ok((here, last))
    }

    /// Whether these names lead through directories of this layer alone.
    fn has(&self, names: &[String]) -> bool {
        let mut here = self;
        names.iter().all(|name| match here.nodes.get(name) {
            Some(Node::Directory(directory)) => {
                here = directory;
                true
            }
            Some(Node::File { .. } | Node::Symlink { .. }) | None => false,
        })
    }

    /// Puts a file or a link in place of whatever the layer had there.
    pub(crate) fn put(&mut self, name: String, node: Node) {
        self.nodes.insert(name, node);
    }

    /// Makes a directory; one that is there stays, with what is in it.
    pub(crate) fn put_directory(&mut self, name: String, mtime: Option<Mtime>) {
        if name.is_empty() {
            self.mtime = mtime;
            return;
        }
        match self.nodes.get_mut(&name) {
            Some(Node::Directory(there)) => there.mtime = mtime,
            _ => drop(self.nodes.insert(name, Node::Directory(Self { mtime, ..Self::default() }))),
        }
    }

    /// Leaves nothing at a name, whatever this layer or those below have there.
    pub(crate) fn clear(&mut self, name: &str) {
        self.nodes.remove(name);
        self.take_away(name);
    }

    /// Takes a name of the layers below away.
    pub(crate) fn take_away(&mut self, name: &str) {
        self.gone.insert(name.to_owned());
    }

    /// Takes all away that the layers below have here.
    pub(crate) const fn take_all_away(&mut self) {
        self.opaque = true;
    }

    /// The file or link at a path, in the layer itself or as the layers below show it. Links on the way are followed, as a
    /// kernel does that links the file.
    pub(crate) fn file(&self, below: &[Self], path: &str) -> Option<Node> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut look = |path: &str| Ok::<_, ()>(there(self, below, path));
        let real = follow(&RelPath::default(), above, Some("/"), &mut look);
        let (Ok(Ok(real)), Ok(name)) = (real, RelPath::new(name)) else { return None };
        let path = real.path.join(&name);
        let path = path.as_str();
        for layer in std::iter::once(self).chain(below.iter().rev()) {
            match layer.say(path) {
                Said::Node(Node::File { digest, executable, mtime }) => {
                    let (digest, executable, mtime) = (*digest, *executable, *mtime);
                    return Some(Node::File { digest, executable, mtime });
                }
                Said::Node(Node::Symlink { target, mtime }) => {
                    return Some(Node::Symlink { target: target.clone(), mtime: *mtime });
                }
                Said::Node(Node::Directory(_)) | Said::Gone => return None,
                Said::Nothing => {}
            }
        }
        None
    }

    fn say(&self, path: &str) -> Said<'_> {
        let mut here = self;
        // Whether what the layers below have there is gone: below a mark all is this layer's.
        let mut covers = false;
        let mut names = path.split('/').filter(|name| !matches!(*name, "" | ".")).peekable();
        while let Some(name) = names.next() {
            covers |= here.opaque || here.gone.contains(name);
            match here.nodes.get(name) {
                Some(node) if names.peek().is_none() => return Said::Node(node),
                Some(Node::Directory(directory)) => here = directory,
                Some(Node::File { .. } | Node::Symlink { .. }) => return Said::Gone,
                None if covers => return Said::Gone,
                None => return Said::Nothing,
            }
        }
        Said::Nothing
    }

    /// The tree's digest and what the layer takes away; the directories go to `all`.
    pub(crate) fn finish(self, function: DigestFunction, all: &mut Directories) -> (Digest, Marks) {
        let mut directory = Directory { mtime: self.mtime, ..Directory::default() };
        let mut marks = Marks { opaque: self.opaque, gone: self.gone, below: BTreeMap::new() };
        // A map of strings goes by their bytes, which is the canonical order.
        for (name, node) in self.nodes {
            match node {
                Node::File { digest, executable, mtime } => {
                    directory.files.push(FileNode { name, digest, executable, mtime });
                }
                Node::Symlink { target, mtime } => {
                    directory.symlinks.push(SymlinkNode { name, target, mtime });
                }
                Node::Directory(below) => {
                    let (digest, of_below) = below.finish(function, all);
                    if of_below != *Marks::NONE {
                        marks.below.insert(name.clone(), of_below);
                    }
                    directory.directories.push(DirectoryNode { name, digest });
                }
            }
        }
        let bytes = Bytes::from(encode(&directory));
        let digest = hands_tree::hash(function, &bytes);
        all.entry(digest).or_insert_with(|| (Arc::new(directory), bytes));
        (digest, marks)
    }
}

/// What stands at a path as all layers show it.
fn there(top: &Draft, below: &[Draft], path: &str) -> There {
    for layer in std::iter::once(top).chain(below.iter().rev()) {
        match layer.say(path) {
            Said::Node(Node::Directory(_)) => return There::Directory,
            Said::Node(Node::Symlink { target, .. }) => {
                return There::Symlink { target: target.clone() };
            }
            Said::Node(Node::File { .. }) => return There::Other,
            Said::Gone => return There::Nothing,
            Said::Nothing => {}
        }
    }
    There::Nothing
}

/// The message of a directory.
pub(crate) fn encode(directory: &Directory) -> Vec<u8> {
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
    reapi::Directory {
        files: files.collect(),
        directories: directories.collect(),
        symlinks: symlinks.collect(),
        node_properties: NodeProperties::of_mtime(directory.mtime),
    }
    .encode_to_vec()
}
