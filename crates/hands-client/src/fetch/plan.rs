//! What a result wants written, checked before anything is: paths that stay below, names that are names, nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hands_proto::reapi::{self, NodeProperties, OutputFile, Tree};
use hands_types::{Digest, DigestFunction, Mtime, RelPath};
use prost::Message;

use crate::result::Skew;
use crate::{ClientError, printable};

/// A larger file comes as a stream of its own.
pub(super) const LARGEST: u64 = 64 << 10;
/// Bytes that are asked for at once.
pub(super) const BYTES: u64 = 1 << 20;
/// Files that are asked for at once.
pub(super) const FILES: usize = 500;

/// Everything of one result, by path. Links are made last, so that none of them can lead another output elsewhere.
pub(super) struct Plan {
    pub(super) function: DigestFunction,
    /// How the worker's times are to be read.
    skew: Skew,
    /// Parents before children.
    pub(super) directories: Vec<Directory>,
    pub(super) files: BTreeMap<String, File>,
    pub(super) links: BTreeMap<String, Link>,
}

pub(super) struct Directory {
    pub(super) path: String,
    pub(super) mtime: Option<Mtime>,
}

pub(super) struct Link {
    pub(super) target: String,
    pub(super) mtime: Option<Mtime>,
}

pub(super) struct File {
    pub(super) digest: Digest,
    pub(super) executable: bool,
    /// When the action wrote it, by this machine's clock, where the engine tells.
    pub(super) mtime: Option<Mtime>,
    pub(super) contents: Bytes,
}

impl File {
    /// Whether the content came with the result, or there is none.
    pub(super) fn has_contents(&self) -> bool {
        u64::try_from(self.contents.len()) == Ok(self.digest.size)
    }
}

impl Plan {
    /// Bytes of all files. An engine may tell sizes that are none.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.digest.size))
    }

    pub(super) fn new(function: DigestFunction, skew: Skew) -> Self {
        let directories = Vec::new();
        Self { function, skew, directories, files: BTreeMap::new(), links: BTreeMap::new() }
    }

    pub(super) fn file(&mut self, path: String, file: &OutputFile) -> Result<(), ClientError> {
        let digest =
            file.digest.as_ref().ok_or_else(|| hostile(&path, "has no digest".to_owned()))?;
        let mtime = self.mtime(&path, file.node_properties.as_ref())?;
        self.add_file(path, digest, file.is_executable, mtime, file.contents.clone())
    }

    fn add_file(
        &mut self,
        path: String,
        digest: &reapi::Digest,
        executable: bool,
        mtime: Option<Mtime>,
        contents: Bytes,
    ) -> Result<(), ClientError> {
        let digest =
            digest.to_digest(self.function).map_err(|e| hostile(&path, format!("has a {e}")))?;
        self.files.insert(path, File { digest, executable, mtime, contents });
        Ok(())
    }

    fn mtime(
        &self,
        path: &str,
        properties: Option<&NodeProperties>,
    ) -> Result<Option<Mtime>, ClientError> {
        let mtime = NodeProperties::to_mtime(properties)
            .map_err(|error| hostile(path, format!("can't be taken: {error}")))?;
        Ok(mtime.map(|mtime| self.skew.mend(mtime)))
    }

    pub(super) fn link(
        &mut self,
        path: String,
        target: &str,
        properties: Option<&NodeProperties>,
    ) -> Result<(), ClientError> {
        if target.is_empty() || target.contains('\0') {
            return Err(hostile(
                &path,
                "is a link without a target that a file system takes".to_owned(),
            ));
        }
        let mtime = self.mtime(&path, properties)?;
        self.links.insert(path, Link { target: target.to_owned(), mtime });
        Ok(())
    }

    /// Adds all of a tree. Each directory of it is found by its digest; a tree that names one which it does not bring,
    /// or that contains itself, is refused (the latter can't be made without breaking the hash, but costs nothing).
    pub(super) fn tree(&mut self, at: &str, tree: &Tree) -> Result<(), ClientError> {
        let function = self.function;
        let by_digest: BTreeMap<Digest, &reapi::Directory> = tree
            .children
            .iter()
            .map(|c| (hands_tree::hash(function, &c.encode_to_vec()), c))
            .collect();
        // A message with nothing in it may be left out.
        let empty = reapi::Directory::default();
        let root = tree.root.as_ref().unwrap_or(&empty);
        let mut todo = vec![(at.to_owned(), root)];
        let mut entries = 0_usize;
        while let Some((path, directory)) = todo.pop() {
            // Directories before their paths are made: the last of a few large ones would fill the memory.
            entries +=
                directory.files.len() + directory.symlinks.len() + directory.directories.len();
            if entries > MAX_ENTRIES {
                return Err(hostile(at, format!("holds more than {MAX_ENTRIES} entries")));
            }
            let mut names = BTreeSet::new();
            let mut join = |name: &str| -> Result<String, ClientError> {
                let is_name = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
                if !is_name || name.len() > MAX_COMPONENT {
                    return Err(hostile(
                        at,
                        format!("holds the name `{}`, which is not one", printable(name)),
                    ));
                }
                if !names.insert(name.to_owned()) {
                    return Err(hostile(
                        at,
                        format!("holds the name `{}` twice in one directory", printable(name)),
                    ));
                }
                // A chain of directories is small, and the sum of its paths is not.
                if path.len() + name.len() >= MAX_PATH {
                    return Err(hostile(at, format!("holds a path of more than {MAX_PATH} bytes")));
                }
                Ok(if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })
            };
            for file in &directory.files {
                let path = join(&file.name)?;
                let digest = file
                    .digest
                    .as_ref()
                    .ok_or_else(|| hostile(&path, "has no digest".to_owned()))?;
                let mtime = self.mtime(&path, file.node_properties.as_ref())?;
                self.add_file(path, digest, file.is_executable, mtime, Bytes::new())?;
            }
            for link in &directory.symlinks {
                self.link(join(&link.name)?, &link.target, link.node_properties.as_ref())?;
            }
            for child in &directory.directories {
                let path = join(&child.name)?;
                let digest = child.digest.as_ref().and_then(|d| d.to_digest(function).ok());
                let found = match digest {
                    Some(digest) if digest.is_empty() => Some(empty_directory()),
                    Some(digest) => by_digest.get(&digest).copied(),
                    None => None,
                };
                let found = found.ok_or_else(|| {
                    hostile(&path, "is a directory that its tree does not bring".to_owned())
                })?;
                todo.push((path, found));
            }
            let mtime = self.mtime(&path, directory.node_properties.as_ref())?;
            self.directories.push(Directory { path, mtime });
        }
        Ok(())
    }

    /// No output may stand below a file or a link of the same result.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        let leaf = |path: &str| self.files.contains_key(path) || self.links.contains_key(path);
        let directories = || self.directories.iter().map(|directory| &directory.path);
        let all = self.files.keys().chain(self.links.keys()).chain(directories());
        for path in all {
            let mut above = path.as_str();
            while let Some((parent, _)) = above.rsplit_once('/') {
                if leaf(parent) {
                    return Err(hostile(
                        path,
                        format!("stands below `{}`, which is no directory", printable(parent)),
                    ));
                }
                above = parent;
            }
        }
        if let Some(path) = self
            .links
            .keys()
            .find(|p| self.files.contains_key(*p))
            .or_else(|| directories().find(|p| leaf(p.as_str())))
        {
            return Err(hostile(path, "stands there twice".to_owned()));
        }
        Ok(())
    }
}

/// Entries of one output directory, counted as often as they would be written: a small tree can name one directory
/// again and again.
const MAX_ENTRIES: usize = 1 << 20;

/// Longest name, bytes: what every file system takes.
const MAX_COMPONENT: usize = 255;

/// Longest path of an output, bytes: what the kernel takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// The paths that a tree stands for as the output `out`.
#[cfg(any(test, fuzzing))]
pub(crate) fn paths_of_tree(tree: &Tree) -> Result<Vec<String>, ClientError> {
    let mut plan = Plan::new(DigestFunction::Sha256, Skew::default());
    plan.tree("out", tree)?;
    plan.check()?;
    let Plan { directories, files, links, .. } = plan;
    let directories = directories.into_iter().map(|directory| directory.path);
    Ok(directories.chain(files.into_keys()).chain(links.into_keys()).collect())
}

fn empty_directory() -> &'static reapi::Directory {
    static EMPTY: reapi::Directory = reapi::Directory {
        files: Vec::new(),
        directories: Vec::new(),
        symlinks: Vec::new(),
        node_properties: None,
    };
    &EMPTY
}

/// The path, if it stays below the destination.
pub(super) fn safe(path: &str) -> Result<String, ClientError> {
    match RelPath::new(path) {
        Ok(path) if !path.as_str().is_empty() => Ok(path.as_str().to_owned()),
        Ok(_) => Err(hostile(path, "has no name".to_owned())),
        Err(error) => Err(hostile(path, error.why.to_owned())),
    }
}

fn hostile(path: &str, why: String) -> ClientError {
    ClientError::HostileOutput { path: printable(path).into_owned(), why }
}
