//! The layer that counts what calls take in memory, and gives each its bounds.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hands_link::{ConnectionId, ConnectionInfo, Peer, Source, Standing, TokenId, Turn};
use hands_proto::{Account, Charge, MessageBudget, Prefixes};
use hands_types::MemberId;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::bounds::bound;
use super::{KeyId, Principal};
use crate::Activity;
use crate::ledger::Ledger;

/// What the messages of all clients may take in memory, bytes.
pub(crate) const ALL: usize = 256 << 20;
/// The same of those who are not known yet: they may ask what this hub can do, join, and renew.
const STRANGERS: usize = 16 << 20;

/// What a call takes without a message: 35 KB each were seen of 20,000 downloads that nobody read.
const CALL: usize = 16 << 10;

/// A message of so many bytes is worth a thread of its own. Pieces of a blob are smaller: of those there are thousands.
const LONG: usize = 1 << 20;

/// How often it is looked at what messages take.
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);
/// What is worth giving back, bytes.
const MUCH: usize = 16 << 20;
/// Actions whose end is worth a look at what they took.
const MANY: u64 = 1000;
/// Actions that take little.
const FEW: usize = 100;

/// Gives every call a charge.
#[derive(Clone, Debug)]
pub struct MeterLayer(Arc<Meter>);

#[derive(Debug)]
struct Meter {
    budget: Arc<MessageBudget>,
    strangers: Arc<MessageBudget>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    open: BTreeMap<Client, Weak<Account>>,
    /// How many there may be before those of clients that are gone are looked for.
    look_at: usize,
}

/// Whose messages count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// A member, from anywhere.
    Member(MemberId),
    /// Whoever has this token, from anywhere.
    Token(TokenId),
    /// Whoever has the key of a certificate without a name of ours.
    Certificate(KeyId),
    /// A program of this machine.
    Connection(ConnectionId),
    /// All at one address who called what is open to strangers.
    Stranger(Source),
}

impl Client {
    fn of<B>(request: &Request<B>) -> Option<Self> {
        let connection = request.extensions().get::<ConnectionInfo>()?;
        let principal = request.extensions().get::<Principal>().copied();
        Some(Self::known_as(principal, connection.id, &connection.peer))
    }

    pub(super) fn known_as(
        principal: Option<Principal>,
        connection: ConnectionId,
        peer: &Peer,
    ) -> Self {
        match principal {
            Some(Principal::Member(id, _)) => Self::Member(id),
            Some(Principal::Bearer(id, _)) => Self::Token(id),
            Some(Principal::Certificate(key, _)) => Self::Certificate(key),
            Some(Principal::Local | Principal::Loopback) => Self::Connection(connection),
            // The user's own agent asks nobody who they are: whoever reaches its socket is that user.
            None if peer.standing == Standing::Own => Self::Connection(connection),
            None => Self::Stranger(peer.source),
        }
    }
}

impl MeterLayer {
    pub(crate) fn new() -> Self {
        let [budget, strangers] = [ALL, STRANGERS].map(|all| MessageBudget::new(all, aside));
        Self(Arc::new(Meter { budget, strangers, accounts: Mutex::default() }))
    }

    /// The charge of what the hub does by itself.
    pub(crate) fn own(&self) -> Arc<Charge> {
        Charge::new(self.0.budget.account(), super::bounds::OTHERS.message)
    }

    /// Calls this whenever messages have taken much and take little now, and after many actions have ended of which few are
    /// left, until the layer is gone.
    pub(crate) fn give_back_with(
        &self,
        give_back: fn(),
        actions: Actions,
    ) -> impl Future<Output = ()> + use<> {
        let meter = Arc::downgrade(&self.0);
        async move {
            let mut most = 0;
            let (mut ended, mut has_ended) = (0, false);
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(meter) = meter.upgrade() else { return };
                let (now, high) = meter.budget.used();
                most = high.max(most);
                // What has just ended is remembered for a moment: until the next look.
                let is_after_many = std::mem::take(&mut has_ended);
                if actions.ended() - ended >= MANY && actions.left() < FEW {
                    (ended, has_ended) = (actions.ended(), true);
                }
                if most >= MUCH && now < most / 4 || is_after_many {
                    most = now;
                    if let Err(status) = crate::task::blocking(give_back).await {
                        tracing::warn!(%status, "memory was not given back");
                    }
                }
            }
        }
    }
}

/// How many actions there were and are.
pub(crate) struct Actions {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) activity: watch::Receiver<Activity>,
}

impl Actions {
    fn ended(&self) -> u64 {
        self.ledger.ended_so_far()
    }

    fn left(&self) -> usize {
        let activity = self.activity.borrow();
        activity.queued + activity.running
    }
}

impl Meter {
    fn account(&self, client: Option<Client>) -> Arc<Account> {
        let Some(client) = client else { return self.budget.account() };
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.open.get(&client).and_then(Weak::upgrade) {
            return account;
        }
        if accounts.open.len() >= accounts.look_at {
            accounts.open.retain(|_, account| account.strong_count() > 0);
            accounts.look_at = 64 + 2 * accounts.open.len();
        }
        let account = match client {
            Client::Stranger(_) => self.strangers.account(),
            Client::Member(_)
            | Client::Token(_)
            | Client::Certificate(_)
            | Client::Connection(_) => self.budget.account(),
        };
        accounts.open.insert(client, Arc::downgrade(&account));
        account
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, meter: self.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    meter: MeterLayer,
}

impl<S> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let bound = bound(request.uri().path());
        let charge = Charge::new(self.meter.0.account(Client::of(&request)), bound.message);
        if let Err(status) = charge.reserve(CALL) {
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Arc::clone(&charge));
        let prefixes = Prefixes::default();
        let counting = Counting {
            inner: body,
            prefixes,
            charge: Arc::clone(&charge),
            turn: Turn::default(),
            is_long: false,
            ends: None,
            refused: None,
        };
        let body = Body::new(counting);
        let call = Box::pin(self.inner.call(Request::from_parts(parts, body)));
        let call = Arc::clone(&charge).scope(call);
        Box::pin(async move {
            let response = call.await?;
            Ok(response.map(|inner| Body::new(Answering { inner, charge })))
        })
    }
}

/// On this thread, whose other tasks another one takes over; what is long, on one that stands back. A runtime of one thread
/// has none.
fn aside(bytes: usize, work: &mut (dyn FnMut() + Send)) {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) if bytes < LONG => {
            tokio::task::block_in_place(work);
        }
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => {
            tokio::task::block_in_place(|| standing_back(work));
        }
        _ => work(),
    }
}

fn standing_back(work: &mut (dyn FnMut() + Send)) {
    let mut is_done = false;
    std::thread::scope(|scope| {
        let started = std::thread::Builder::new().spawn_scoped(scope, || {
            hands_reapi::stand_back();
            work();
            is_done = true;
        });
        if let Ok(Err(panic)) = started.map(std::thread::ScopedJoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    });
    // No thread was to be had.
    if !is_done {
        work();
    }
}

/// An answer's body. Where a message of it could not be encoded for want of memory, it ends with that: tonic calls whatever an
/// encoder says INTERNAL.
struct Answering {
    inner: Body,
    charge: Arc<Charge>,
}

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(refusal) = self.charge.refusal()
            && let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            trailers.clear();
            // Fails for a message that no header can hold, and ours is plain text.
            refusal.add_header(trailers)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Waits for the turn to decode a message.
type Decodes = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A request's body, each message of which is paid for when it begins.
struct Counting {
    inner: Body,
    prefixes: Prefixes,
    charge: Arc<Charge>,
    /// Whoever reads it copies what has come into one piece, megabytes without a pause.
    turn: Turn,
    /// Whether the message that is under way takes long to decode.
    is_long: bool,
    /// The end of such a message, which waits for its turn.
    ends: Option<(Frame<Bytes>, Decodes)>,
    /// Why its message is not taken. What is still to come of it is thrown away: a client whose call ends while it sends may
    /// miss the answer.
    refused: Option<Status>,
}

impl http_body::Body for Counting {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, prefixes, charge, turn, is_long, ends, refused } = &mut *self;
        if let Some((_, decodes)) = ends {
            ready!(decodes.as_mut().poll(cx));
            return Poll::Ready(ends.take().map(|(frame, _)| Ok(frame)));
        }
        charge.waits();
        loop {
            ready!(turn.poll(cx));
            let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            turn.moved(data.map_or(0, Bytes::len));
            if refused.is_some() {
                if data.is_some() {
                    continue;
                }
                return Poll::Ready(refused.take().map(Err));
            }
            let Some(data) = data else { return Poll::Ready(frame) };
            let mut is_end = false;
            let followed = prefixes.follow(data, |length| {
                is_end |= std::mem::replace(is_long, Charge::is_long(length));
                charge.announced(length)
            });
            match followed {
                Ok(()) => {
                    is_end |= *is_long && prefixes.is_between();
                    if !is_end {
                        return Poll::Ready(frame);
                    }
                    *is_long &= !prefixes.is_between();
                    let charge = Arc::clone(charge);
                    let mut decodes: Decodes = Box::pin(async move { charge.decodes().await });
                    if decodes.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(frame);
                    }
                    *ends = frame.and_then(Result::ok).map(|frame| (frame, decodes));
                    return Poll::Pending;
                }
                Err(status) if status.code() == Code::ResourceExhausted && !charge.streams() => {
                    *refused = Some(status);
                }
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refused.is_none() && self.ends.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;
