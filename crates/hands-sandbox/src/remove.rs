//! Removes a directory that an action wrote: hostile names, links to elsewhere, directories without permissions.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

#[cfg(test)]
mod tests;

/// Levels that are gone down, each with two descriptors. What is nested deeper is moved up first, as is what there are no
/// descriptors for.
const MAX_DEPTH: usize = 200;

/// Which directory stands at a path. Once it was removed another one may be made there, with the same inode's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    inode: u64,
    made: (i64, u32),
}

impl Identity {
    /// Of what is there now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        Ok(Self { inode: stat.stx_ino, made: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) })
    }
}

/// Removes the directory and all below it; one that does not exist is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let directory = open(CWD, path.as_os_str())?;
    // Removing needs the right to write the directory, which its owner may have taken away.
    let _ = rustix::fs::fchmod(&directory, Mode::RWXU);
    empty(directory.as_fd())?;
    Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Removes all that is in a directory, but not the directory.
pub(crate) fn empty(directory: BorrowedFd<'_>) -> io::Result<()> {
    let mut removal = Removal { top: directory, moved: 0 };
    loop {
        let before = removal.moved;
        removal.empty(directory, 0)?;
        if removal.moved == before {
            return Ok(());
        }
    }
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Directories that were moved up to it.
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => {
                    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                _ => false,
            };
            if is_directory {
                self.directory(directory, name, depth)?;
            } else {
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        depth: usize,
    ) -> Result<(), Errno> {
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done,
        }
        if depth == MAX_DEPTH {
            return self.move_up(parent, name);
        }
        let emptied = open(parent, name).and_then(|directory| {
            // Removing needs the right to write the directory, which its owner may have taken away.
            let _ = rustix::fs::fchmod(&directory, Mode::RWXU);
            self.empty(directory.as_fd(), depth + 1)
        });
        match emptied {
            Ok(()) => rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR),
            // From further up it takes fewer descriptors, and a move takes none.
            Err(Errno::MFILE | Errno::NFILE) if depth > 0 => self.move_up(parent, name),
            Err(errno) => Err(errno),
        }
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        // A directory that gets another parent is written to. A refusal shows at the move.
        let _ = rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty());
        loop {
            let to = format!(".hands-deep-{}", self.moved);
            self.moved += 1;
            match rustix::fs::renameat(parent, name, self.top, &to) {
                // A name that the action had chosen, too.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                moved => return moved,
            }
        }
    }
}

fn open(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        opened => opened,
    }
}
