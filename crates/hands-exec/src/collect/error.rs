//! Why outputs could not be collected, all or one of them.

use hands_tree::{Astray, BadPattern};
use hands_types::{ErrorClass, RelPath};

/// Why outputs could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A declared path that is none, or leaves the input root.
    #[error("the output path `{}` can't be used: {why}", path.escape_debug())]
    BadPath {
        /// As declared.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A declared pattern that is none.
    #[error(transparent)]
    BadPattern(#[from] BadPattern),
    /// The place of an output is below something that is not a directory, or not inside of the input root.
    #[error("the output `{}` has no place in the input root: {why}", path.escape_debug())]
    NoPlace {
        /// The output as declared.
        path: String,
        /// What is in the way.
        why: Astray,
    },
    /// The working directory is not a directory, or not inside of the input root.
    #[error("the working directory `{path}` is not a directory of the input root: {why}")]
    WorkingDirectory {
        /// The working directory.
        path: RelPath,
        /// What is in the way.
        why: Astray,
    },
    /// Something that can't be an output stands in an output's place.
    #[error("the output `{}` {why}", path.escape_debug())]
    NotAnOutput {
        /// Where, relative to the working directory; bytes that are not UTF-8 as `\\xNN`.
        path: String,
        /// What it is instead, as the rest of the sentence.
        why: &'static str,
    },
    /// An output that is a link stands above another output.
    #[error("the output `{}` stands below `{}`, an output that is a symbolic link", path.escape_debug(), link.escape_debug())]
    BelowLink {
        /// The output.
        path: String,
        /// The link.
        link: String,
    },
    /// More than we take.
    #[error("the output `{}` {what} than {bound}", path.escape_debug())]
    TooMuch {
        /// The declared output.
        path: String,
        /// What there is too much of, as a part of the sentence.
        what: &'static str,
        /// The bound.
        bound: u64,
    },
    /// The kernel refused to read it.
    #[error("the output `{}` can't be read", path.escape_debug())]
    Read {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store refused it.
    #[error("the output `{}` can't be stored", path.escape_debug())]
    Store {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The action was cancelled while outputs were collected.
    #[error("the action was cancelled while its outputs were collected")]
    Cancelled,
}

impl CollectError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadPath { .. }
            | Self::BadPattern(_)
            | Self::NoPlace { .. }
            | Self::WorkingDirectory { .. }
            | Self::NotAnOutput { .. }
            | Self::BelowLink { .. }
            | Self::TooMuch { .. } => ErrorClass::User,
            // The action chooses the modes of its files.
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorClass::User
            }
            Self::Read { .. } | Self::Store { .. } => ErrorClass::Environment,
            Self::Cancelled => ErrorClass::Infra { retry: false },
        }
    }
}

impl CollectError {
    /// Whether it is about one entry of an action's tree, so that all others can still be brought.
    pub(super) fn concerns_one_entry(&self) -> bool {
        match self {
            Self::NoPlace { .. }
            | Self::NotAnOutput { .. }
            | Self::BelowLink { .. }
            | Self::TooMuch { .. } => true,
            Self::Read { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            Self::BadPath { .. }
            | Self::BadPattern(_)
            | Self::WorkingDirectory { .. }
            | Self::Store { .. }
            | Self::Cancelled => false,
        }
    }
}
