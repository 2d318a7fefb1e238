//! Why a worker can't start, or can't go on.

use std::io;
use std::path::PathBuf;

use hands_exec::{ExecError, Isolation};
use hands_types::ErrorClass;

/// Why a worker can't start, or can't go on. Whatever else goes wrong later is told in results and in the log.
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
    /// Its directory, or its store, went while it worked.
    #[error(
        "{} was deleted while this worker used it; the worker ends, and what it ran is run elsewhere: start it again",
        path.display()
    )]
    Vanished {
        /// The directory.
        path: PathBuf,
    },
    /// The hub does not want this worker, and will not as long as it is who it is.
    #[error("the hub {hub} refuses this worker for good: {why}")]
    Refused {
        /// The hub.
        hub: String,
        /// Its words.
        why: String,
    },
    /// The one stream to the hub has ended.
    #[error("the stream to the hub has ended, and there is no other way to it")]
    Over,
    /// A blocking task panicked.
    #[error("starting the worker panicked")]
    Panicked,
}

impl WorkerError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { .. } => Some(
                "join again with `hands worker JOIN`; `hands token create --role worker` on the hub's machine makes the join string",
            ),
            Self::Directory { .. }
            | Self::Isolation { .. }
            | Self::Sandbox(_)
            | Self::Vanished { .. }
            | Self::Over
            | Self::Panicked => None,
        }
    }

    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Directory { .. } | Self::Isolation { .. } | Self::Vanished { .. } => {
                ErrorClass::Environment
            }
            Self::Refused { .. } => ErrorClass::Config,
            Self::Over => ErrorClass::Infra { retry: true },
            Self::Sandbox(error) => error.class(),
            Self::Panicked => ErrorClass::Bug,
        }
    }
}
