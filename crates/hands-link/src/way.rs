//! The way of one worker to its hub: a channel whose connection is known, whose numbers follow that connection, and which
//! can be taken to a better one.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::dial::{dial_route, endpoint, endpoint_to};
use crate::stream::ByteStream;
use crate::{
    Address, Connection, ConnectionInfo, LinkError, Parameters, Peer, Quality, Route, Standing,
    member,
};

/// How often a hub's other routes are tried, to see if one of them is much better.
const LOOK: Duration = Duration::from_secs(60);
/// On a way that is fast already there is little to win.
const LOOK_RARELY: u32 = 10;
const FAST: Duration = Duration::from_millis(20);

/// The way to a hub. Cheap to clone; all clones are on the same connection.
#[derive(Clone, Debug)]
pub struct Way {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    how: How,
    /// Milliseconds.
    look: AtomicU64,
    now: Mutex<Now>,
}

#[derive(Debug)]
enum How {
    /// It is dialed, as often as need be.
    Dialed(Address),
    /// Somebody else sees to it that there is a connection.
    Given,
}

/// What is used now.
struct Now {
    channel: Channel,
    info: Option<ConnectionInfo>,
    route: Option<Route>,
}

/// A connection by a better route, ready to be used.
#[derive(Debug)]
pub struct Better {
    route: Route,
    connection: Connection,
}

impl Way {
    /// To an address. Dials when it is opened or first used. Must be called within a tokio runtime.
    pub fn to(address: &Address) -> Self {
        let shared = Arc::new_cyclic(|shared| {
            let endpoint = endpoint_to(address, Parameters::of(Quality::default()));
            let channel = channel(&endpoint, None, Some(address.clone()), shared.clone());
            Shared::new(How::Dialed(address.clone()), Now { channel, info: None, route: None })
        });
        Self { shared }
    }

    /// Over a stream that is there already, and over no other: when it has ended, requests fail with [`LinkError::Ended`].
    /// Whoever is at the other end must be the hub of the membership in `identity`; where there is none, the stream is trusted
    /// as it is.
    pub async fn over(
        stream: impl ByteStream + 'static,
        identity: Option<&Path>,
    ) -> Result<Self, LinkError> {
        let peer = Peer::by_way("stream", "the other end of the stream", Standing::Stranger);
        let connection = match identity {
            Some(dir) => member::greet(Box::new(stream), peer, dir).await?,
            None => Connection::new(Box::new(stream), peer, None),
        };
        let info = Some(connection.info().clone());
        let now = Now { channel: once(connection), info, route: None };
        Ok(Self { shared: Arc::new(Shared::new(How::Given, now)) })
    }

    /// The same with another pause between two looks for a better route; a tenth as often where the way is fast.
    #[must_use]
    pub fn looking_every(self, look: Duration) -> Self {
        self.shared
            .look
            .store(u64::try_from(look.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self
    }

    /// The channel that is used now. Calls that were begun on it stay with its connection until they have ended.
    pub fn channel(&self) -> Channel {
        self.lock().channel.clone()
    }

    /// What was measured of the connection that is used now.
    pub fn quality(&self) -> Quality {
        self.lock().info.as_ref().map(ConnectionInfo::quality).unwrap_or_default()
    }

    /// Whether the connection that is used now stays within this machine.
    pub fn is_here(&self) -> bool {
        self.lock().info.as_ref().is_some_and(ConnectionInfo::is_here)
    }

    /// The route that is used now, where the way is dialed by one.
    pub fn route(&self) -> Option<Route> {
        self.lock().route.clone()
    }

    /// Makes a connection for what is to come; what was begun on the one before stays there.
    pub async fn open(&self) -> Result<(), LinkError> {
        let How::Dialed(address) = &self.shared.how else { return Ok(()) };
        // What is before others' engines has needs of its own.
        if matches!(address, Address::Engine(_)) {
            return Ok(());
        }
        let (route, connection) = dial_route(address).await?;
        self.set(address, route, connection);
        Ok(())
    }

    /// Looks for a route that is much better than the present one, twice in a row, and returns a connection by it. Never where
    /// there is no other.
    pub async fn better(&self) -> Better {
        let mut seen = None;
        loop {
            let fast = self.quality().round_trip.is_some_and(|round_trip| round_trip < FAST);
            // Once something was seen, it is made sure of soon.
            let rarely = if fast && seen.is_none() { LOOK_RARELY } else { 1 };
            let look = Duration::from_millis(self.shared.look.load(Ordering::Relaxed));
            tokio::time::sleep(look * rarely).await;
            let (How::Dialed(Address::Member(dir)), Some(present)) =
                (&self.shared.how, self.route())
            else {
                return std::future::pending().await;
            };
            match member::look(dir, &present).await {
                Ok(Some((route, connection))) if seen.as_ref() == Some(&route) => {
                    return Better { route, connection };
                }
                Ok(found) => seen = found.map(|(route, _)| route),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "can't look for a better way to the hub");
                    seen = None;
                }
            }
        }
    }

    /// From now on the better route is used, and tried first when the connection is lost.
    pub async fn take(&self, better: Better) {
        let How::Dialed(address) = &self.shared.how else { return };
        let Better { route, connection } = better;
        if let Address::Member(dir) = address {
            member::remember(dir, &route).await;
        }
        self.set(address, Some(route), connection);
    }

    fn set(&self, address: &Address, route: Option<Route>, connection: Connection) {
        let info = Some(connection.info().clone());
        let endpoint = endpoint_to(address, Parameters::of(connection.info().quality()));
        let shared = Arc::downgrade(&self.shared);
        let channel = channel(&endpoint, Some(connection), Some(address.clone()), shared);
        *self.lock() = Now { channel, info, route };
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.shared.lock()
    }
}

impl From<Channel> for Way {
    /// A channel as it is: that of a hub in this process, for example.
    fn from(channel: Channel) -> Self {
        let now = Now { channel, info: None, route: None };
        Self { shared: Arc::new(Shared::new(How::Given, now)) }
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Now").field("info", &self.info).field("route", &self.route).finish()
    }
}

impl Shared {
    fn new(how: How, now: Now) -> Self {
        let look = u64::try_from(LOOK.as_millis()).unwrap_or(u64::MAX);
        Self { how, look: AtomicU64::new(look), now: Mutex::new(now) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel has dialed by itself. One that was left behind says nothing of the one that is used.
    fn note(&self, route: Option<Route>, connection: &Connection) {
        let mut now = self.lock();
        if now.info.as_ref().is_none_or(ConnectionInfo::is_gone) {
            (now.info, now.route) = (Some(connection.info().clone()), route);
        }
    }
}

/// A channel over one connection and no other.
pub(crate) fn once(connection: Connection) -> Channel {
    let parameters = Parameters::of(connection.info().quality());
    let endpoint = endpoint(parameters, !connection.info().is_own());
    channel(&endpoint, Some(connection), None, Weak::new())
}

/// When the first connection is lost, calls that still come dial `again`.
fn channel(
    endpoint: &Endpoint,
    first: Option<Connection>,
    again: Option<Address>,
    way: Weak<Shared>,
) -> Channel {
    let first = Arc::new(Mutex::new(first));
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let connection = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (again, way) = (again.clone(), way.clone());
        async move {
            let connection = match (connection, again) {
                (Some(connection), _) => connection,
                (None, Some(address)) => {
                    let (route, connection) = dial_route(&address).await?;
                    if let Some(way) = way.upgrade() {
                        way.note(route, &connection);
                    }
                    connection
                }
                (None, None) => return Err(LinkError::Ended),
            };
            Ok::<_, LinkError>(TokioIo::new(connection))
        }
    }))
}
