//! Accepting connections.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::transport::Server;

use crate::bounds::{MAX_HEADERS, MAX_STREAMS, Places, Shares};
use crate::dial::FRAME;
use crate::door::{Came, Door, Pipe};
use crate::peer::{self, Peer, Source, Standing};
use crate::socket_file::{self, SocketFile};
use crate::stream::BoxStream;
use crate::{Address, Connection, LinkError, Parameters, Quality, ServerTls, TlsPeer};

const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_LAST: Duration = Duration::from_secs(1);
/// How long a peer may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where streams come from. Nothing is accepted before [`Listener::incoming`] is polled, but peers may connect already.
#[derive(Debug)]
pub struct Listener {
    mouth: Mouth,
    tls: Option<ServerTls>,
    address: Option<Address>,
}

#[derive(Debug)]
enum Mouth {
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] Option<SocketFile>),
    Tcp(TcpListener),
    /// Streams that others have accepted or made.
    Door(mpsc::Receiver<Came>),
}

impl Listener {
    /// Listens on an address. Must be called within a tokio runtime. The socket of a dead process is replaced; a live
    /// one is [`LinkError::AlreadyRunning`].
    pub fn bind(address: &Address) -> Result<Self, LinkError> {
        match address {
            Address::Unix(path) => {
                let (listener, file) = socket_file::listen_unix(path)?;
                Ok(Self {
                    mouth: Mouth::Unix(listener, Some(file)),
                    tls: None,
                    address: Some(address.clone()),
                })
            }
            Address::Member(_) | Address::Engine(_) => Err(LinkError::Listen {
                address: address.clone(),
                source: io::Error::new(io::ErrorKind::InvalidInput, "it is another hub's"),
            }),
            Address::Tcp(wanted) => {
                let fail = |source: io::Error| match source.kind() {
                    io::ErrorKind::AddrInUse => LinkError::AlreadyRunning(address.clone()),
                    _ => LinkError::Listen { address: address.clone(), source },
                };
                let listener = bind_tcp(*wanted).map_err(fail)?;
                let actual = listener.local_addr().map_err(fail)?;
                Ok(Self {
                    mouth: Mouth::Tcp(listener),
                    tls: None,
                    address: Some(Address::Tcp(actual)),
                })
            }
        }
    }

    /// From a Unix socket that [`crate::listen_unix`] has bound. Whoever keeps its file sees whether it is still there.
    pub fn from_unix(listener: UnixListener) -> Self {
        Self { mouth: Mouth::Unix(listener, None), tls: None, address: None }
    }

    /// Asks everybody for TLS for whom the way by which they came does not vouch: all who come over TCP, and whoever else
    /// is a stranger. Handshakes run side by side; what comes out of [`Listener::incoming`] has finished one.
    #[must_use]
    pub fn over_tls(self, tls: &ServerTls) -> Self {
        Self { tls: Some(tls.clone()), ..self }
    }

    /// A listener that takes the streams that it is handed, and where they are handed in.
    pub fn door() -> (Self, Door) {
        let (door, streams) = Door::new();
        (Self { mouth: Mouth::Door(streams), tls: None, address: None }, door)
    }

    /// A listener inside this process and the end to dial it by.
    pub fn pipe() -> (Self, Pipe) {
        let (listener, door) = Self::door();
        (listener, Pipe::new(door))
    }

    /// Where it listens, with the real port where 0 was asked for; none for what has no address.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The accepted connections, for `serve_with_incoming`. Never ends on an error: one that passes, such as a lack
    /// of descriptors, is logged and waited out. A door's ends when its last handle is dropped.
    pub fn incoming(self) -> Incoming {
        let shares = Shares::own();
        Incoming {
            mouth: self.mouth,
            handshakes: self.tls.map(|tls| Handshakes::new(tls, shares)),
            backoff: BACKOFF_FIRST,
            waiting: None,
            shares,
            places: Places::new(shares),
            was_full: false,
        }
    }
}

/// A tonic server as all of ours are: large windows and keepalive, so that a vanished peer is noticed; bounds for what
/// one connection may ask at once.
pub fn server() -> Server {
    server_with(Parameters::of(Quality::default()))
}

/// The same for connections of which more is known.
pub fn server_with(parameters: Parameters) -> Server {
    Server::builder()
        .initial_stream_window_size(parameters.stream_window)
        .initial_connection_window_size(parameters.connection_window)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(parameters.keepalive))
        .http2_keepalive_timeout(Some(parameters.keepalive_timeout))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepted connections.
#[derive(Debug)]
pub struct Incoming {
    mouth: Mouth,
    handshakes: Option<Handshakes>,
    backoff: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    shares: Shares,
    places: Places,
    was_full: bool,
}

impl Stream for Incoming {
    // The error type is what `serve_with_incoming` asks for; none is ever given.
    type Item = Result<Connection, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(connection) = this.handshakes.as_mut().and_then(|h| h.poll_done(cx)) {
                match this.place(connection) {
                    Some(connection) => return Poll::Ready(Some(Ok(connection))),
                    None => continue,
                }
            }
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
            }
            if this.handshakes.as_ref().is_some_and(Handshakes::are_full) {
                return Poll::Pending;
            }
            let came = match ready!(this.mouth.poll_accept(cx, this.handshakes.is_some())) {
                Ok(Some(came)) => came,
                Ok(None) if this.handshakes.as_ref().is_some_and(|h| !h.is_empty()) => {
                    return Poll::Pending;
                }
                Ok(None) => return Poll::Ready(None),
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, wait = ?this.backoff, "can't accept connections for now");
                    this.waiting = Some(Box::pin(tokio::time::sleep(this.backoff)));
                    this.backoff = (this.backoff * 2).min(BACKOFF_LAST);
                    continue;
                }
                // The peer was gone before we got to it.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    continue;
                }
            };
            this.backoff = BACKOFF_FIRST;
            if came.peer.standing == Standing::Stranger {
                match &mut this.handshakes {
                    Some(handshakes) => handshakes.begin(came),
                    None => {
                        tracing::warn!(peer = %came.peer, "hung up on a stranger: nothing here could tell who it is");
                    }
                }
                continue;
            }
            if let Some(connection) = this.place(came.connection()) {
                return Poll::Ready(Some(Ok(connection)));
            }
        }
    }
}

impl Incoming {
    /// Finds a place for a connection; hangs up on it where there is none.
    fn place(&mut self, connection: Connection) -> Option<Connection> {
        let info = connection.info();
        let shown = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        if let Some(place) = self.places.take(&info.peer, shown) {
            self.was_full = false;
            return Some(connection.bounded(place));
        }
        // Said once for all that come while it is so.
        if !std::mem::replace(&mut self.was_full, true) {
            tracing::warn!(
                peer = %info.peer,
                most = self.shares.all,
                of_strangers = self.shares.strangers,
                of_one = self.shares.of_one,
                "too many connections: hung up on one"
            );
        }
        None
    }
}

impl Mouth {
    /// None when nothing will come any more.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
        over_tls: bool,
    ) -> Poll<io::Result<Option<Came>>> {
        match self {
            Self::Unix(listener, _) => loop {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                if let Some(came) = check_unix(stream)? {
                    return Poll::Ready(Ok(Some(came)));
                }
            },
            Self::Tcp(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(tcp(stream, over_tls).map(Some))
            }
            Self::Door(streams) => Poll::Ready(Ok(ready!(streams.poll_recv(cx)))),
        }
    }
}

fn tcp(stream: TcpStream, over_tls: bool) -> io::Result<Came> {
    stream.set_nodelay(true)?;
    let standing = if over_tls { Standing::Stranger } else { Standing::Machine };
    let peer = Peer::of_tcp(&stream, standing)?;
    Ok(Came::from(Box::new(stream), peer))
}

fn check_unix(stream: UnixStream) -> io::Result<Option<Came>> {
    let (uid, pid) = peer::of(&stream)?;
    if uid != peer::own_uid() {
        tracing::warn!(uid, "refused a connection of another user");
        return Ok(None);
    }
    Ok(Some(Came::from(Box::new(stream), Peer::process(pid))))
}

/// Handshakes under way.
#[derive(Debug)]
struct Handshakes {
    tls: ServerTls,
    shares: Shares,
    running: JoinSet<(Source, Option<Connection>)>,
    of_one: BTreeMap<Source, usize>,
}

impl Handshakes {
    fn new(tls: ServerTls, shares: Shares) -> Self {
        Self { tls, shares, running: JoinSet::new(), of_one: BTreeMap::new() }
    }

    fn are_full(&self) -> bool {
        self.running.len() >= self.shares.handshakes
    }

    fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    fn begin(&mut self, came: Came) {
        let of_one = self.of_one.entry(came.peer.source).or_default();
        if *of_one >= self.shares.handshakes_of_one {
            tracing::debug!(from = %came.peer, "too many handshakes of one address");
            return;
        }
        *of_one += 1;
        self.running.spawn(handshake(self.tls.acceptor(), came));
    }

    /// One that has finished well.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Option<Connection> {
        while let Poll::Ready(Some(done)) = self.running.poll_join_next(cx) {
            match done {
                Ok((from, connection)) => {
                    self.forget(from);
                    if connection.is_some() {
                        return connection;
                    }
                }
                Err(error) => {
                    // A panic; whose it was is not known any more.
                    tracing::error!(%error, "a TLS handshake failed");
                    self.of_one.clear();
                }
            }
        }
        None
    }

    fn forget(&mut self, from: Source) {
        if let Entry::Occupied(mut of_one) = self.of_one.entry(from) {
            *of_one.get_mut() = of_one.get().saturating_sub(1);
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
    }
}

async fn handshake(
    acceptor: tokio_rustls::TlsAcceptor,
    came: Came,
) -> (Source, Option<Connection>) {
    let Came { stream, peer, .. } = came;
    let source = peer.source;
    let began = Instant::now();
    let connection = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let tls = TlsPeer::of_client(stream.get_ref().1);
            let stream: BoxStream = Box::new(stream);
            let connection = Connection::new(stream, peer, Some(tls));
            connection.info().answered_after(began.elapsed());
            Some(connection)
        }
        Ok(Err(error)) => {
            tracing::debug!(from = %peer, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(from = %peer, "a TLS handshake took too long");
            None
        }
    };
    (source, connection)
}

/// Whether accepting fails for want of something that may come back: descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|e| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&e))
}
