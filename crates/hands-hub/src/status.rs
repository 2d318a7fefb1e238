//! Statuses as values inside messages.

use hands_proto::rpc;
use prost::Message;
use tonic::Status;

/// A status with its details.
pub(crate) fn to_rpc(status: &Status) -> rpc::Status {
    // The details of a tonic status are an encoded google.rpc.Status that repeats code and message.
    match rpc::Status::decode(status.details()) {
        Ok(whole) if !whole.details.is_empty() => whole,
        _ => rpc::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        },
    }
}
