//! Copies staged trees where an overlay can't be had or is not wanted.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DEEPEST: usize = 512;

/// Copies trees of the cache, topmost first, into a directory, for this owner. Everything keeps its time; of a directory
/// that several trees have, the topmost tree's counts, as in an overlay.
pub(crate) fn copy_trees(
    cache: BorrowedFd<'_>,
    trees: &[&CStr],
    to: BorrowedFd<'_>,
    owner: Option<u32>,
) -> Result<(), Errno> {
    let mut copy = Copy { owner, path: PathBuf::new(), removed: BTreeSet::new() };
    let mut topmost = None;
    for tree in trees {
        let from = rustix::fs::openat(cache, *tree, DIRECTORY, Mode::empty())?;
        copy.directory(from.as_fd(), to)?;
        topmost.get_or_insert(times(&rustix::fs::fstat(&from)?));
    }
    topmost.map_or(Ok(()), |times| rustix::fs::futimens(to, &times))
}

struct Copy {
    owner: Option<u32>,
    /// Where we are.
    path: PathBuf,
    /// What a tree says that those below it have no longer.
    removed: BTreeSet<PathBuf>,
}

impl Copy {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.path.components().count() > DEEPEST {
            return Err(Errno::LOOP);
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            self.path.push(name);
            let copied =
                if self.removed.contains(&self.path) { Ok(()) } else { self.entry(from, to, name) };
            self.path.pop();
            copied?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<(), Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let made = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let is_new = unless_there(rustix::fs::mkdirat(to, name, mode | Mode::RWXU))?;
                let below = rustix::fs::openat(from, name, DIRECTORY, Mode::empty())?;
                match rustix::fs::openat(to, name, DIRECTORY, Mode::empty()) {
                    Ok(into) => {
                        let before = rustix::fs::fstat(&into)?;
                        self.directory(below.as_fd(), into.as_fd())?;
                        if !is_new {
                            rustix::fs::futimens(&into, &times(&before))?;
                        }
                        is_new
                    }
                    // A tree above has something else in its place.
                    Err(Errno::NOTDIR | Errno::LOOP) => false,
                    Err(e) => return Err(e),
                }
            }
            FileType::RegularFile => copy_file(from, to, name, mode)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                unless_there(rustix::fs::symlinkat(target.as_c_str(), to, name))?
            }
            // An overlay's mark for what is not there any more.
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                self.removed.insert(self.path.clone());
                false
            }
            _ => return Err(Errno::INVAL),
        };
        if !made {
            return Ok(());
        }
        if let Some(id) = self.owner {
            let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
            rustix::fs::chownat(to, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// To set what is told here as the time of a change.
pub(crate) fn times(stat: &Stat) -> Timestamps {
    let changed =
        Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) };
    Timestamps { last_access: changed, last_modification: changed }
}

/// Whether it was made, not there already from a tree above.
fn unless_there(made: Result<(), Errno>) -> Result<bool, Errno> {
    match made {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &OsStr,
    mode: Mode,
) -> Result<bool, Errno> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, read, Mode::empty())?;
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target: OwnedFd = match rustix::fs::openat(to, name, create, mode | Mode::WUSR) {
        Err(Errno::EXIST) => return Ok(false),
        opened => opened?,
    };
    let (mut source, mut target) = (File::from(source), File::from(target));
    // Uses copy_file_range, with reflinks where there are, and falls back by itself.
    std::io::copy(&mut source, &mut target)
        .map_err(|e| e.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
    Ok(true)
}
