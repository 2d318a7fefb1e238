//! REAPI both ways: the services over a [`hands_store::Store`], and the blob client that workers and front-ends share.
//!
//! Server: [`services`] gives tonic services for Capabilities, ContentAddressableStorage, ActionCache and ByteStream
//! over a [`Backend`]. Client: [`BlobClient`]. Execution and Operations are the hub's own.
//!
//! Nothing that a peer claims is believed: sizes bound what is read and allocate nothing, content is hashed on its way
//! into the store and on its way out of it. Small things are done on the reactor; large ones, and whatever hashes or
//! compresses more than [`INLINE`] bytes, on blocking threads.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backend;
mod bulk;
mod channel;
mod client;
mod codec;
mod complete;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod invocation;
mod looking;
mod names;
pub mod services;
mod status;

pub use backend::{Backend, LogName, LogSource, LogStream};
pub use bulk::{Apart, Bulk, Failed, bulk, stand_back};
pub use channel::{BadHeader, Channel};
pub use client::{Answer, Blob, BlobClient, BlobError, Fetched, Source, Uploaded, passes};
pub use complete::{
    BadResult, CachedResult, LookError, expected, fill_inline, missing_of, normalize,
};
pub use invocation::{Invocation, OPEN_FOR};
pub use looking::{Looked, ROOM_WITHIN, look, looking, reserve_later};
pub use names::{BadName, BlobName, UploadName};
pub use status::{
    all_missing_blobs, bad_digest, check_instance, missing_blobs, stage_status, store_status,
};

/// Up to this many bytes are hashed, copied or compressed on the reactor: about 150 µs of SHA-256.
pub const INLINE: usize = 256 << 10;
