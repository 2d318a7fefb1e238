//! Why a hub does not start, or can't keep its table.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

/// Why a hub does not start, or can't keep its table.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A file or directory of the state can't be made or read.
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
    /// The state directory is not this user's alone and can't be made so.
    #[error("the hub's state can't be kept there")]
    Private(#[source] hands_link::PrivateError),
    /// The database refuses.
    #[error("can't {what} the hub's database {}", path.display())]
    Database {
        /// What was tried.
        what: &'static str,
        /// The database.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The state was written by a later version of this program.
    #[error(
        "the hub's state {} has format {found} and this version knows {known}: use the newer version, or another directory",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The highest that we know.
        known: u32,
    },
    /// Another hub has this state open.
    #[error("another hub uses {}", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The authority's key or certificate is not what it should be.
    #[error("{} is damaged; restore it from a copy, or remove its directory and let all members join again", path.display())]
    AuthorityDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("a certificate can't be made")]
    Authority(#[source] rcgen::Error),
    /// The authority's files can't be written.
    #[error("the cluster's authority can't be made")]
    AuthorityFiles(#[source] hands_link::IdentityError),
    /// Certificates can't be used for TLS.
    #[error("the hub's certificates can't be used")]
    Certificates(#[source] hands_link::TlsError),
    /// The hub takes nobody in.
    #[error("the hub listens on no network, so it takes nobody in")]
    NoAuthority,
    /// A token could not be made.
    #[error("no join string can be made")]
    Invitation(#[source] Box<tonic::Status>),
    /// The machine gives no random numbers.
    #[error("this machine gives no random numbers")]
    NoRandomness,
    /// The hub has ended.
    #[error("the hub has ended")]
    Ended,
}

impl HubError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Private(error) => error.class(),
            Self::Io { .. }
            | Self::Database { .. }
            | Self::AuthorityDamaged { .. }
            | Self::AuthorityFiles(_)
            | Self::Invitation(_)
            | Self::NoRandomness => ErrorClass::Environment,
            Self::Newer { .. } | Self::InUse { .. } | Self::Certificates(_) | Self::NoAuthority => {
                ErrorClass::Config
            }
            Self::Authority(_) => ErrorClass::Bug,
            Self::Ended => ErrorClass::Infra { retry: true },
        }
    }
}
