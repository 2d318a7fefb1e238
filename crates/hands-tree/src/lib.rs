//! Merkle trees, digests, path rules and eviction policy.
//!
//! Pure: this crate computes on values that are handed in. It never reads a file, a clock or the environment, and it
//! knows nothing of protobuf; whoever holds bytes of a `Directory` message converts them to [`Directory`].
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod build;
pub mod diff;
pub mod directory;
pub mod hash;
pub mod links;
pub mod lru;
pub mod merge;
pub mod pattern;
pub mod shape;

pub use build::{BuildError, BuiltDirectory, Entry, Leaf, build};
pub use diff::{Change, ChangeKind, DiffError, diff};
pub use directory::{
    Canonical, Directory, DirectoryNode, FileNode, InvalidDirectory, Node, SymlinkNode,
};
pub use hash::{Hasher, empty, hash};
pub use links::{Astray, Real, There, follow};
pub use lru::Lru;
pub use merge::{Marks, MergeError, MergeLayer, Merged, merge};
pub use pattern::{BadPattern, Pattern};
pub use shape::{Held, Shape, shape};

#[cfg(test)]
mod tests;
