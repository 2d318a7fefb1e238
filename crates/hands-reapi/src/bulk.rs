//! Threads for work that is long: they let everybody else go first.
//!
//! On two cores, six busy threads of the same priority made a chain of short steps wait for 9.6 ms at the 99th percentile,
//! and for 0.6 ms with a niceness of 10: a thread that wakes up takes the place of such a one at once. That holds
//! within one session: a kernel that groups by sessions (`kernel.sched_autogroup_enabled`, sched(7)) has all sessions be equals,
//! whatever the niceness of their threads, and an action has a session of its own.
//!
//! They are few, and nobody hands them work under a lock: whoever waits for a lock that one of them holds waits as long as
//! that one stands back. A runtime's own threads for blocking work have such a lock, for which a server's threads were seen to
//! wait 31 ms.

use std::any::Any;
use std::num::NonZero;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};

use hands_proto::Charge;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::INLINE;

/// How far behind others such threads stand; a ninth of what an ordinary thread gets where a core is short.
const NICENESS: i32 = 10;
/// Threads for each core at most. No client has so many works at once, so that one of few works need not wait for those of
/// others; they share the cores.
const OF_A_CORE: usize = 16;

type Job = Box<dyn FnOnce() + Send>;
type Jobs = mpsc::UnboundedReceiver<Job>;

static BULK: LazyLock<Threads> = LazyLock::new(Threads::new);

/// They live as long as the process, and are started as they are needed.
struct Threads {
    jobs: mpsc::UnboundedSender<Job>,
    queue: Mutex<Jobs>,
    /// Works that no thread has taken yet.
    waiting: AtomicUsize,
    /// Threads that wait for work.
    idle: AtomicUsize,
    started: AtomicUsize,
    most: usize,
}

impl Threads {
    fn new() -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let (waiting, idle, started) = Default::default();
        let most = OF_A_CORE * cores;
        Self { jobs, queue: Mutex::new(queue), waiting, idle, started, most }
    }

    /// Gives back work for which there is no thread.
    fn take(&'static self, job: Job) -> Option<Job> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        if waiting > self.idle.load(Ordering::SeqCst) && !self.start() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Some(job);
        }
        // The other end lives as long as this one.
        self.jobs.send(job).err().map(|unsent| unsent.0)
    }

    /// Starts one more unless there are enough. False if there is none at all.
    fn start(&'static self) -> bool {
        if self.started.fetch_add(1, Ordering::SeqCst) >= self.most {
            self.started.fetch_sub(1, Ordering::SeqCst);
            return true;
        }
        let started = thread::Builder::new().name("bulk".to_owned()).spawn(|| self.work());
        let Err(error) = started else { return true };
        tracing::warn!(%error, "a thread for long work can't be started");
        self.started.fetch_sub(1, Ordering::SeqCst) > 1
    }

    fn work(&self) {
        stand_back();
        loop {
            self.idle.fetch_add(1, Ordering::SeqCst);
            // One of them waits for work, and the others for it.
            let job = next(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
            self.idle.fetch_sub(1, Ordering::SeqCst);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let Some(job) = job else { return };
            job();
        }
    }
}

/// Waits for the next piece of work, as one thread that another wakes without a lock.
fn next(queue: &mut Jobs) -> Option<Job> {
    struct Parked(Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match queue.poll_recv(&mut cx) {
            Poll::Ready(job) => return job,
            Poll::Pending => thread::park(),
        }
    }
}

/// Work that was begun; it goes on where nobody waits for it.
#[derive(Debug)]
pub struct Bulk<T>(Under<T>);

#[derive(Debug)]
enum Under<T> {
    Bulk(oneshot::Receiver<thread::Result<T>>),
    Runtime(JoinHandle<T>),
}

/// Work that has no outcome: it panicked, or the program ends.
#[derive(Debug)]
pub struct Failed(Option<Box<dyn Any + Send>>);

impl Failed {
    /// What to tell whoever waits, who takes a panic as its own.
    pub fn resume(self) -> Status {
        match self.0 {
            Some(panic) => resume_unwind(panic),
            None => Status::unavailable("the hub is shutting down"),
        }
    }
}

impl<T> Future for Bulk<T> {
    type Output = Result<T, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            Under::Bulk(done) => match ready!(Pin::new(done).poll(cx)) {
                Ok(outcome) => outcome.map_err(|panic| Failed(Some(panic))),
                Err(_) => Err(Failed(None)),
            },
            Under::Runtime(job) => {
                ready!(Pin::new(job).poll(cx)).map_err(|error| Failed(error.try_into_panic().ok()))
            }
        })
    }
}

/// Runs something long on a thread that stands back. In a process of one thread, which serves nobody but its own user, on a
/// thread like any other. It blocks for no other work of this kind.
pub fn bulk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Bulk<T> {
    let runtime = Handle::current();
    let serves_many = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    if !serves_many {
        return Bulk(Under::Runtime(runtime.spawn_blocking(work)));
    }
    let (done, outcome) = oneshot::channel();
    let own = runtime.clone();
    let job = move || {
        let _within = own.enter();
        // Whoever wanted it may have left.
        let _left = done.send(catch_unwind(AssertUnwindSafe(work)));
    };
    if let Some(job) = BULK.take(Box::new(job)) {
        // A system that gives no threads; the runtime has some.
        drop(runtime.spawn_blocking(job));
    }
    Bulk(Under::Bulk(outcome))
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
/// work, whichever way its call ends, and its memory counts until then.
#[derive(Debug)]
pub struct Apart<T: Send + 'static> {
    /// It is there until this is dropped.
    message: Option<T>,
    /// What counts it, where it is large.
    charge: Option<Arc<Charge>>,
}

impl<T: Send + 'static> Apart<T> {
    /// The message of the call with this charge, or something of about its size.
    pub fn of(charge: Option<&Arc<Charge>>, message: T) -> Self {
        let charge = charge.filter(|charge| charge.message() > INLINE).map(Arc::clone);
        Self { message: Some(message), charge }
    }

    /// The message, as any other.
    pub fn into_inner(mut self) -> T {
        self.message.take().expect("it is taken when it is dropped")
    }
}

impl<T: Default + Send + 'static> Default for Apart<T> {
    fn default() -> Self {
        Self { message: Some(T::default()), charge: None }
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
        if let Some(charge) = self.charge.take()
            && let Some(message) = self.message.take()
            && Handle::try_current().is_ok()
        {
            // Nobody waits for it.
            drop(bulk(move || {
                drop(message);
                drop(charge);
            }));
        }
    }
}

#[cfg(test)]
mod tests;
