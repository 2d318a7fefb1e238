//! Generated messages and services: REAPI v2, what it stands on, and `hands.v1`; and the conversions between them and
//! `hands-types` that every user needs.
//!
//! The code below `generated/` is made from `proto/` by `cargo xtask proto` and never edited.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod any;
mod budget;
mod codec;
mod digest;
mod duration;
mod generated;
mod look;
mod mtime;
mod prefix;
mod shape;
mod weigh;
mod wire;

pub use any::{AnyError, pack, type_url, unpack};
pub use budget::{
    Account, Aside, Charge, MOST_WAITING, MessageBound, MessageBudget, Place, Reserved,
};
pub use codec::{BoundedCodec, MAX_DECODED};
pub use digest::{BadDigest, function_from_proto};
pub use duration::to_duration;
pub use generated::build::bazel::remote::asset::v1 as asset;
pub use generated::build::bazel::remote::execution::v2 as reapi;
pub use generated::build::bazel::semver;
pub use generated::google::{bytestream, longrunning, rpc};
pub use generated::hands::v1;
pub use look::{FIRST_LOOK, LARGEST_LOOK, Look, Room, SMALL_LOOK, Tight, rooms};
pub use mtime::{BadMtime, MTIME};
pub use prefix::Prefixes;
pub use shape::{Shape, Shaped};
pub use weigh::{DecodeBlobError, TooHeavy, decode_blob, weigh, weigh_blob};
pub use wire::{Malformed, all_fields, fields};

/// Metadata key of REAPI's `RequestMetadata`, as binary metadata.
pub const REQUEST_METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";
/// Metadata key of our `ExecuteOptions`, as binary metadata.
pub const EXECUTE_OPTIONS: &str = "hands-options-bin";

#[cfg(test)]
mod tests;
