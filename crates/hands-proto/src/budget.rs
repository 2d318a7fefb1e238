//! How much memory the messages of a server may take: of one call, of one connection, and all together.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tonic::Status;

/// Bytes that messages may take.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Of one connection.
    pub connection: usize,
    /// Of all connections together. When it is reached, those that hold more than an even share of it are refused.
    pub all: usize,
}

/// What one message of a call may take, bytes.
#[derive(Clone, Copy, Debug)]
pub struct MessageBound {
    /// Of a request, as it travels.
    pub request: usize,
    /// The same once it is decoded.
    pub memory: usize,
    /// Of an answer, as it travels.
    pub answer: usize,
    /// Its client sends one message after the other, and each replaces the one before.
    pub streams: bool,
}

/// Runs work that is too long for a task, so that other tasks go on in the meantime.
pub type Aside = fn(&mut dyn FnMut());

/// What the messages of a server take together.
#[derive(Debug)]
pub struct MessageBudget {
    limits: MessageLimits,
    aside: Aside,
    held: AtomicUsize,
    /// The most that was used since somebody asked.
    high: AtomicUsize,
    /// Connections that hold something.
    holders: AtomicUsize,
}

/// What the messages of one connection take.
#[derive(Debug)]
pub struct Account {
    budget: Arc<MessageBudget>,
    held: AtomicUsize,
}

/// What one call takes, until it is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bound: MessageBound,
    paid_ahead: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Came, and is not decoded yet.
    raw: usize,
    /// The decoded message, with the bytes that it came in.
    message: usize,
    /// What a handler has said that it needs, for its answer above all.
    reserved: usize,
    /// The encoded answer.
    answer: usize,
}

/// Bytes of a message that are decoded or encoded within a millisecond.
const QUICK: usize = 64 << 10;
/// An answer of this size is never refused: a call that got so far ends better with it.
const SMALL: usize = 64 << 10;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Charge>>> = const { RefCell::new(None) };
}

impl MessageBudget {
    /// A budget of which nothing is used. Large messages are decoded and encoded by `aside`.
    pub fn new(limits: MessageLimits, aside: Aside) -> Arc<Self> {
        let (held, high, holders) = Default::default();
        Arc::new(Self { limits, aside, held, high, holders })
    }

    /// An account of a new connection.
    pub fn account(self: &Arc<Self>) -> Arc<Account> {
        Arc::new(Account { budget: Arc::clone(self), held: AtomicUsize::new(0) })
    }

    /// Bytes that are used now, and the most that were since the last call.
    pub fn used(&self) -> (usize, usize) {
        let held = self.held.load(Ordering::Relaxed);
        (held, self.high.swap(held, Ordering::Relaxed).max(held))
    }
}

/// How much a use of memory matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The call can't go on without it.
    Needed,
    /// It makes a call faster; half of everything is left to those who need it.
    Spare,
    /// So little that it is only counted.
    Unrefused,
}

impl Account {
    fn take(&self, bytes: usize, r#use: Use) -> Result<(), Status> {
        if bytes == 0 {
            return Ok(());
        }
        let budget = &self.budget;
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before == 0 {
            budget.holders.fetch_add(1, Ordering::Relaxed);
        }
        let all = budget.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        budget.high.fetch_max(all, Ordering::Relaxed);
        let mine = before + bytes;
        let share = budget.limits.all / budget.holders.load(Ordering::Relaxed).max(1);
        let most = budget.limits.connection;
        let fits = match r#use {
            Use::Unrefused => true,
            Use::Needed => mine <= most && (all <= budget.limits.all || mine <= share),
            Use::Spare => mine <= most / 2 && all <= budget.limits.all / 2,
        };
        if fits {
            return Ok(());
        }
        self.give(bytes);
        Err(Status::resource_exhausted(if mine > most {
            format!(
                "the calls of this connection take {before} bytes of memory, and {bytes} more would be above {most}: \
                 send fewer or smaller ones at once"
            )
        } else {
            format!(
                "the calls of all connections take {} bytes of memory, the most that they may; this connection has {before} of \
                 them: try again later",
                all - bytes
            )
        }))
    }

    fn give(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
        if self.held.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            self.budget.holders.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Charge {
    /// A call of which nothing came yet.
    pub fn new(account: Arc<Account>, bound: MessageBound) -> Arc<Self> {
        Arc::new(Self {
            account,
            bound,
            paid_ahead: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// The charge of a call; none where its server counts nothing.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Arc<Self>> {
        request.extensions().get::<Arc<Self>>().cloned()
    }

    /// The charge within whose [`Charge::scope`] this is called.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs a call so that what decodes and encodes its messages knows of the charge.
    pub fn scope<F: Future + Unpin>(self: Arc<Self>, call: F) -> impl Future<Output = F::Output> {
        Scope { charge: Some(self), call }
    }

    /// Bytes came that are no message yet.
    pub fn received(&self, bytes: usize) -> Result<(), Status> {
        self.account.take(bytes, Use::Needed)?;
        self.lock().raw += bytes;
        Ok(())
    }

    /// The next message is waited for, so that the one before was used up.
    pub fn waits(&self) {
        if self.bound.streams {
            let mut held = self.lock();
            self.account.give(std::mem::take(&mut held.message));
        }
    }

    /// What a handler is about to allocate beside its request, for its answer above all; kept until the call ends.
    pub fn reserve(&self, bytes: usize) -> Result<(), Status> {
        self.account.take(bytes, Use::Needed)?;
        self.lock().reserved += bytes;
        Ok(())
    }

    /// The same, but kept only until the value is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Reserved, Status> {
        self.account.take(bytes, Use::Needed)?;
        Ok(Reserved { charge: Arc::clone(self), bytes })
    }

    /// Memory that makes a call faster and that it can do without; none where it is short.
    pub fn spare(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        self.account.take(bytes, Use::Spare).ok()?;
        Some(Reserved { charge: Arc::clone(self), bytes })
    }

    /// What a handler holds is enough for the messages of its answer as well.
    pub fn pays_answers(&self) {
        self.paid_ahead.store(true, Ordering::Relaxed);
    }

    /// Does something to a message of so many bytes: at once if it is small.
    pub(crate) fn work<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes <= QUICK {
            return work();
        }
        let (mut work, mut done) = (Some(work), None);
        (self.account.budget.aside)(&mut || done = work.take().map(|work| work()));
        done.expect("it runs what it is given")
    }

    pub(crate) const fn bound(&self) -> &MessageBound {
        &self.bound
    }

    /// A message of `wire` bytes becomes `weight` bytes.
    pub(crate) fn decoded(&self, wire: usize, weight: usize) -> Result<(), Status> {
        let mut held = self.lock();
        let raw = held.raw.min(wire);
        let before = raw + std::mem::take(&mut held.message);
        held.raw -= raw;
        self.account.give(before);
        self.account.take(wire + weight, Use::Needed)?;
        held.message = wire + weight;
        Ok(())
    }

    /// An answer is about to be encoded.
    pub(crate) fn encoded(&self, bytes: usize) -> Result<(), Status> {
        if bytes > self.bound.answer {
            return Err(Status::resource_exhausted(format!(
                "the answer has {bytes} bytes, more than the {} that it may have",
                self.bound.answer
            )));
        }
        if self.paid_ahead.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut held = self.lock();
        self.account.give(std::mem::take(&mut held.answer));
        self.account.take(bytes, if bytes <= SMALL { Use::Unrefused } else { Use::Needed })?;
        held.answer = bytes;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that a part of a call takes.
#[derive(Debug)]
pub struct Reserved {
    charge: Arc<Charge>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.charge.account.give(self.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let held = *self.lock();
        self.account.give(held.raw + held.message + held.reserved + held.answer);
    }
}

struct Scope<F> {
    charge: Option<Arc<Charge>>,
    call: F,
}

impl<F: Future + Unpin> Future for Scope<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Puts back what was there, also when the call panics.
        struct Restore(Option<Arc<Charge>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(|current| std::mem::swap(current, &mut self.0));
            }
        }
        let mut restore = Restore(self.charge.clone());
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, &mut restore.0));
        Pin::new(&mut self.call).poll(cx)
    }
}
