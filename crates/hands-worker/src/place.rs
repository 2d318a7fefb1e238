//! Where a worker keeps things, which somebody may delete under it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hands_store::{Store, still_leads_to};

use crate::error::WorkerError;

/// The directory of the actions, and the store. What is made there after they were deleted would be lost, or be something
/// else than the hub was told.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    inode: (u64, u64),
    store: Store,
}

impl Place {
    pub(crate) fn of(directory: &Path, store: &Store) -> Result<Self, WorkerError> {
        let inode = inode(directory).map_err(|source| WorkerError::Directory {
            what: "look at",
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self { directory: directory.to_owned(), inode, store: store.clone() })
    }

    /// An error where it is not there any more, or another.
    pub(crate) fn ensure_here(&self) -> Result<(), WorkerError> {
        let vanished = |path: &Path| WorkerError::Vanished { path: path.to_owned() };
        if !still_leads_to(&self.directory, self.inode) {
            return Err(vanished(&self.directory));
        }
        self.store.ensure_here().map_err(|_| vanished(self.store.dir()))
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
