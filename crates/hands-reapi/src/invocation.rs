//! Open invocations: what a client named lately stays in the store, so that nothing of its work is evicted between two
//! of its calls.

use std::time::{Duration, Instant};

use hands_proto::{REQUEST_METADATA, reapi};
use hands_store::Store;
use hands_types::Digest;
use prost::Message as _;
use tonic::Request;

/// How long an invocation is open after its client's last call.
pub const OPEN_FOR: Duration = Duration::from_secs(15 * 60);
/// Longest id that is taken for one; foreign clients send UUIDs.
const LONGEST: usize = 256;

/// The invocation that a call belongs to. One without a name protects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// What its blobs are pinned under.
    name: Option<String>,
}

impl Invocation {
    /// Of a call, by REAPI's `RequestMetadata`. One that can't be read names none: blobs are served all the same.
    pub fn of<T>(request: &Request<T>) -> Self {
        let metadata = request
            .metadata()
            .get_bin(REQUEST_METADATA)
            .and_then(|value| value.to_bytes().ok())
            .and_then(|bytes| reapi::RequestMetadata::decode(bytes).ok());
        metadata.map_or_else(Self::default, |metadata| Self::named(&metadata.tool_invocation_id))
    }

    /// By its id.
    pub fn named(id: &str) -> Self {
        let usable = !id.is_empty() && id.len() <= LONGEST;
        Self { name: usable.then(|| format!("invocation/{id}")) }
    }

    /// Keeps these, and what it named before, for another [`OPEN_FOR`]. They need not be there yet.
    pub fn keep(&self, store: &Store, digests: &[Digest]) {
        if let Some(name) = &self.name {
            store.pin_named(name, digests, Instant::now() + OPEN_FOR);
        }
    }
}
