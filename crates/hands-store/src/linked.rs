//! Files with several names: a large blob, its executable twin, and the staged trees that they stand in share inodes.
//! Each name that comes or goes changes the change time of the inode, by which damage is noticed elsewhere. So names come
//! and go through here, where the change time that our own doing has left is remembered.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD};

use crate::db::lock;
use crate::error::StoreError;

/// A file, and when it was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    inode: u64,
    /// Seconds and nanoseconds.
    pub(crate) changed: (i64, i64),
}

impl Link {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

/// The change times of files with several names, by inode.
#[derive(Debug, Default)]
pub(crate) struct Linked(Mutex<HashMap<u64, (i64, i64)>>);

impl Linked {
    /// Whether a file is as our own doing has left it, if that is known.
    pub(crate) fn expects(&self, link: &Link) -> Option<bool> {
        lock(&self.0).get(&link.inode).map(|expected| *expected == link.changed)
    }

    /// Whether nobody else has changed this file since it was last known to be right, as far as is known.
    pub(crate) fn is_untouched(&self, file: &File) -> io::Result<bool> {
        // Under the lock: no name comes or goes meanwhile.
        let known = lock(&self.0);
        let now = Link::of(&file.metadata()?);
        Ok(known.get(&now.inode).is_none_or(|expected| *expected == now.changed))
    }

    /// Takes files as they were before all of them were read and found right.
    pub(crate) fn note(&self, links: &[Link]) {
        lock(&self.0).extend(links.iter().map(|link| (link.inode, link.changed)));
    }

    /// The inode has one name, and perhaps had another file before.
    pub(crate) fn forget(&self, metadata: &Metadata) {
        lock(&self.0).remove(&metadata.ino());
    }

    /// Gives a file that is right one more name.
    pub(crate) fn link(
        &self,
        from: &Path,
        at: BorrowedFd<'_>,
        name: &str,
    ) -> Result<(), rustix::io::Errno> {
        let mut known = lock(&self.0);
        rustix::fs::linkat(CWD, from, at, name, AtFlags::empty())?;
        if let Ok(metadata) = from.symlink_metadata() {
            known.insert(metadata.ino(), Link::of(&metadata).changed);
        }
        Ok(())
    }

    /// Deletes a name of a file.
    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut known = lock(&self.0);
        let before = path.symlink_metadata()?;
        if !before.is_file() || before.nlink() < 2 {
            std::fs::remove_file(path)?;
            if before.is_file() {
                known.remove(&before.ino());
            }
            return Ok(());
        }
        let file = File::open(path);
        std::fs::remove_file(path)?;
        if let Some(expected) = known.get_mut(&before.ino())
            && *expected == Link::of(&before).changed
            && let Ok(after) = file.and_then(|file| file.metadata())
        {
            *expected = Link::of(&after).changed;
        }
        Ok(())
    }

    /// Deletes a file or a whole directory; links are not followed.
    pub(crate) fn remove_all(&self, path: &Path) -> Result<(), StoreError> {
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("delete", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !path.symlink_metadata()?.is_dir() {
            return self.unlink(path);
        }
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let path = entry.path();
            let removed =
                if entry.file_type()?.is_dir() { self.remove(&path) } else { self.unlink(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::remove_dir(path)
    }

    /// Deletes everything in a directory.
    pub(crate) fn clear(&self, dir: &Path) -> Result<(), StoreError> {
        for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
            self.remove_all(&entry.map_err(StoreError::io("list", dir))?.path())?;
        }
        Ok(())
    }
}
