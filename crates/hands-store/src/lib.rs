//! Blobs, action results and staged trees on disk, behind one cloneable, synchronous handle.
//!
//! Every call may block on the disk for a short while; asynchronous callers decide which ones deserve a blocking
//! thread. Calls answered from memory: [`Store::missing`] when warm, [`Store::action`] on a hit, [`Stager::stage`] of a root
//! that is staged.
//!
//! What stands on disk below [`StoreConfig::dir`]:
//!
//! | place | what |
//! | --- | --- |
//! | `lock` | held by the process that has the store open |
//! | `index.db` | SQLite: where each blob is, when it was used, action results, staged trees, names of trees |
//! | `packs/N.pack` | small blobs, appended one after the other; also the log from which the index is completed after a kill |
//! | `blobs/F/HH/HEX` | large blobs, one read-only file each; `exec/F/HH/HEX` and `exec/F/HH/HEX.t/*` files of the same content with another mode or time, where trees needed them |
//! | `trees/N` | staged directory trees |
//! | `tmp/` | unfinished files; emptied at start |
//! | `quarantine/` | content that was not what its digest says |
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod action;
mod aside;
mod config;
mod db;
mod directory;
mod error;
mod evict;
mod faces;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod index;
mod linked;
mod look;
mod looks;
mod maintain;
mod materialize;
mod named;
mod pack;
mod pins;
mod place;
mod read;
mod recover;
mod room;
mod soundness;
mod spool;
mod stage;
mod store;
mod trees;
mod turn;
mod verify;
mod write;
mod writer;

pub use aside::SideHasher;
pub use config::{Durability, StoreConfig, Usage};
pub use directory::{
    Entry, LookError, TreeReport, encode_directory, parse_directory, read_entries,
};
pub use error::{StageError, StoreError};
pub use files::INPUT_MTIME;
pub use looks::{Damage, Made};
pub use named::{NameError, NamedTree};
pub use pins::Pin;
pub use place::still_leads_to;
pub use read::{BlobReader, digest_of_stream};
pub use spool::Spool;
pub use stage::{Staged, Stager};
pub use store::Store;
pub use verify::Verified;
pub use write::BlobWriter;

#[cfg(test)]
mod tests;
