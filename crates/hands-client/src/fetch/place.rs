//! Writing below one directory and nowhere else.
//!
//! Parents are opened anew for each output, from the destination's handle and never through a link that leads out of
//! it: on Linux by `openat2` with `RESOLVE_BENEATH`, so that a person's own link inside the destination works;
//! elsewhere name by name without following any link.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use hands_types::Mtime;
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::{ClientError, printable, random_u128};

pub(super) struct Place<'a> {
    below: BorrowedFd<'a>,
    /// When the first file was begun, by the file system's own clock: the time of all outputs that come without one, so that
    /// none of them seems older than another, or newer than what is changed here from now on.
    now: OnceLock<Option<Mtime>>,
    /// What can't be put here, because of what stands here, by its path.
    refused: Mutex<BTreeMap<String, ClientError>>,
}

/// What can fill a draft.
pub(super) trait Content {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError>;
    /// Puts the file in its place, replacing what was there.
    fn commit(self) -> Result<(), ClientError>;
}

/// A file beside its final place. Removed on drop unless committed.
pub(super) struct Draft {
    path: String,
    directory: OwnedFd,
    temporary: String,
    name: String,
    mtime: Option<Mtime>,
    file: Option<File>,
}

impl<'a> Place<'a> {
    pub(super) fn new(below: BorrowedFd<'a>) -> Self {
        Self { below, now: OnceLock::new(), refused: Mutex::default() }
    }

    /// An error that concerns one path alone is kept for the end, and the others go on. What stands below a directory that is
    /// refused is refused with it.
    pub(super) fn or_refused<T>(
        &self,
        path: &str,
        placed: Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        let error = match placed {
            Ok(placed) => return Ok(Some(placed)),
            Err(error) if concerns_one_path(&error) => error,
            Err(error) => return Err(error),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
        if !above.any(|above| refused.contains_key(above)) {
            refused.insert(path.to_owned(), error);
        }
        Ok(None)
    }

    /// All that was refused, in the order of the paths.
    pub(super) fn refused(self) -> impl Iterator<Item = ClientError> {
        self.refused.into_inner().unwrap_or_else(PoisonError::into_inner).into_values()
    }

    /// Makes a directory with all above it. One that is there stays as it is; its time is answered.
    pub(super) fn directory(&self, path: &str) -> Result<Option<Mtime>, ClientError> {
        let was_there = open_beneath(self.below, if path.is_empty() { "." } else { path }).is_ok();
        let handle = self.open_directory(path)?;
        if !was_there {
            return Ok(None);
        }
        Ok(mtime_of(&handle))
    }

    /// Sets the time of a directory.
    pub(super) fn touch(&self, path: &str, mtime: Mtime) -> Result<(), ClientError> {
        let handle = self.open_directory(path)?;
        match rustix::fs::futimens(&handle, &times(mtime)) {
            // A directory that others have made and let us write into keeps its time.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(e) => Err(write_error(path, e.into())),
        }
    }

    /// Begins a file. `mtime` is the time that it will have; without one, that at which the first file was begun.
    pub(super) fn draft(
        &self,
        path: &str,
        executable: bool,
        mtime: Option<Mtime>,
    ) -> Result<Draft, ClientError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.open_directory(parent)?;
        let temporary = temporary_name()?;
        // The caller's umask decides the rest, as it does for what a compiler writes.
        let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &*temporary, flags, mode)
            .map_err(|e| write_error(path, e.into()))?;
        let mut draft = Draft {
            path: path.to_owned(),
            directory,
            temporary,
            name: name.to_owned(),
            mtime,
            file: Some(file.into()),
        };
        if mtime.is_none() {
            draft.mtime = match self.now.get() {
                Some(now) => *now,
                None => *self.now.get_or_init(|| draft.begun()),
            };
        }
        Ok(draft)
    }

    /// Makes a symbolic link, replacing a file or link that was there. Its target is never looked at.
    pub(super) fn link(
        &self,
        path: &str,
        target: &str,
        mtime: Option<Mtime>,
    ) -> Result<(), ClientError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.open_directory(parent)?;
        let temporary = temporary_name()?;
        rustix::fs::symlinkat(target, &directory, &*temporary)
            .map_err(|e| write_error(path, e.into()))?;
        let dressed = mtime.map_or(Ok(()), |mtime| {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(&directory, &*temporary, &times(mtime), flags)
        });
        dressed
            .map_err(io::Error::from)
            .and_then(|()| rename(&directory, &temporary, name))
            .map_err(|e| {
                remove(&directory, &temporary);
                write_error(path, e)
            })
    }

    fn open_directory(&self, path: &str) -> Result<OwnedFd, ClientError> {
        let failed = |e: Errno| match e {
            // What RESOLVE_BENEATH and NOFOLLOW say of a link that leads out, or of any link.
            Errno::XDEV | Errno::LOOP => ClientError::HostileOutput {
                path: printable(path).into_owned(),
                why: "is or stands below a link, here, that leads out of the destination"
                    .to_owned(),
            },
            e => write_error(path, e.into()),
        };
        if path.is_empty() {
            return open_beneath(self.below, ".").map_err(failed);
        }
        match open_beneath(self.below, path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(failed),
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.open_directory(parent)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => open_beneath(self.below, path).map_err(failed),
            Err(e) => Err(failed(e)),
        }
    }
}

impl Draft {
    /// What it is written to.
    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("a draft holds its file until it is committed")
    }

    /// Has its disk keep room for so many bytes, so that the disk shows from now on what is still to come. False where that
    /// can't be had; a disk that is too full is an error.
    pub(super) fn reserve(&self, bytes: u64) -> Result<bool, ClientError> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;
            match rustix::fs::fallocate(self.file(), FallocateFlags::KEEP_SIZE, 0, bytes) {
                Ok(()) => return Ok(true),
                Err(error @ (Errno::NOSPC | Errno::DQUOT)) => {
                    return Err(write_error(&self.path, error.into()));
                }
                // Not every file system can.
                Err(_) => {}
            }
        }
        let _ = bytes;
        Ok(false)
    }

    /// When it was begun, by the clock of its file system.
    fn begun(&self) -> Option<Mtime> {
        mtime_of(self.file.as_ref()?)
    }
}

impl Content for Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let file = self.file.as_mut().expect("a draft holds its file until it is committed");
        file.write_all(bytes).map_err(|e| write_error(&self.path, e))
    }

    fn commit(mut self) -> Result<(), ClientError> {
        if let (Some(file), Some(mtime)) = (&self.file, self.mtime) {
            rustix::fs::futimens(file, &times(mtime))
                .map_err(|e| write_error(&self.path, e.into()))?;
        }
        // Closing tells of errors that a network file system has kept for then; std ignores them, a flush does not help.
        let file = self.file.take().expect("a draft is committed once");
        drop(file);
        rename(&self.directory, &self.temporary, &self.name).map_err(|e| {
            remove(&self.directory, &self.temporary);
            write_error(&self.path, e)
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.is_some() {
            remove(&self.directory, &self.temporary);
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(target_os = "linux")]
pub(super) fn open_beneath(below: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(below, path, DIRECTORY, Mode::empty(), resolve) {
            // The kernel saw a rename on the way and can't say whether the path stayed below.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Kernels before 5.6, and filters that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_name(below, path),
            other => return other,
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open_beneath(below: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    open_by_name(below, path)
}

/// Opens a directory name by name, following no link at all.
pub(super) fn open_by_name(below: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    let mut here = below.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in path.split('/').filter(|n| !matches!(*n, "" | ".")) {
        here = match rustix::fs::openat(&here, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            // With O_DIRECTORY a link is ENOTDIR; tell it from a file.
            Err(Errno::NOTDIR) if is_link(&here, name) => return Err(Errno::LOOP),
            other => other?,
        };
    }
    Ok(here)
}

pub(super) fn is_link(directory: &OwnedFd, name: &str) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| {
        rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Symlink
    })
}

fn rename(directory: &OwnedFd, from: &str, to: &str) -> io::Result<()> {
    rustix::fs::renameat(directory, from, directory, to)?;
    Ok(())
}

fn remove(directory: &OwnedFd, name: &str) {
    if let Err(error) = rustix::fs::unlinkat(directory.as_fd(), name, AtFlags::empty()) {
        tracing::warn!(name, %error, "a temporary file stays behind");
    }
}

fn mtime_of(file: impl AsFd) -> Option<Mtime> {
    let metadata = rustix::fs::fstat(file).ok()?;
    #[expect(
        clippy::allow_attributes,
        reason = "which conversions are needless differs between systems"
    )]
    #[allow(clippy::useless_conversion, reason = "field types differ between systems")]
    Mtime::new(metadata.st_mtime.into(), u32::try_from(metadata.st_mtime_nsec).ok()?)
}

fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds(), tv_nsec: mtime.nanos().into() };
    Timestamps { last_access: time, last_modification: time }
}

fn temporary_name() -> Result<String, ClientError> {
    Ok(format!("{TEMPORARY_START}{:016x}{TEMPORARY_END}", random_u128()? >> 64))
}

const TEMPORARY_START: &str = ".hands-";
const TEMPORARY_END: &str = ".tmp";

/// Whether a file has the name of one that is being written beside its final place. Such a file is never an input: it is
/// there for a moment only, or left by a process that was killed.
pub fn is_temporary_name(name: &str) -> bool {
    let digits =
        name.strip_prefix(TEMPORARY_START).and_then(|rest| rest.strip_suffix(TEMPORARY_END));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether others could be written where this one can't: something else stands there, or its name can't be had there.
fn concerns_one_path(error: &ClientError) -> bool {
    use io::ErrorKind;
    match error {
        ClientError::HostileOutput { .. } => true,
        ClientError::Write { source, .. } => matches!(
            source.kind(),
            ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::DirectoryNotEmpty
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::InvalidFilename
                | ErrorKind::InvalidInput
                | ErrorKind::ResourceBusy
        ),
        _ => false,
    }
}

fn write_error(path: &str, source: io::Error) -> ClientError {
    ClientError::Write { path: printable(path).into_owned(), source }
}
