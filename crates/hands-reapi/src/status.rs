//! From our errors to gRPC's: one place, so that every service says the same.

use bytes::Bytes;
use hands_proto::rpc::precondition_failure::Violation;
use hands_proto::rpc::{self, PreconditionFailure};
use hands_proto::{BadDigest, pack};
use hands_store::{StageError, StoreError};
use hands_types::Digest;
use prost::Message as _;
use tonic::{Code, Status};

use crate::complete::BadResult;

/// The answer to a store's error. An absent blob is not one: see [`missing_blobs`].
pub fn store_status(error: &StoreError) -> Status {
    let code = if error.is_full() {
        Code::ResourceExhausted
    } else {
        match error {
            StoreError::Mismatch { .. } | StoreError::Size { .. } | StoreError::TooLarge { .. } => {
                Code::InvalidArgument
            }
            // The disk or its index failed us: not the client's doing, nor a bug, and the client may try again. gRPC has this code for
            // errors of another system, here of the kernel.
            StoreError::Io { .. } | StoreError::Database { .. } | StoreError::Full { .. } => {
                Code::Unknown
            }
            StoreError::Changed { .. } => Code::Aborted,
            // Not UNAVAILABLE: what was there is not there any more, and Bazel would end its build by that.
            StoreError::Newer { .. } | StoreError::Locked { .. } | StoreError::Vanished { .. } => {
                Code::FailedPrecondition
            }
            StoreError::GivenUp => Code::Cancelled,
            StoreError::Closed => Code::Unavailable,
        }
    };
    if code == Code::Unknown || matches!(error, StoreError::Vanished { .. }) {
        tracing::error!(error = error as &dyn std::error::Error, "the store failed");
    }
    Status::new(code, with_causes(error))
}

/// The answer to a tree that can't be staged.
pub fn stage_status(error: &StageError) -> Status {
    match error {
        StageError::Missing(digests) => missing_blobs(Code::FailedPrecondition, digests),
        StageError::Invalid { .. } => Status::invalid_argument(error.to_string()),
        StageError::Store(error) => store_status(error),
    }
}

/// Blobs that a status names which stands in a header.
const NAMED: usize = 40;

/// A status that names missing blobs as REAPI wants it: exactly one PreconditionFailure, each violation of type
/// MISSING with the blob's resource name without the instance. Clients upload these and try again. Where there are many,
/// the first ones only: see [`all_missing_blobs`].
pub fn missing_blobs(code: Code, digests: &[Digest]) -> Status {
    missing(code, digests, NAMED)
}

/// Blobs that a status names which stands in a message.
const IN_MESSAGE: usize = 100_000;

/// The same with all of them, or 100,000: for a status inside a message, as a header has no room for it.
pub fn all_missing_blobs(code: Code, digests: &[Digest]) -> Status {
    missing(code, digests, IN_MESSAGE)
}

fn missing(code: Code, digests: &[Digest], most: usize) -> Status {
    let violations = digests
        .iter()
        .take(most)
        .map(|digest| Violation {
            r#type: "MISSING".to_owned(),
            subject: format!("blobs/{digest}"),
            description: String::new(),
        })
        .collect();
    let message = match digests {
        [one] => format!("the blob {one} is missing"),
        [one, rest @ ..] => format!("the blob {one} and {} more are missing", rest.len()),
        [] => "blobs are missing".to_owned(),
    };
    let status = rpc::Status {
        code: code.into(),
        message: message.clone(),
        details: vec![pack(&PreconditionFailure { violations })],
    };
    Status::with_details(code, message, Bytes::from(status.encode_to_vec()))
}

/// Checks an instance's name where something is kept under it.
pub fn check_instance(name: &str) -> Result<(), Status> {
    hands_types::text::check_name(name)
        .map_err(|error| Status::invalid_argument(format!("the instance name can't be: {error}")))
}

/// The answer to a digest that is none.
pub fn bad_digest(error: &BadDigest) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The answer to a result that can't be used.
pub(crate) fn bad_result(error: &BadResult) -> Status {
    Status::invalid_argument(error.to_string())
}

/// A status as a value inside a message.
pub(crate) fn to_rpc(status: &Status) -> rpc::Status {
    rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
