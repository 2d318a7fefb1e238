//! From the description of a tree to its root.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use hands_tree::{
    Directory, DirectoryNode, FileNode, Marks, MergeError, MergeLayer, Node, SymlinkNode, merge,
};
use hands_types::{Digest, RelPath};

use super::stored::{Found, Stored};
use super::{FilePart, TreeSpec};
use crate::{ClientError, Cluster, Made, Output, Snapshot, SnapshotProgress, printable};

impl Cluster {
    /// Makes a tree in the cluster's store. What lies on this machine is read by the agent, which is started for it where
    /// needed. The answer tells about all parts of this machine together.
    pub async fn tree(
        &self,
        spec: TreeSpec,
        mut progress: impl FnMut(&SnapshotProgress),
    ) -> Result<Snapshot, ClientError> {
        // The usual case: what the agent answers is all.
        if let TreeSpec::Paths(paths) = &spec {
            return self.walk(paths, &mut progress).await;
        }
        let mut maker = Maker {
            cluster: self,
            stored: Stored::new(self),
            told: Snapshot::empty(self.function()),
            progress: &mut progress,
        };
        let root = maker.make(spec).await?;
        let Maker { stored, mut told, .. } = maker;
        told.bytes_sent += stored.send().await?;
        told.root = root;
        Ok(told)
    }
}

struct Maker<'a, P> {
    cluster: &'a Cluster,
    stored: Stored<'a>,
    told: Snapshot,
    progress: &'a mut P,
}

impl<P: FnMut(&SnapshotProgress)> Maker<'_, P> {
    /// A tree's root. Boxed, since a tree may be made of trees.
    fn make(
        &mut self,
        spec: TreeSpec,
    ) -> Pin<Box<dyn Future<Output = Result<Digest, ClientError>> + '_>> {
        Box::pin(async move {
            let cluster = self.cluster;
            match spec {
                TreeSpec::Empty => Ok(self.stored.put(Directory::default())),
                TreeSpec::Paths(paths) => {
                    let made = cluster.walk(&paths, self.progress).await?;
                    Ok(self.told.add(made))
                }
                TreeSpec::Stream(part) => {
                    let made = cluster.pour(&part, self.progress).await?;
                    Ok(self.told.add(made))
                }
                TreeSpec::Tar(part) => {
                    let made = cluster.unpack(&part, self.progress).await?;
                    Ok(self.told.add(made))
                }
                TreeSpec::File(file) => self.file(file),
                TreeSpec::Stored(root) => Ok(root),
                TreeSpec::Output(output) => self.output(output).await,
                TreeSpec::At { path, tree } => {
                    let root = self.make(*tree).await?;
                    Ok(self.above(root, &path))
                }
                TreeSpec::Mounted { on, path, tree } => {
                    let on = self.make(*on).await?;
                    let tree = self.make(*tree).await?;
                    self.mount(on, &path, tree).await
                }
                TreeSpec::Part { of, path } => {
                    let root = self.make(*of).await?;
                    self.below(root, &path).await
                }
                TreeSpec::Merged(parts) => {
                    let mut roots = Vec::with_capacity(parts.len());
                    for part in parts {
                        roots.push(self.make(part).await?);
                    }
                    self.merge(&roots).await
                }
            }
        })
    }

    fn file(&mut self, file: FilePart) -> Result<Digest, ClientError> {
        let FilePart { path, contents, executable } = file;
        let Some((above, name)) = split(&path) else {
            return Err(ClientError::Spec("a file of an input root has no name".to_owned()));
        };
        let digest = hands_tree::hash(self.cluster.function(), &contents);
        self.told.files += 1;
        self.told.bytes += digest.size;
        self.stored.put_encoded(digest, contents);
        let file = FileNode { name, digest, executable, mtime: None };
        let root = self.stored.put(Directory { files: vec![file], ..Directory::default() });
        Ok(self.above(root, &above))
    }

    async fn output(&mut self, output: Output) -> Result<Digest, ClientError> {
        let Output { path, what } = output;
        let name = || path.rsplit('/').next().unwrap_or_default().to_owned();
        let directory = match what {
            Made::Directory { root: Some(root), .. } => return Ok(root),
            Made::Directory { tree: Some(tree), root: None } => {
                return self.stored.put_tree(&tree).await;
            }
            Made::Directory { tree: None, root: None } => {
                return Err(self.cluster.bad_output(&path, "has no digest"));
            }
            Made::File { digest, executable } => {
                let file = FileNode { name: name(), digest, executable, mtime: None };
                Directory { files: vec![file], ..Directory::default() }
            }
            Made::Symlink { target } => {
                let link = SymlinkNode { name: name(), target, mtime: None };
                Directory { symlinks: vec![link], ..Directory::default() }
            }
        };
        // The names are another's.
        directory.check(self.cluster.function()).map_err(|error| {
            self.cluster.bad_output(&path, &format!("can't be an input: {error}"))
        })?;
        Ok(self.stored.put(directory))
    }

    /// The root of a tree that has another one below a directory.
    fn above(&mut self, root: Digest, path: &RelPath) -> Digest {
        path.names().rev().fold(root, |digest, name| {
            let node = DirectoryNode { name: name.to_owned(), digest };
            self.stored.put(Directory { directories: vec![node], ..Directory::default() })
        })
    }

    /// What a tree has below a directory.
    async fn below(&mut self, root: Digest, path: &RelPath) -> Result<Digest, ClientError> {
        if let Ok(real) = self.stored.real(root, path.as_str()).await?
            && let Some(Found::Directory(below)) = self.stored.node(root, &real.path).await?
        {
            return Ok(below);
        }
        Ok(self.stored.put(Directory::default()))
    }

    /// A tree in which another one stands in place of a directory.
    async fn mount(
        &mut self,
        on: Digest,
        path: &RelPath,
        tree: Digest,
    ) -> Result<Digest, ClientError> {
        let real = self.stored.real(on, path.as_str()).await?.map_err(|astray| {
            let path = printable(path.as_str()).into_owned();
            ClientError::Spec(format!("a tree can't be at {path} of another: {astray}"))
        })?;
        // The directories on the way, as far as there are any; nothing else is in it.
        let (mut way, mut here) = (Vec::new(), Some(on));
        for name in real.path.names() {
            let directory = match here {
                Some(digest) => Directory::clone(&*self.stored.directory(&digest).await?),
                None => Directory::default(),
            };
            here = match directory.get(name) {
                Some(Node::Directory(below)) => Some(below.digest),
                Some(Node::File(_) | Node::Symlink(_)) | None => None,
            };
            way.push((name, directory));
        }
        Ok(way.into_iter().rev().fold(tree, |digest, (name, mut directory)| {
            directory.directories.retain(|node| node.name != name);
            directory.directories.push(DirectoryNode { name: name.to_owned(), digest });
            directory.sort();
            self.stored.put(directory)
        }))
    }

    /// Merges trees. Directories that lie over each other are read level by level: those that are not known yet are taken for
    /// empty and asked for, until all are known.
    async fn merge(&mut self, roots: &[Digest]) -> Result<Digest, ClientError> {
        let layers: Vec<_> =
            roots.iter().map(|root| MergeLayer { root: *root, marks: Marks::NONE }).collect();
        let function = self.cluster.function();
        loop {
            let mut unknown = BTreeSet::new();
            let mut made = Vec::new();
            let stored = &self.stored;
            let merged = merge(
                function,
                &layers,
                &mut |digest| {
                    Ok::<_, std::convert::Infallible>(stored.known(digest).unwrap_or_else(|| {
                        unknown.insert(*digest);
                        Arc::default()
                    }))
                },
                &mut |directory| {
                    made.push(directory.clone());
                    hands_store::encode_directory(directory)
                },
            );
            if !unknown.is_empty() {
                self.stored.load(&unknown).await?;
                continue;
            }
            let merged = merged.map_err(|error| match error {
                MergeError::Load(never) => match never {},
                error @ (MergeError::TooDeep(_) | MergeError::TooMany) => ClientError::Spec(
                    format!("the trees can't be one input root: {}", printable(&error.to_string())),
                ),
            })?;
            for directory in made {
                self.stored.put(directory);
            }
            return Ok(merged.root);
        }
    }
}

/// A path's directory and its last name; none of the root.
fn split(path: &RelPath) -> Option<(RelPath, String)> {
    let last = path.names().next_back()?.to_owned();
    Some((path.parent().unwrap_or_default(), last))
}
