//! What the file system says of a tree, in one number.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::linked::{Link, Linked};

/// What the file system says of everything at a path, in one number that does not depend on the order of names.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) total: u64,
    pub(crate) took: Duration,
    /// Files with several names, as they were seen.
    pub(crate) links: Vec<Link>,
}

/// What a sum is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All that stands there is right, or is about to be read.
    Take,
    Look,
}

/// Adds up what stands at a path. Fails with [`io::ErrorKind::TimedOut`] when that takes longer than a limit.
pub(crate) fn sum(
    path: &Path,
    linked: &Linked,
    purpose: Purpose,
    limit: Option<Duration>,
) -> io::Result<Sum> {
    let begun = Instant::now();
    let until = limit.map(|limit| begun + limit);
    let metadata = path.symlink_metadata()?;
    let mut walk = Walk { linked, purpose, until, total: 0, links: Vec::new() };
    walk.add(0, b"", &metadata, path)?;
    if metadata.is_dir() {
        walk.below(path, metadata.ino())?;
    }
    Ok(Sum { total: walk.total, took: begun.elapsed(), links: walk.links })
}

struct Walk<'a> {
    linked: &'a Linked,
    purpose: Purpose,
    until: Option<Instant>,
    total: u64,
    links: Vec<Link>,
}

impl Walk<'_> {
    fn below(&mut self, path: &Path, inode: u64) -> io::Result<()> {
        for found in std::fs::read_dir(path)? {
            let found = found?;
            let metadata = found.metadata()?;
            if self.until.is_some_and(|until| Instant::now() > until) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let name = found.file_name();
            if metadata.is_dir() {
                let path = path.join(&name);
                self.add(inode, name.as_bytes(), &metadata, &path)?;
                self.below(&path, metadata.ino())?;
            } else {
                self.add(inode, name.as_bytes(), &metadata, path)?;
            }
        }
        Ok(())
    }

    /// Adds one entry. `dir` is the directory in which a file stands.
    fn add(&mut self, parent: u64, name: &[u8], metadata: &Metadata, dir: &Path) -> io::Result<()> {
        let mut hasher = DefaultHasher::new();
        (parent, name, metadata.ino(), metadata.mode(), metadata.uid(), metadata.size())
            .hash(&mut hasher);
        (metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
        let again = || dir.join(std::ffi::OsStr::from_bytes(name)).symlink_metadata();
        // Each new name changes an inode's time: what our own doing has left is known by the inode, for all trees.
        let own_doing = match self.purpose {
            Purpose::Take if metadata.is_file() && metadata.nlink() > 1 => {
                self.links.push(self.linked.seen(metadata, again)?);
                Some(true)
            }
            Purpose::Take => {
                self.linked.forget(metadata);
                None
            }
            Purpose::Look => self.linked.expects(metadata, again),
        };
        match own_doing {
            Some(as_expected) => as_expected.hash(&mut hasher),
            None => (metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher),
        }
        self.total = self.total.wrapping_add(hasher.finish());
        Ok(())
    }
}
