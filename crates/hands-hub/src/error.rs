//! Why a hub does not start, or can't keep its table.

use std::io;
use std::path::{Path, PathBuf};

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
    /// A database is no database any more.
    #[error("the hub's database {} is damaged: {}", path.display(), without(path))]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The log of the table of members is damaged.
    #[error(
        "{} is damaged, and with it the last changes of the cluster's members and tokens: restore it from a copy, or move it \
         away, which undoes them, so that a removed member may be back (see `hands workers` and `hands token list`)",
        path.display()
    )]
    LogDamaged {
        /// The log.
        path: PathBuf,
    },
    /// The authority's key is there, and its table of members is not.
    #[error(
        "{} is gone, and with it the cluster's members and tokens: restore it from a copy, or move the directory it stood in \
         away, and all members join again",
        path.display()
    )]
    MembersGone {
        /// The table.
        path: PathBuf,
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

/// The way out of a damaged database.
fn without(path: &Path) -> String {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    let lost = if name == "hub.db" {
        "actions that were queued or running and the history of those that ended; blobs, the action cache, members and \
         tokens stay"
    } else {
        "the members and tokens of the cluster: all of them join again"
    };
    format!(
        "restore it from a copy, or move {name}, {name}-wal and {name}-shm away, which loses {lost}"
    )
}

impl HubError {
    /// Of an error of SQLite.
    pub(crate) fn database(what: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { path, source },
            _ => Self::Database { what, path, source },
        }
    }

    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Private(error) => error.class(),
            Self::Io { .. }
            | Self::Database { .. }
            | Self::Damaged { .. }
            | Self::AuthorityDamaged { .. }
            | Self::LogDamaged { .. }
            | Self::MembersGone { .. }
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
