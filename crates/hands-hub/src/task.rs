//! The one place where tasks and blocking work are started, so that each has a name in logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hands_proto::{Charge, Place};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// Starts a task. It ends by itself when what it listens to is gone.
pub(crate) fn spawn(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    // The handle is not needed: a panic ends that task alone and is reported by the runtime's hook.
    drop(tokio::spawn(future.instrument(tracing::debug_span!("task", name))));
}

/// Runs something that may block for long on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| tonic::Status::internal(format!("a task of the hub failed: {e}")))
}

/// So many things take long to drop.
const MANY: usize = 1000;

/// Drops something of so many parts where nobody waits for that.
pub(crate) fn drop_aside<T: Send + 'static>(parts: usize, dropped: T) {
    if parts > MANY
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        // Its end says nothing.
        drop(runtime.spawn_blocking(move || drop(dropped)));
    }
}

/// As [`blocking`], for work on so many things; a few of them take no time.
pub(crate) async fn blocking_for<T: Send + 'static>(
    parts: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    if parts > MANY { blocking(work).await } else { Ok(work()) }
}

/// As [`blocking`], for what computes for long, at the place of its client: it lets what answers others go first.
pub(crate) async fn at<T: Send + 'static>(
    place: Option<Place>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    let outcome = hands_reapi::bulk(move || {
        let _place = place;
        work()
    });
    outcome.await.map_err(|_| tonic::Status::internal("a task of the hub failed"))
}

/// Lists that are read from a table at once: one reads, one is ready. They wait for one connection anyway, and many of them
/// would do so on all the threads that others need.
static LISTS: Semaphore = Semaphore::const_new(2);

/// As [`blocking`], for what looks at many rows of a table. Waits in a line, which a call that is given up leaves; one that is
/// given up later is told so.
pub(crate) async fn listing<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    /// Dropped with the call.
    struct Call(Arc<AtomicBool>);
    impl Drop for Call {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    // First its client's own, so that nobody waits for work that waits for other work of the same client.
    let own = Charge::place().await;
    let place = LISTS.acquire().await.map_err(|_| crate::shared::ended())?;
    let call = Call(Arc::default());
    let given_up = Arc::clone(&call.0);
    at(own, move || {
        let _place = place;
        work(&given_up)
    })
    .await
}
