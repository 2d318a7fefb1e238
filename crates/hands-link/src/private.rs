//! Directories that are this user's alone: state, with keys, output and command lines in it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hands_types::ErrorClass;

use crate::peer;

/// Bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Others may put something in.
const WRITABLE: u32 = 0o022;
/// By these a state directory is known: a hub's, a worker's or an agent's.
const MARKS: [&str; 4] = ["store", "hub.lock", "hub.db", "worker-id"];
/// A file system of its own has it from the start.
const LOST: &str = "lost+found";
/// Directories below a state whose files are closed as well, and how deep.
const BELOW: [(&str, usize); 4] = [("authority", 1), ("streams", 1), ("clusters", 2), ("store", 0)];

/// Why a directory can't be this user's alone. Its `Display` says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// It belongs to somebody else.
    #[error("{} belongs to user {uid}, so what is kept there would be theirs: name a directory of your own", path.display())]
    NotOurs {
        /// The directory, or what stands in it.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others may look into it, and it holds other things than a state.
    #[error(
        "{} can be entered by others (mode {mode:o}) and holds other things: name a directory of its own, or close it (chmod 700)",
        path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system refuses.
    #[error("can't {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl PrivateError {
    /// Whose error it is.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::NotOurs { .. } | Self::Shared { .. } => ErrorClass::User,
            Self::Io { .. } => ErrorClass::Environment,
        }
    }
}

/// Makes a state directory with mode 0700. One that is there is closed to others, with the files in it, if it is this
/// user's and holds a state or nothing; else it is refused. Blocks.
pub fn private_directory(path: &Path) -> Result<(), PrivateError> {
    make_private(path, false)
}

/// The same for a directory whose name we chose: it is closed whatever it holds.
pub fn private_place(path: &Path) -> Result<(), PrivateError> {
    make_private(path, true)
}

fn make_private(path: &Path, is_place: bool) -> Result<(), PrivateError> {
    let io = |what| {
        let path = path.to_owned();
        move |source| PrivateError::Io { what, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make"))?;
    // What was looked at is what is changed, whatever stands at the path meanwhile.
    let directory = File::open(path).map_err(io("open"))?;
    let metadata = directory.metadata().map_err(io("look at"))?;
    if metadata.uid() != peer::own_uid() {
        return Err(PrivateError::NotOurs { path: path.to_owned(), uid: metadata.uid() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        let names = names(path).map_err(io("list"))?;
        let is_ours = is_place || names.iter().any(|name| MARKS.iter().any(|mark| name == mark));
        if !is_ours && names.iter().any(|name| name != LOST) {
            return Err(PrivateError::Shared { path: path.to_owned(), mode });
        }
        directory.set_permissions(Permissions::from_mode(0o700)).map_err(io("close"))?;
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "others could look into this directory: closed it");
        if mode & WRITABLE != 0 {
            not_planted(path, &names)?;
        }
    }
    close_files(path, 0)?;
    for (name, depth) in BELOW {
        close(&path.join(name), depth)?;
    }
    Ok(())
}

fn names(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Where others could write, nothing may be theirs.
fn not_planted(directory: &Path, names: &[std::ffi::OsString]) -> Result<(), PrivateError> {
    for name in names.iter().filter(|name| *name != LOST) {
        let path = directory.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.uid() != peer::own_uid() => {
                return Err(PrivateError::NotOurs { path, uid: metadata.uid() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PrivateError::Io { what: "look at", path, source }),
        }
    }
    Ok(())
}

/// Closes a directory that may not be there, and what is in it.
fn close(directory: &Path, depth: usize) -> Result<(), PrivateError> {
    close_one(directory, 0o700)?;
    if depth > 0 { close_files(directory, depth - 1) } else { Ok(()) }
}

/// Closes the files of a directory, and of the directories below it.
fn close_files(directory: &Path, depth: usize) -> Result<(), PrivateError> {
    let io = |what| {
        let path = directory.to_owned();
        move |source| PrivateError::Io { what, path, source }
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io("list"))?,
    };
    for entry in entries {
        let entry = entry.map_err(io("list"))?;
        // Not of what a link points at.
        let kind = entry.file_type().map_err(io("list"))?;
        if kind.is_file() {
            close_one(&entry.path(), 0o600)?;
        } else if kind.is_dir() && depth > 0 {
            close(&entry.path(), depth)?;
        }
    }
    Ok(())
}

/// Takes everybody else's rights, where there are some.
fn close_one(path: &Path, mode: u32) -> Result<(), PrivateError> {
    let io = |what| {
        let path = path.to_owned();
        move |source| PrivateError::Io { what, path, source }
    };
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(io("look at"))?,
    };
    if metadata.is_symlink() || metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        // A spool of an action that ended a moment ago.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        closed => closed.map_err(io("close")),
    }
}
