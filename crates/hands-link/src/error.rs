//! What can go wrong before the first byte.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

use crate::Address;
use crate::race::Mute;

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
    /// Somebody listens there who is not the hub that we look for.
    #[error("{at} is not the cluster's hub: {why}")]
    WrongHub {
        /// Where that is.
        at: String,
        /// How it was told.
        why: String,
    },
    /// Somebody listens there whom we can't be sure of, or who does not take us.
    #[error("{address} is not to be trusted: {why}")]
    WrongEngine {
        /// The address that was dialed.
        address: Address,
        /// What TLS found.
        why: String,
    },
    /// The one route to a hub leads nowhere.
    #[error("can't reach the hub of {cluster} at {at}")]
    HubUnreachable {
        /// The cluster, as people name it.
        cluster: String,
        /// Where it was looked for.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// None of several routes to a hub leads there.
    #[error("can't reach the hub of {cluster}: {}", each(failures))]
    NoRoute {
        /// The cluster, as people name it.
        cluster: String,
        /// What became of each route; first that of the one that answered last time.
        failures: Vec<Self>,
    },
    /// There was one stream to the hub, which somebody else had made, and it has ended.
    #[error("the stream to the hub has ended, and there is no other")]
    Ended,
    /// Our own membership can't be used.
    #[error("the membership can't be used")]
    Identity(#[source] Box<IdentityError>),
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
            Self::Unreachable { .. } | Self::HubUnreachable { .. } | Self::Ended => {
                ErrorClass::Infra { retry: true }
            }
            Self::WrongHub { .. } | Self::WrongEngine { .. } => ErrorClass::Infra { retry: false },
            Self::NoRoute { .. } => ErrorClass::Infra { retry: !self.is_wrong_hub() },
            Self::Identity(error) => error.class(),
        }
    }

    /// Whether somebody else answers where the hub should be. Of several routes, the one that answered last time says so, or all
    /// of them: an address of the hub's may be another machine's where we are.
    pub fn is_wrong_hub(&self) -> bool {
        match self {
            Self::WrongHub { .. } => true,
            Self::NoRoute { failures, .. } => {
                failures.first().is_some_and(Self::is_wrong_hub)
                    || failures.iter().all(Self::is_wrong_hub)
            }
            _ => false,
        }
    }

    /// Whether no hub runs, rather than no way leading to it: its machine has refused the connection, or has taken it for a
    /// process that stands still. Of several routes the one that answered last time is asked, for the others may never have led
    /// there; where somebody else answers on one of them, we may be in another network, and nothing is known.
    pub fn is_hub_absent(&self) -> bool {
        match self {
            Self::HubUnreachable { source, .. } | Self::Unreachable { source, .. } => {
                use io::ErrorKind::{ConnectionRefused, NotFound};
                let is_mute = source.get_ref().is_some_and(|inner| inner.is::<Mute>());
                is_mute || matches!(source.kind(), ConnectionRefused | NotFound)
            }
            Self::NoRoute { failures, .. } => {
                failures.first().is_some_and(Self::is_hub_absent)
                    && !failures.iter().any(Self::is_wrong_hub)
            }
            _ => false,
        }
    }
}

/// What became of each route, in one line.
fn each(failures: &[LinkError]) -> String {
    let words: Vec<String> = failures
        .iter()
        .map(|failure| match failure {
            LinkError::HubUnreachable { at, source, .. } => format!("{at}: {source}"),
            other => other.to_string(),
        })
        .collect();
    words.join("; ")
}

/// What can go wrong with a node's membership.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of it can't be used.
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
    /// Its directory is not this user's alone and can't be made so.
    #[error(transparent)]
    Private(crate::PrivateError),
    /// A file of it has no meaning.
    #[error("{} is damaged ({what}): join the cluster again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
    },
    /// The hub answered something else than a membership.
    #[error("the hub's answer makes no sense: {what}")]
    Strange {
        /// What is wrong.
        what: &'static str,
    },
    /// The machine gives no random numbers.
    #[error("this machine gives no random numbers")]
    NoRandomness,
    /// The certificates can't be used.
    #[error("the certificates in {} can't be used", path.display())]
    Tls {
        /// Where they are.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The hub can't be reached, or is another.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The hub refuses.
    #[error("the hub refuses: {message}")]
    Refused {
        /// The hub's words.
        message: String,
    },
    /// The connection broke before the answer, or the hub can't answer now.
    #[error("the hub does not answer: {message}")]
    Unanswered {
        /// What is known.
        message: String,
    },
}

impl IdentityError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. } | Self::NoRandomness => ErrorClass::Environment,
            Self::Broken { .. } | Self::Tls { .. } | Self::Refused { .. } => ErrorClass::Config,
            Self::Strange { .. } => ErrorClass::Infra { retry: false },
            Self::Unanswered { .. } => ErrorClass::Infra { retry: true },
            Self::Link(error) => error.class(),
            Self::Private(error) => error.class(),
        }
    }
}
