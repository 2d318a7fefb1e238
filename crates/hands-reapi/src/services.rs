//! The server's side: tonic services over a [`Backend`].

mod action_cache;
mod assets;
mod blobs;
mod capabilities;
mod chunks;
mod read;
mod stream;
mod tree;
mod uploads;
mod write;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use hands_proto::asset::fetch_server::FetchServer;
use hands_proto::asset::push_server::PushServer;
use hands_proto::bytestream::byte_stream_server::ByteStreamServer;
use hands_proto::reapi::action_cache_server::ActionCacheServer;
use hands_proto::reapi::capabilities_server::CapabilitiesServer;
use hands_proto::reapi::content_addressable_storage_server::ContentAddressableStorageServer;
use hands_proto::{BadDigest, Charge, Place, function_from_proto, reapi};
use hands_types::limits::MAX_MESSAGE;
use hands_types::{Digest, DigestFunction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::looking::{ROOM_WITHIN, reserve_later};
use crate::{Backend, Failed, bad_digest};

pub use action_cache::ActionCacheService;
pub use assets::{FetchService, PushService};
pub use blobs::CasService;
pub use capabilities::CapabilitiesService;
pub use stream::ByteStreamService;

/// Capabilities: API 2.0 to 2.12.
pub fn capabilities(backend: &Backend) -> CapabilitiesServer<CapabilitiesService> {
    CapabilitiesServer::new(CapabilitiesService::new(backend))
}

/// ContentAddressableStorage.
pub fn cas(backend: &Backend) -> ContentAddressableStorageServer<CasService> {
    ContentAddressableStorageServer::new(CasService::new(backend))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// ActionCache, with completeness checking.
pub fn action_cache(backend: &Backend) -> ActionCacheServer<ActionCacheService> {
    ActionCacheServer::new(ActionCacheService::new(backend))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// ByteStream: blobs both ways, and logs.
pub fn byte_stream(backend: &Backend) -> ByteStreamServer<ByteStreamService> {
    ByteStreamServer::new(ByteStreamService::new(backend))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// Remote Asset's Fetch: what was pushed, and nothing else.
pub fn fetch(backend: &Backend) -> FetchServer<FetchService> {
    FetchServer::new(FetchService::new(backend))
}

/// Remote Asset's Push.
pub fn push(backend: &Backend) -> PushServer<PushService> {
    PushServer::new(PushService::new(backend))
}

/// Reads a request's digest function.
fn function(value: i32) -> Result<DigestFunction, Status> {
    function_from_proto(value).map_err(|e| bad_digest(&e))
}

/// Reads a digest that a request must have.
fn digest(
    digest: Option<&reapi::Digest>,
    field: &'static str,
    function: DigestFunction,
) -> Result<Digest, Status> {
    digest
        .ok_or(BadDigest::Missing(field))
        .and_then(|d| d.to_digest(function))
        .map_err(|e| bad_digest(&e))
}

/// Whether the call is still wanted for which a blocking thread works.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    /// What is set once it is not.
    pub(crate) fn is_over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Nobody waits for it any more.
    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// CANCELLED once the client has given the call up.
    fn check(&self) -> Result<(), Status> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Status::cancelled("the client gave the call up"));
        }
        Ok(())
    }
}

/// Is dropped with the call, which nobody wants any more from then on.
#[derive(Default)]
struct Call(Wanted);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// How many calls of a kind work at once, each on a thread: the threads are for all that blocks, and whoever sends many such
/// calls would take every one of them. Further calls wait, and a call that is given up leaves the line.
struct Line {
    places: LazyLock<Arc<Semaphore>>,
}

impl Line {
    const fn new() -> Self {
        let two_a_core = || Arc::new(Semaphore::new(2 * cores()));
        Self { places: LazyLock::new(two_a_core) }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        // It is never closed.
        place.map_err(|_| Status::unavailable("the hub is shutting down"))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Calls that read as much as one answer holds.
static READING: Line = Line::new();
/// Calls that go through a blob of any size: minutes, for which nobody who reads waits.
static WHOLE_BLOBS: Line = Line::new();

/// As [`blocking`], for work that is long: it waits in a line, and has to ask now and then whether it is still wanted.
async fn blocking_in<T: Send + 'static>(
    line: &Line,
    work: impl FnOnce(&Wanted) -> T + Send + 'static,
) -> Result<T, Status> {
    // First its client's own, so that nobody takes all places of the line for work that waits for other work of theirs.
    let own = Charge::place().await;
    let place = line.place().await?;
    wanted_work(own, move |wanted| {
        // Longer than the call, if that is given up: the thread is taken until the work has found out.
        let _place = place;
        work(wanted)
    })
    .await
}

/// As [`blocking_in`], for what reads one answer's worth.
async fn blocking_while_wanted<T: Send + 'static>(
    work: impl FnOnce(&Wanted) -> T + Send + 'static,
) -> Result<T, Status> {
    blocking_in(&READING, work).await
}

/// As [`blocking`], for work that asks now and then whether it is still wanted.
pub(crate) async fn wanted_work<T: Send + 'static>(
    place: Option<Place>,
    work: impl FnOnce(&Wanted) -> T + Send + 'static,
) -> Result<T, Status> {
    let call = Call::default();
    let wanted = call.0.clone();
    let outcome = crate::bulk(move || {
        let _place = place;
        work(&wanted)
    });
    outcome.await.map_err(Failed::resume)
}

/// Says what a handler is about to allocate beside its request; RESOURCE_EXHAUSTED where it is too much.
fn reserve(charge: Option<&Arc<Charge>>, bytes: usize) -> Result<(), Status> {
    charge.map_or(Ok(()), |charge| charge.reserve(bytes))
}

/// Runs on a blocking thread. Its panic becomes ours, so that it ends as any handler's does.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let place = Charge::place().await;
    let outcome = crate::bulk(move || {
        let _place = place;
        work()
    });
    outcome.await.map_err(Failed::resume)
}

#[cfg(test)]
mod tests;
