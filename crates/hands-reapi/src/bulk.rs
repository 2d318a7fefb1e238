//! Threads for work that is long: they let everybody else go first.
//!
//! On two cores, six busy threads of the same priority made a chain of short steps wait for 9.6 ms at the 99th percentile,
//! and for 0.6 ms with a niceness of 10: a thread that wakes up takes the place of such a one at once.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use hands_proto::Charge;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

use crate::INLINE;

/// How far behind others such threads stand; a ninth of what an ordinary thread gets where a core is short.
const NICENESS: i32 = 10;
/// As many at once as one runtime has by default.
const THREADS: usize = 512;

/// Only its threads for blocking work are used: those of a server's own runtime change places with the ones that answer.
static BULK: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let made = Builder::new_current_thread()
        .thread_name("bulk")
        .max_blocking_threads(THREADS)
        .on_thread_start(stand_back)
        .build();
    // It asks for nothing that a system could refuse; if it is refused, the server's own threads do the work.
    made.inspect_err(|error| tracing::warn!(%error, "long work gets no threads of its own")).ok()
});

/// Runs something long on a thread that stands back. In a process of one thread, which serves nobody but its own user, on a
/// thread like any other.
pub fn bulk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let serves_many = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    match &*BULK {
        Some(threads) if serves_many => threads.spawn_blocking(work),
        _ => tokio::task::spawn_blocking(work),
    }
}

/// Has the calling thread let others go first, for as long as it lives: an ordinary user can't take it back.
pub fn stand_back() {
    // The call means a thread on Linux alone.
    #[cfg(target_os = "linux")]
    {
        let before = rustix::process::getpriority_process(None).unwrap_or(0);
        let wanted = (before + NICENESS).min(19);
        if let Err(error) = rustix::process::setpriority_process(None, wanted) {
            tracing::debug!(%error, "a thread for long work does not stand back");
        }
    }
}

/// A message that may have a hundred thousand parts, which take as long to free as to read: that happens on a thread for long
/// work, whichever way its call ends.
#[derive(Debug)]
pub struct Apart<T: Send + 'static> {
    /// It is there until this is dropped.
    message: Option<T>,
    is_large: bool,
}

impl<T: Send + 'static> Apart<T> {
    /// The message of the call with this charge, or something of about its size.
    pub fn of(charge: Option<&Arc<Charge>>, message: T) -> Self {
        let is_large = charge.is_some_and(|charge| charge.message() > INLINE);
        Self { message: Some(message), is_large }
    }

    /// The message, as any other.
    pub fn into_inner(mut self) -> T {
        self.message.take().expect("it is taken when it is dropped")
    }
}

impl<T: Default + Send + 'static> Default for Apart<T> {
    fn default() -> Self {
        Self { message: Some(T::default()), is_large: false }
    }
}

impl<T: Send + 'static> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.message.as_ref().expect("it is taken when it is dropped")
    }
}

impl<T: Send + 'static> DerefMut for Apart<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.message.as_mut().expect("it is taken when it is dropped")
    }
}

impl<T: Send + 'static> Drop for Apart<T> {
    fn drop(&mut self) {
        if self.is_large
            && let Some(message) = self.message.take()
            && Handle::try_current().is_ok()
        {
            // Nobody waits for it.
            drop(bulk(move || drop(message)));
        }
    }
}
