//! The layer that counts what calls take in memory, and gives each its bounds.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hands_link::{ConnectionId, ConnectionInfo};
use hands_proto::{Account, Charge, MessageBound, MessageBudget, MessageLimits};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::bounds::bound;

/// What the messages of one connection, and of all of them, may take in memory, bytes.
pub(crate) const LIMITS: MessageLimits = MessageLimits { connection: 128 << 20, all: 256 << 20 };

/// How often it is looked at what messages take.
const LOOK: std::time::Duration = std::time::Duration::from_secs(5);
/// What is worth giving back, bytes.
const MUCH: usize = 16 << 20;

/// Gives every call a charge.
#[derive(Clone, Debug)]
pub struct MeterLayer(Arc<Meter>);

#[derive(Debug)]
struct Meter {
    budget: Arc<MessageBudget>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    open: BTreeMap<ConnectionId, Weak<Account>>,
    /// How many there may be before those of connections that are gone are looked for.
    look_at: usize,
}

impl MeterLayer {
    pub(crate) fn new() -> Self {
        let budget = MessageBudget::new(LIMITS, aside);
        Self(Arc::new(Meter { budget, accounts: Mutex::default() }))
    }

    /// Calls this whenever messages have taken much and take little now, until the layer is gone.
    pub(crate) fn give_back_with(&self, give_back: fn()) -> impl Future<Output = ()> + use<> {
        let meter = Arc::downgrade(&self.0);
        async move {
            let mut most = 0;
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(meter) = meter.upgrade() else { return };
                let (now, high) = meter.budget.used();
                most = high.max(most);
                if most >= MUCH && now < most / 4 {
                    most = now;
                    if let Err(status) = crate::task::blocking(give_back).await {
                        tracing::warn!(%status, "memory was not given back");
                    }
                }
            }
        }
    }
}

impl Meter {
    fn account(&self, connection: Option<&ConnectionInfo>) -> Arc<Account> {
        let Some(connection) = connection else { return self.budget.account() };
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.open.get(&connection.id).and_then(Weak::upgrade) {
            return account;
        }
        if accounts.open.len() >= accounts.look_at {
            accounts.open.retain(|_, account| account.strong_count() > 0);
            accounts.look_at = 64 + 2 * accounts.open.len();
        }
        let account = self.budget.account();
        accounts.open.insert(connection.id, Arc::downgrade(&account));
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
        let account = self.meter.0.account(request.extensions().get::<ConnectionInfo>());
        let charge = Charge::new(
            account,
            MessageBound {
                request: bound.request,
                memory: bound.memory,
                answer: bound.answer,
                streams: bound.streams,
            },
        );
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Arc::clone(&charge));
        let body = Body::new(Counting { inner: body, charge: Arc::clone(&charge) });
        Box::pin(charge.scope(Box::pin(self.inner.call(Request::from_parts(parts, body)))))
    }
}

/// On this thread, whose other tasks another one takes over. A runtime of one thread has none.
fn aside(work: &mut dyn FnMut()) {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// A request's body, which is paid for as it comes.
struct Counting {
    inner: Body,
    charge: Arc<Charge>,
}

impl http_body::Body for Counting {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.charge.waits();
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(status) = self.charge.received(data.len())
        {
            return Poll::Ready(Some(Err(status)));
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
