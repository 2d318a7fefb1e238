//! What can go wrong in an agent, and in a snapshot.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

/// Why an agent does not serve. Told to the front-end that started it, as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A directory or file of ours that can't be used.
    #[error("the agent can't {what} {}: {source}", path.display())]
    Place {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory of ours that is not this user's alone and can't be made so.
    #[error("the agent's state can't be kept: {0}")]
    Private(hands_link::PrivateError),
    /// Another agent lives, listens nowhere and does not leave.
    #[error("another agent ({who}) holds {} and can't be reached: `hands agent stop --force` ends it", lock.display())]
    Busy {
        /// Its process, as far as it is known.
        who: String,
        /// What it holds.
        lock: PathBuf,
    },
    /// The store can't be opened.
    #[error("the agent's store can't be opened: {message}")]
    Store {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
    /// The embedded hub can't be started.
    #[error("the agent's hub can't be started: {message}")]
    Hub {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
    /// The embedded worker can't be started.
    #[error("the agent's worker can't be started: {message}")]
    Worker {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
    /// A socket can't be opened.
    #[error("the agent can't listen: {message}")]
    Listen {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
}

impl AgentError {
    /// Whose error it is.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Place { .. } | Self::Busy { .. } => ErrorClass::Environment,
            Self::Private(error) => error.class(),
            Self::Store { class, .. }
            | Self::Hub { class, .. }
            | Self::Worker { class, .. }
            | Self::Listen { class, .. } => *class,
        }
    }
}

/// Writes an error and its causes as one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Why there is no snapshot. Paths are as the person named them; the front-end makes them printable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{path} {what}: {source}")]
    Path { path: String, what: &'static str, source: io::Error },
    #[error("{path} {why}")]
    Unfit { path: String, why: String },
    #[error("{display}: something else already stands at {place} in the input root")]
    Twice { place: String, display: String },
    #[error(
        "the files changed again and again while they were read: try when nothing writes to them"
    )]
    Unsteady,
    #[error("the agent's store: {message}")]
    Store { message: String, class: ErrorClass },
    #[error("{target}: {message}")]
    Target { target: String, message: String, class: ErrorClass },
    #[error("{display}: {message}")]
    Image { display: String, message: String, class: ErrorClass },
    #[error("the front-end has gone")]
    Cancelled,
    #[error("the snapshot request makes no sense: {0}")]
    Protocol(&'static str),
}

impl SnapshotError {
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Path { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                ErrorClass::Environment
            }
            Self::Path { .. } | Self::Unfit { .. } | Self::Twice { .. } | Self::Unsteady => {
                ErrorClass::User
            }
            Self::Store { class, .. } | Self::Target { class, .. } | Self::Image { class, .. } => {
                *class
            }
            Self::Cancelled => ErrorClass::User,
            Self::Protocol(_) => ErrorClass::Bug,
        }
    }
}
