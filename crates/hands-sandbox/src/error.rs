//! What can go wrong between the worker and its sandbox. What goes wrong for one action alone is in its outcome.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

/// A failure of the sandbox itself.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The launcher's program could not be started.
    #[error("could not start the sandbox launcher {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The launcher could not do what its configuration asks for.
    #[error("the sandbox could not be set up at isolation level {level}: {why}")]
    Setup {
        /// The level that was asked for.
        level: &'static str,
        /// The step that failed and the kernel's answer.
        why: String,
    },
    /// The launcher or a slot's spawner is gone.
    #[error("the sandbox's {who} ended unexpectedly")]
    Gone {
        /// Which of its processes.
        who: &'static str,
    },
    /// A request that can't be run as it is.
    #[error("{0}")]
    Invalid(String),
    /// A system call on this side failed.
    #[error("could not {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The other side sent something that makes no sense.
    #[error("the sandbox's {who} sent a malformed message")]
    Malformed {
        /// Which of its processes.
        who: &'static str,
    },
}

impl SandboxError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Start { .. } | Self::Setup { .. } | Self::System { .. } => {
                ErrorClass::Environment
            }
            Self::Gone { .. } => ErrorClass::Infra { retry: true },
            Self::Invalid(_) => ErrorClass::User,
            Self::Malformed { .. } => ErrorClass::Bug,
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
