//! How much memory the messages of a server may take: of one call, of one client, and all together.
//!
//! A client may have half as much as it leaves free: a third of everything when it is alone, two ninths after one other that
//! keeps what it got, and so on. So all together do not reach the bound, but for small answers, which are counted and never
//! refused; and whoever comes next finds room.

mod line;

use std::cell::RefCell;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};

use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

use crate::look::{Lines, Look};
use crate::pack;
use crate::rpc::{self, RetryInfo};
use line::Line;

pub use line::MOST_WAITING;

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

/// Runs work on so many bytes, too long for a task, so that other tasks go on in the meantime.
pub type Aside = fn(usize, &mut (dyn FnMut() + Send));

/// What the messages of a server take together.
#[derive(Debug)]
pub struct MessageBudget {
    all: usize,
    aside: Aside,
    held: AtomicUsize,
    /// The most that was used since somebody asked.
    high: AtomicUsize,
    /// The clients of which something waits for room.
    lines: Mutex<Vec<Weak<Account>>>,
    /// Whether there are such: looked at whenever something is given back.
    has_waiting: AtomicBool,
    looks: Lines,
}

/// What the messages of one client take, whatever number of connections it has.
#[derive(Debug)]
pub struct Account {
    budget: Arc<MessageBudget>,
    held: AtomicUsize,
    /// One take of it after the other, so that a refused one is never seen in `held`.
    taking: Mutex<()>,
    /// What of it waits for room, and how much the first of it waits for; 0 where nothing does.
    line: Mutex<Line>,
    first: AtomicUsize,
    /// Whether it is among the lines of the budget. Changes under their lock.
    is_listed: AtomicBool,
    looks: Lines,
    /// Large messages of it that are decoded: one after the other.
    decodes: Arc<Semaphore>,
    /// Its long works: as many as there are cores.
    works: Arc<Semaphore>,
}

/// What one call takes, until it is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bound: MessageBound,
    paid_ahead: AtomicBool,
    held: Mutex<Held>,
    /// Its turn to decode a large message, until it has.
    decodes: Mutex<Option<OwnedSemaphorePermit>>,
    /// Why its answer could not be encoded.
    refusal: OnceLock<Status>,
}

/// A place among the long works of a client, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

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

/// When who was refused may come again.
const RETRY_AFTER: prost_types::Duration = prost_types::Duration { seconds: 1, nanos: 0 };
/// Bytes of a message that are decoded or encoded within a millisecond.
const QUICK: usize = 64 << 10;
/// An answer of this size is never refused: a call that got so far ends better with it.
const SMALL: usize = 64 << 10;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Charge>>> = const { RefCell::new(None) };
}

impl MessageBudget {
    /// A budget of so many bytes, of which nothing is used. Large messages are decoded and encoded by `aside`.
    pub fn new(all: usize, aside: Aside) -> Arc<Self> {
        let (held, high, lines, has_waiting) = Default::default();
        Arc::new(Self { all, aside, held, high, lines, has_waiting, looks: Lines::of_all() })
    }

    /// An account of a new client.
    pub fn account(self: &Arc<Self>) -> Arc<Account> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Arc::new(Account {
            budget: Arc::clone(self),
            held: AtomicUsize::new(0),
            taking: Mutex::default(),
            line: Mutex::default(),
            first: AtomicUsize::new(0),
            is_listed: AtomicBool::new(false),
            looks: Lines::of_one(),
            decodes: Arc::new(Semaphore::new(1)),
            works: Arc::new(Semaphore::new(cores.max(2))),
        })
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
    /// It makes a call faster; half of what this client may have is left to what it needs.
    Spare,
    /// So little that it is only counted.
    Unrefused,
}

/// There is less than was asked for.
struct Short;

/// RESOURCE_EXHAUSTED with a RetryInfo: it will pass. The same code stands for a full disk, which will not.
fn refusal(message: String) -> Status {
    let retry = RetryInfo { retry_delay: Some(RETRY_AFTER) };
    let code = Code::ResourceExhausted;
    let details =
        rpc::Status { code: code.into(), message: message.clone(), details: vec![pack(&retry)] };
    Status::with_details(code, message, details.encode_to_vec().into())
}

impl Account {
    fn take(&self, bytes: usize, r#use: Use) -> Result<(), Status> {
        self.try_take(bytes, r#use).map_err(|Short| self.refusal(bytes))
    }

    /// The same where nobody is told why not: it may be tried often.
    fn try_take(&self, bytes: usize, r#use: Use) -> Result<(), Short> {
        if bytes == 0 {
            return Ok(());
        }
        let budget = &self.budget;
        let _alone = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.held.load(Ordering::SeqCst);
        let mine = before + bytes;
        let fits = |all: usize| {
            let free = budget.all.saturating_sub(all);
            match r#use {
                Use::Unrefused => true,
                Use::Needed => mine <= free / 2,
                Use::Spare => mine <= free / 4,
            }
        };
        // What does not fit is never counted: it would disturb others, and those who wait would have to be told.
        let count = |held: usize| Some(held + bytes).filter(|all| fits(*all));
        let taken = budget.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        let held = taken.map_err(|_| Short)?;
        self.held.fetch_add(bytes, Ordering::SeqCst);
        budget.high.fetch_max(held + bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Why it can't have so many bytes now.
    fn refusal(&self, bytes: usize) -> Status {
        let before = self.held.load(Ordering::SeqCst);
        // Others give back at the same time, first from their own account.
        let of_others = self.budget.held.load(Ordering::SeqCst).saturating_sub(before);
        let most = self.budget.all.saturating_sub(of_others) / 3;
        refusal(format!(
            "the calls of this client take {before} bytes of memory, and {bytes} more would be above the {most} that it may take \
             now: send fewer or smaller ones at once, or try again later"
        ))
    }

    fn give(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        self.budget.held.fetch_sub(bytes, Ordering::SeqCst);
        if self.budget.has_waiting.load(Ordering::SeqCst) {
            self.budget.serve();
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
            decodes: Mutex::default(),
            refusal: OnceLock::new(),
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

    /// A message of so many bytes begins to come. It is paid before it is there: what only begins takes nothing from others
    /// that they could not do without, and what has begun can end.
    pub fn announced(&self, bytes: usize) -> Result<(), Status> {
        if bytes > self.bound.request {
            return Err(Status::out_of_range(format!(
                "a message of {bytes} bytes is more than the {} that this call takes",
                self.bound.request
            )));
        }
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

    /// What the message takes that came last, bytes.
    pub fn message(&self) -> usize {
        self.lock().message
    }

    /// Whether its client sends several messages.
    pub fn streams(&self) -> bool {
        self.bound.streams
    }

    /// What a handler is about to allocate beside its request, for its answer above all; kept until the call ends.
    pub fn reserve(&self, bytes: usize) -> Result<(), Status> {
        self.account.take(bytes, Use::Needed)?;
        self.lock().reserved += bytes;
        Ok(())
    }

    /// As [`Charge::reserve`], but waits until there is room, behind all of its client that waited before, of which there are at
    /// most [`MOST_WAITING`]. For what a client gets; what it sends would fill the connection while it waits, and so keep from
    /// ending what it waits for.
    pub async fn reserve_later(&self, bytes: usize) -> Result<(), Status> {
        let room = self.account.room(bytes).await?;
        self.lock().reserved += room.keep();
        Ok(())
    }

    /// The answer to a call that has waited too long for so many bytes.
    pub fn no_room(&self, bytes: usize) -> Status {
        self.account.refusal(bytes)
    }

    /// The same as [`Charge::reserve`], but kept only until the value is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Result<Reserved, Status> {
        self.account.take(bytes, Use::Needed)?;
        Ok(Reserved { charge: Arc::clone(self), bytes })
    }

    /// As [`Charge::hold`], but waits until there is room, as [`Charge::reserve_later`] does.
    pub async fn hold_later(self: &Arc<Self>, bytes: usize) -> Result<Reserved, Status> {
        let bytes = self.account.room(bytes).await?.keep();
        Ok(Reserved { charge: Arc::clone(self), bytes })
    }

    /// What the message takes that came last, to be kept beyond the next one. None where it is counted already, or nowhere.
    pub fn keep_message(self: &Arc<Self>) -> Option<Reserved> {
        let bytes = std::mem::take(&mut self.lock().message);
        (bytes > 0).then(|| Reserved { charge: Arc::clone(self), bytes })
    }

    /// Whether a message of so many bytes takes so long to decode that it waits for its turn.
    pub const fn is_long(bytes: usize) -> bool {
        bytes > QUICK
    }

    /// Waits for the turn to decode a large message, of which all but the end may have come. Whoever sends many at once has
    /// one of them decoded at a time, so that one thread is busy with them.
    pub async fn decodes(&self) {
        // One that was never used must not keep it from the next.
        self.has_decoded();
        let turn = Arc::clone(&self.account.decodes).acquire_owned().await;
        // It is never closed.
        *self.turn() = turn.ok();
    }

    fn turn(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.decodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message is decoded, or will never be.
    pub(crate) fn has_decoded(&self) {
        let turn = self.turn().take();
        drop(turn);
    }

    /// Waits until there is a place among the long works of the client whose call this is. None where nothing is counted.
    pub async fn place() -> Option<Place> {
        let works = Arc::clone(&Self::current()?.account.works);
        // It is never closed.
        works.acquire_owned().await.ok().map(Place)
    }

    /// Memory for a look at what the store has, bytes. Waits in a line until it is there.
    pub async fn look(&self, bytes: usize) -> Look {
        let of_one = self.account.looks.take(bytes).await;
        let of_all = self.account.budget.looks.take(bytes).await;
        Look { of_all, of_one }
    }

    /// The answer to a call that has waited too long for room.
    pub fn crowded() -> Status {
        refusal("many calls look at large trees or results at once: try again later".to_owned())
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
    pub(crate) fn work<T: Send>(&self, bytes: usize, work: impl FnOnce() -> T + Send) -> T {
        if bytes <= QUICK {
            return work();
        }
        let (mut work, mut done) = (Some(work), None);
        (self.account.budget.aside)(bytes, &mut || done = work.take().map(|work| work()));
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

    /// Why the answer could not be encoded, if that is so. tonic makes INTERNAL of what an encoder says.
    pub fn refusal(&self) -> Option<&Status> {
        self.refusal.get()
    }

    /// An answer is about to be encoded.
    pub(crate) fn encoded(&self, bytes: usize) -> Result<(), Status> {
        self.encodes(bytes).inspect_err(|status| {
            // A stream ends with its first.
            let _first = self.refusal.set(status.clone());
        })
    }

    fn encodes(&self, bytes: usize) -> Result<(), Status> {
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
