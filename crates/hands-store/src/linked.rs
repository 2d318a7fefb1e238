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

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// A file as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    inode: u64,
    /// When it was last changed.
    changed: Time,
    /// When it was last changed by our own doing, as far as that was known when the file was seen.
    known: Option<Time>,
}

fn changed(metadata: &Metadata) -> Time {
    (metadata.ctime(), metadata.ctime_nsec())
}

/// The change times of files with several names, by inode.
#[derive(Debug, Default)]
pub(crate) struct Linked(Mutex<HashMap<u64, Time>>);

impl Linked {
    /// Whether a file is as our own doing has left it, if that is known. `again` looks at it once more: it may have got
    /// or lost a name since `metadata` was taken, and meanwhile, under the lock, it does not.
    pub(crate) fn expects(
        &self,
        metadata: &Metadata,
        again: impl FnOnce() -> io::Result<Metadata>,
    ) -> Option<bool> {
        let known = lock(&self.0);
        let expected = known.get(&metadata.ino())?;
        if *expected == changed(metadata) {
            return Some(true);
        }
        // A file that can't be looked at is not as it was left.
        Some(again().is_ok_and(|now| now.ino() == metadata.ino() && *expected == changed(&now)))
    }

    /// Whether nobody else has changed this file since it was last known to be right, as far as is known.
    pub(crate) fn is_untouched(&self, file: &File) -> io::Result<bool> {
        // Under the lock: no name comes or goes meanwhile.
        let known = lock(&self.0);
        let now = file.metadata()?;
        Ok(known.get(&now.ino()).is_none_or(|expected| *expected == changed(&now)))
    }

    /// Whether this file is known to be as our own doing has left it.
    pub(crate) fn is_as_left(&self, file: &File) -> io::Result<bool> {
        let known = lock(&self.0);
        let now = file.metadata()?;
        Ok(known.get(&now.ino()) == Some(&changed(&now)))
    }

    /// A file with checked content has got its place, and its first name.
    pub(crate) fn made(&self, path: &Path) {
        let mut known = lock(&self.0);
        // One that can't be looked at is read before it is linked.
        if let Ok(metadata) = path.symlink_metadata() {
            known.insert(metadata.ino(), changed(&metadata));
        }
    }

    /// A file before it is read, for [`Self::note`]. `again` looks at it once more, as for [`Self::expects`].
    pub(crate) fn seen(
        &self,
        metadata: &Metadata,
        again: impl FnOnce() -> io::Result<Metadata>,
    ) -> io::Result<Link> {
        let remembered = lock(&self.0);
        let known = remembered.get(&metadata.ino()).copied();
        let mut link = Link { inode: metadata.ino(), changed: changed(metadata), known };
        if known.is_some_and(|known| known != link.changed) {
            let now = again()?;
            link.changed = changed(&now);
            if now.ino() != link.inode {
                link.inode = now.ino();
                link.known = remembered.get(&now.ino()).copied();
            }
        }
        Ok(link)
    }

    /// Files were read and found right, since they were seen. What our own doing has changed meanwhile is known better.
    pub(crate) fn note(&self, links: &[Link]) {
        let mut known = lock(&self.0);
        for link in links {
            if known.get(&link.inode).copied() == link.known {
                known.insert(link.inode, link.changed);
            }
        }
    }

    /// An inode with one name needs no memory of its own. If something is remembered of it, that was of a file that had
    /// the inode before, or that has lost its other names.
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
            known.insert(metadata.ino(), changed(&metadata));
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
            && *expected == changed(&before)
            && let Ok(after) = file.and_then(|file| file.metadata())
        {
            *expected = changed(&after);
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
