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
    /// The hub has ended.
    #[error("the hub has ended")]
    Ended,
}

impl HubError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. } | Self::Database { .. } => ErrorClass::Environment,
            Self::Newer { .. } | Self::InUse { .. } => ErrorClass::Config,
            Self::Ended => ErrorClass::Infra { retry: true },
        }
    }
}
