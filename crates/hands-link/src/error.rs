//! What can go wrong before the first byte.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

use crate::Address;

/// A listener that could not be opened, or an address that could not be dialed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Another process listens there.
    #[error("already running: another process listens on {0}")]
    AlreadyRunning(Address),
    /// The socket's directory is not this user's alone.
    #[error("the directory {} {why}, so another user could replace the socket in it", path.display())]
    InsecureDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Something that is no socket stands where the socket should be.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Longer than the kernel takes for a Unix socket.
    #[error("the socket path {} is too long: at most {limit} bytes (a shorter HANDS_HOME helps)", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How long it may be.
        limit: usize,
    },
    /// The other end of a Unix socket belongs to somebody else.
    #[error("{address} is served by user {uid}, not by this user")]
    ForeignServer {
        /// The address that was dialed.
        address: Address,
        /// The other user.
        uid: u32,
    },
    /// Nobody listens there, or not within the time.
    #[error("can't reach {address}")]
    Unreachable {
        /// The address that was dialed.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system refused.
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
    /// The TCP address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: Address,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LinkError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::AlreadyRunning(_)
            | Self::InsecureDirectory { .. }
            | Self::NotASocket(_)
            | Self::PathTooLong { .. } => ErrorClass::Config,
            Self::ForeignServer { .. } | Self::Io { .. } | Self::Listen { .. } => {
                ErrorClass::Environment
            }
            Self::Unreachable { .. } => ErrorClass::Infra { retry: true },
        }
    }
}
