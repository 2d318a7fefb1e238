//! The file of a Unix socket: made where only this user can replace it, taken over from a dead process, removed at
//! the end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tokio::net::UnixListener;

use crate::{Address, LinkError, peer};

/// `sun_path` without its NUL.
const PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A bound socket file. Removes it on drop unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|m| m.dev() == self.device && m.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "socket file stays behind");
        }
    }
}

pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), LinkError> {
    if path.as_os_str().len() > PATH_LIMIT {
        return Err(LinkError::PathTooLong { path: path.to_owned(), limit: PATH_LIMIT });
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_private(directory)?;
    // Held while we look and bind, so that of two that start at once one sees the other's socket.
    let lock = File::open(directory).map_err(io_error("open", directory))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| io_error("lock", directory)(e.into()))?;
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(io_error("bind", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(io_error("set the mode of", path))?;
    let metadata = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    Ok((listener, file))
}

/// Makes the directory for this user alone, or checks that nobody else can put a socket into the one that is there.
fn make_private(directory: &Path) -> Result<(), LinkError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error("make", directory))?;
    let metadata = fs::metadata(directory).map_err(io_error("look at", directory))?;
    let refuse = |why| Err(LinkError::InsecureDirectory { path: directory.to_owned(), why });
    if metadata.uid() != peer::own_uid() {
        return refuse("belongs to another user");
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse("can be written by others");
    }
    Ok(())
}

fn remove_stale(path: &Path) -> Result<(), LinkError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("look at", path)(e)),
    };
    if !metadata.file_type().is_socket() {
        return Err(LinkError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(LinkError::AlreadyRunning(Address::Unix(path.to_owned()))),
        // The kernel refuses where no process listens any more. A full backlog is EAGAIN: somebody is there.
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io_error("remove", path))
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(LinkError::AlreadyRunning(Address::Unix(path.to_owned())))
        }
        Err(e) => Err(io_error("probe", path)(e)),
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LinkError {
    let path = path.to_owned();
    move |source| LinkError::Io { what, path, source }
}
