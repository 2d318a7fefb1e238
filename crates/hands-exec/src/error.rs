//! Why an action could not be run at all.

use std::io;

use hands_sandbox::SandboxError;
use hands_types::ErrorClass;

/// A failure to run an action. What the action itself did wrong is in its [`crate::Ran`].
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The sandbox failed.
    #[error("could not run the action in its sandbox")]
    Sandbox(#[from] SandboxError),
    /// A system call on this side failed.
    #[error("could not {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The command has no arguments at all.
    #[error("the command is empty")]
    EmptyCommand,
    /// An argument or variable that no program can be given.
    #[error("{what} of the command can't be passed to a program: {why}")]
    BadArgument {
        /// Which one.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// The thread that makes slots panicked.
    #[error("making a sandbox slot panicked")]
    Panicked,
}

impl ExecError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Sandbox(error) => error.class(),
            Self::System { .. } => ErrorClass::Environment,
            Self::EmptyCommand | Self::BadArgument { .. } => ErrorClass::User,
            Self::Panicked => ErrorClass::Bug,
        }
    }

    /// The kernel's error number beneath it, if there is one.
    pub fn errno(&self) -> Option<i32> {
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(this) = error {
            if let Some(code) = this.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return Some(code);
            }
            error = this.source();
        }
        None
    }

    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}
