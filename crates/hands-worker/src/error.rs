//! Why a worker can't start.

use std::io;
use std::path::PathBuf;

use hands_exec::{ExecError, Isolation};
use hands_types::ErrorClass;

/// Why a worker can't start. Later it never gives up: what goes wrong is told in results and in the log.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its directory can't be used.
    #[error("can't {what} the worker's directory {}", path.display())]
    Directory {
        /// What was tried.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The machine does not allow the level that was asked for.
    #[error(
        "this machine does not allow isolation level {level}: {why}; `hands doctor` says how to mend it, or ask for another level with --isolation"
    )]
    Isolation {
        /// The level.
        level: Isolation,
        /// The step that failed.
        why: String,
    },
    /// The sandbox could not be tried or started.
    #[error("can't start the sandbox")]
    Sandbox(#[source] ExecError),
    /// A blocking task panicked.
    #[error("starting the worker panicked")]
    Panicked,
}

impl WorkerError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Directory { .. } | Self::Isolation { .. } => ErrorClass::Environment,
            Self::Sandbox(error) => error.class(),
            Self::Panicked => ErrorClass::Bug,
        }
    }
}
