//! Trees that actions get as their input roots, described before they are anywhere.
//!
//! What lies on this machine is read by the agent; the rest is put together here. Only directories in which parts meet are
//! looked into, and no file's content comes here.

mod ask;
mod find;
mod make;
mod stored;

pub use find::Program;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hands_types::{Digest, RelPath};

use crate::{ClientError, Input, Output};

/// A tree that is to be made: [`crate::Cluster::tree`] makes it, in the store of the cluster.
#[derive(Debug)]
pub enum TreeSpec {
    /// Nothing but a root.
    Empty,
    /// Paths of this machine.
    Paths(Paths),
    /// One file of these bytes.
    File(FilePart),
    /// One file of whatever can be read from a pipe until its end. It can be read once.
    Stream(StreamPart),
    /// What is in a tar.
    Tar(TarPart),
    /// A tree that is in the store already, by its root.
    Stored(Digest),
    /// What an earlier action made: a file or a link under its own name, or what is in a directory. It does not come here.
    Output(Output),
    /// What a tree has below a directory of it, links on the way followed; nothing where there is no such directory.
    Part {
        /// The tree.
        of: Box<Self>,
        /// The directory.
        path: RelPath,
    },
    /// A tree below a directory, and nothing beside it.
    At {
        /// The directory.
        path: RelPath,
        /// The tree.
        tree: Box<Self>,
    },
    /// A tree as it looks where another one is mounted at a directory of it: links on the way are followed, a directory that
    /// is not there is made, and what stands there is hidden.
    Mounted {
        /// The tree.
        on: Box<Self>,
        /// The directory.
        path: RelPath,
        /// What is mounted.
        tree: Box<Self>,
    },
    /// Several trees, each laid over those before it: of what stands at a path the last one's counts, and directories show
    /// what all of them have.
    Merged(Vec<Self>),
}

/// Paths of this machine, each at its place. Two of them that want different things in one place are an error.
#[derive(Debug)]
pub struct Paths {
    /// They.
    pub inputs: Vec<Input>,
    /// A directory that is there in any case: the action's working directory.
    pub directory: RelPath,
    /// Whether what is there carries the modification times that it has here. An engine that does not know them passes them
    /// over.
    pub times: bool,
}

/// One file of bytes in memory.
#[derive(Debug)]
pub struct FilePart {
    /// Where it stands.
    pub path: RelPath,
    /// What is in it.
    pub contents: Bytes,
    /// Whether it may be executed.
    pub executable: bool,
}

/// One file of what comes through a pipe.
#[derive(Debug)]
pub struct StreamPart {
    /// Where it stands.
    pub path: RelPath,
    /// The end to read from.
    pub from: OwnedFd,
}

/// A tar of this machine: plain, or compressed with gzip or zstd.
#[derive(Debug)]
pub struct TarPart {
    file: OwnedFd,
    display: PathBuf,
}

impl TarPart {
    /// Opens a tar.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let file = File::open(path)
            .map_err(|source| ClientError::Input { path: path.to_owned(), source })?;
        Ok(Self { file: file.into(), display: path.to_owned() })
    }
}

impl TreeSpec {
    /// This tree below a directory; itself where that is the root.
    #[must_use]
    pub fn at(self, path: RelPath) -> Self {
        if path.as_str().is_empty() { self } else { Self::At { path, tree: Box::new(self) } }
    }

    /// What this tree has below a directory.
    #[must_use]
    pub fn part(self, path: RelPath) -> Self {
        if path.as_str().is_empty() { self } else { Self::Part { of: Box::new(self), path } }
    }
}
