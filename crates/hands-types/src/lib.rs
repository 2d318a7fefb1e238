//! Vocabulary of Manyhands: ids, digests, platforms, limits and error classes.
//!
//! Plain data only: no I/O, no async, no serialization, nothing that a foreign format depends on. Every other crate
//! may name this one; this one names none.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cpus;
pub mod digest;
pub mod duration;
pub mod error;
pub mod id;
pub mod limits;
pub mod mtime;
pub mod part;
pub mod path;
pub mod platform;
pub mod retry;
pub mod role;
pub mod size;
pub mod text;
pub mod time;
pub mod tree_name;
pub mod word;

#[cfg(test)]
mod tests;

pub use cpus::parse_cpus;
pub use digest::{Digest, DigestFunction};
pub use duration::parse_duration;
pub use error::ErrorClass;
pub use id::{Attempt, InvocationId, MemberId, OperationId, SessionId, WorkerId};
pub use mtime::Mtime;
pub use part::WorkerPart;
pub use path::{RelPath, is_output_pattern};
pub use platform::{Platform, Resources};
pub use role::{Role, Roles};
pub use size::parse_size;
pub use time::Time;
pub use tree_name::{TreeName, TreeRef};
pub use word::{InputRoot, Isolation, Network, Privilege, Scratch, UnknownWord, Word};
