//! The file of a Unix socket: made where only this user can replace it, taken over from a dead process, removed at
//! the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
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

/// Connects to a socket at a path of any length.
pub async fn connect_unix(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let way = Way::to(path).map_err(io::Error::other)?;
    tokio::net::UnixStream::connect(&way.short).await
}

/// Whether somebody listens at a path, of any length, now. Blocks no longer than the kernel takes to know.
pub fn is_served(path: &Path) -> bool {
    Way::to(path).is_ok_and(|way| UnixStream::connect(&way.short).is_ok())
}

/// A path to a socket that fits into an address of the kernel's: its own, or one through a handle of its directory.
struct Way {
    short: PathBuf,
    /// Keeps `short` true.
    _directory: Option<File>,
}

impl Way {
    fn to(path: &Path) -> Result<Self, LinkError> {
        if path.as_os_str().len() <= PATH_LIMIT {
            return Ok(Self { short: path.to_owned(), _directory: None });
        }
        let too_long = || LinkError::PathTooLong { path: path.to_owned(), limit: PATH_LIMIT };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(too_long());
        };
        let open = File::open(directory).map_err(io_error("open", directory))?;
        let handle = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        let short = handle.join(name);
        if short.as_os_str().len() > PATH_LIMIT || !handle.exists() {
            return Err(too_long());
        }
        Ok(Self { short, _directory: Some(open) })
    }
}

/// A bound socket file. Removes it on drop unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Whether the file still is where it was made. Where it is not, nobody new finds the listener.
    pub fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|m| m.dev() == self.device && m.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "socket file stays behind");
        }
    }
}

/// Listens at a path, which may be of any length where the machine has `/proc`. Must be called within a tokio runtime.
pub fn listen_unix(path: &Path) -> Result<(UnixListener, SocketFile), LinkError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_private(directory)?;
    // Held while we look and bind, so that of two that start at once one sees the other's socket.
    let lock = File::open(directory).map_err(io_error("open", directory))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|e| io_error("lock", directory)(e.into()))?;
    let way = Way::to(path)?;
    remove_stale(path, &way)?;
    let listener = UnixListener::bind(&way.short).map_err(io_error("bind", path))?;
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

fn remove_stale(path: &Path, way: &Way) -> Result<(), LinkError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("look at", path)(e)),
    };
    if !metadata.file_type().is_socket() {
        return Err(LinkError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(&way.short) {
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
