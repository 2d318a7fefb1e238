//! What can go wrong between us and an engine's blobs.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use hands_proto::rpc::{self, PreconditionFailure};
use hands_proto::{BadDigest, unpack};
use hands_store::StoreError;
use hands_types::{Digest, ErrorClass};
use prost::Message as _;
use tonic::{Code, Status};

/// Why blobs did not get where they should.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The engine does not have them, or lost them.
    #[error("{}", missing_text(.0))]
    Missing(Vec<Digest>),
    /// What arrived is not what was asked for.
    #[error("the engine sent other content for {expected}: {actual}")]
    Corrupt {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A file that is not what it was when it was hashed.
    #[error("{} changed while it was uploaded as {digest}", path.display())]
    Changed {
        /// The file; a display name where only a handle was given.
        path: PathBuf,
        /// What it was.
        digest: Digest,
    },
    /// A file that can't be read or written.
    #[error("can't {what} {}", path.display())]
    File {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A directory in a tree that is not a `Directory` message.
    #[error("the directory {digest} can't be read: {why}")]
    Directory {
        /// Which.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// A blob that the engine does not take.
    #[error("{digest} is larger than the {limit} bytes that the engine takes")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// What it announced.
        limit: u64,
    },
    /// The engine can't do what we need.
    #[error("the engine {0}")]
    Unsupported(String),
    /// The engine answered what no engine should.
    #[error("the engine's answer is wrong")]
    Protocol(#[source] BadDigest),
    /// The local store.
    #[error("can't use the local store")]
    Store(#[from] StoreError),
    /// The call failed.
    #[error("can't {what}")]
    Rpc {
        /// What was tried, as a verb.
        what: &'static str,
        /// What came of it.
        source: Answer,
    },
    /// A task of ours was ended: the runtime is shutting down.
    #[error("interrupted")]
    Interrupted,
}

/// The engine's or the transport's answer to a call that failed: its words and its code.
// Boxed: it is large.
#[derive(Debug)]
pub struct Answer(Box<Status>);

impl Answer {
    /// As gRPC has it.
    pub fn status(&self) -> &Status {
        &self.0
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.0.message(), self.0.code())
    }
}

impl Error for Answer {
    /// What is behind it: the status itself would say the same once more.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl BlobError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Missing(_) | Self::Unsupported(_) | Self::Protocol(_) => {
                ErrorClass::Infra { retry: false }
            }
            Self::Corrupt { .. } | Self::Interrupted => ErrorClass::Infra { retry: true },
            Self::Changed { .. } | Self::TooLarge { .. } | Self::Directory { .. } => {
                ErrorClass::User
            }
            Self::File { .. } => ErrorClass::Environment,
            Self::Store(error) => error.class(),
            Self::Rpc { source, .. } => match source.0.code() {
                Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::OutOfRange => ErrorClass::User,
                Code::ResourceExhausted => ErrorClass::Environment,
                Code::FailedPrecondition | Code::Unimplemented | Code::NotFound => {
                    ErrorClass::Infra { retry: false }
                }
                Code::Ok
                | Code::Cancelled
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::AlreadyExists
                | Code::Aborted
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss => ErrorClass::Infra { retry: true },
            },
        }
    }

    /// Wraps a status, and reads the blobs that it may name as missing.
    pub(crate) fn rpc(what: &'static str, source: Status) -> Self {
        let missing = missing_in(&source);
        if missing.is_empty() {
            Self::Rpc { what, source: Answer(Box::new(source)) }
        } else {
            Self::Missing(missing)
        }
    }
}

impl From<BadDigest> for BlobError {
    fn from(error: BadDigest) -> Self {
        Self::Protocol(error)
    }
}

/// The blobs that a status names in its PreconditionFailure.
fn missing_in(status: &Status) -> Vec<Digest> {
    let Ok(details) = rpc::Status::decode(status.details()) else { return Vec::new() };
    details
        .details
        .iter()
        .filter_map(|any| unpack::<PreconditionFailure>(any).ok())
        .flat_map(|failure| failure.violations)
        .filter(|violation| violation.r#type == "MISSING")
        .filter_map(|violation| violation.subject.strip_prefix("blobs/")?.parse().ok())
        .collect()
}

fn missing_text(digests: &[Digest]) -> String {
    match digests {
        [] => "blobs are missing".to_owned(),
        [one] => format!("the engine does not have {one}"),
        [one, rest @ ..] => format!("the engine does not have {one} and {} more", rest.len()),
    }
}
