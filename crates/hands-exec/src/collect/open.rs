//! Opening what stands in a hostile tree: never through a link, never anything that could block or act.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hands_types::Mtime;
use hands_types::limits::MAX_BLOB;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::CollectError;

/// What is said of a path with a link in it.
pub(crate) const BEHIND_LINK: &str = "lies behind a symbolic link, which is not followed";

/// Something in the tree, held by a handle that can neither read nor write.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory against which `name` is resolved again to read it.
    directory: OwnedFd,
    name: String,
    handle: OwnedFd,
    pub(crate) node: Node,
    /// When its content was changed.
    pub(crate) mtime: Option<Mtime>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File {
        executable: bool,
    },
    Symlink,
    Directory,
    /// What can't be an output, as the rest of a sentence.
    Other(&'static str),
}

/// Looks at a path below `directory`; none if nothing is there. `shown` names it in errors.
pub(crate) fn open(
    directory: BorrowedFd<'_>,
    path: &str,
    shown: &str,
) -> Result<Option<Found>, CollectError> {
    let path = if path.is_empty() { "." } else { path };
    let handle = match open_beneath(directory, path, OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => {
            return Err(CollectError::NotAnOutput { path: shown.to_owned(), why: BEHIND_LINK });
        }
        Err(errno) => return Err(read_error(shown)(errno)),
    };
    let stat = rustix::fs::fstat(&handle).map_err(read_error(shown))?;
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            if u64::try_from(stat.st_size).unwrap_or(0) > MAX_BLOB {
                return Err(CollectError::TooMuch {
                    path: shown.to_owned(),
                    what: "has more bytes",
                    bound: MAX_BLOB,
                });
            }
            Node::File { executable: stat.st_mode & 0o111 != 0 }
        }
        FileType::Symlink => Node::Symlink,
        FileType::Directory => Node::Directory,
        FileType::Fifo => Node::Other("is a named pipe, which can't be an output"),
        FileType::Socket => Node::Other("is a socket, which can't be an output"),
        FileType::CharacterDevice | FileType::BlockDevice => {
            Node::Other("is a device, which can't be an output")
        }
        FileType::Unknown => Node::Other("is of a kind that can't be an output"),
    };
    let (directory, name) = (duplicate(directory, shown)?, path.to_owned());
    Ok(Some(Found { directory, name, handle, node, mtime: mtime(&stat) }))
}

/// The modification time that a file system tells; it tells no other than valid ones.
pub(crate) fn mtime(stat: &rustix::fs::Stat) -> Option<Mtime> {
    Mtime::new(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).ok()?)
}

impl Found {
    /// Opens a regular file for reading.
    pub(crate) fn open_file(&self, shown: &str) -> Result<File, CollectError> {
        // Should it be something else by now, NONBLOCK keeps the open from waiting for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(self.reopen(flags, shown)?))
    }

    /// Opens a directory for reading.
    pub(crate) fn open_directory(&self, shown: &str) -> Result<OwnedFd, CollectError> {
        self.reopen(OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY, shown)
    }

    /// Opens the name again and makes sure that it is still the same.
    fn reopen(&self, flags: OFlags, shown: &str) -> Result<OwnedFd, CollectError> {
        let fd =
            open_beneath(self.directory.as_fd(), &self.name, flags).map_err(read_error(shown))?;
        let before = rustix::fs::fstat(&self.handle).map_err(read_error(shown))?;
        let after = rustix::fs::fstat(&fd).map_err(read_error(shown))?;
        if (before.st_ino, before.st_mode) != (after.st_ino, after.st_mode) {
            return Err(CollectError::NotAnOutput {
                path: shown.to_owned(),
                why: "changed while it was collected",
            });
        }
        Ok(fd)
    }

    /// Where a link points.
    pub(crate) fn target(&self, shown: &str) -> Result<String, CollectError> {
        let target =
            rustix::fs::readlinkat(&self.handle, "", Vec::new()).map_err(read_error(shown))?;
        target.into_string().map_err(|_| CollectError::NotAnOutput {
            path: shown.to_owned(),
            why: "is a symbolic link whose target is not UTF-8",
        })
    }
}

/// openat2 with everything forbidden that could lead elsewhere.
fn open_beneath(directory: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Some containers' filters don't know the call. The paths here hold no `..`, so that one name at a time,
            // without links, is the same.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_names(directory, path, flags),
            result => return result,
        }
    }
}

/// Duplicates a handle, so that it can be kept beside others.
fn duplicate(fd: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, CollectError> {
    fd.try_clone_to_owned().map_err(|source| CollectError::Read { path: path.to_owned(), source })
}

fn open_by_names(directory: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = Path::new(path);
    let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here: Option<OwnedFd> = None;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let at = here.as_ref().map_or(directory, AsFd::as_fd);
        if names.peek().is_none() {
            return rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty());
        }
        let next = rustix::fs::openat(at, name, step, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        here = Some(next);
    }
    Err(Errno::NOENT)
}

pub(crate) fn read_error(shown: &str) -> impl FnOnce(Errno) -> CollectError + '_ {
    move |errno| CollectError::Read { path: shown.to_owned(), source: errno.into() }
}
