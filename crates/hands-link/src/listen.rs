//! Accepting connections.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::transport::Server;

use crate::bounds::{MAX_HEADERS, MAX_STREAMS, Places, Shares};
use crate::connection::Io;
use crate::dial::{
    CONNECTION_WINDOW, FRAME, KEEPALIVE, KEEPALIVE_TIMEOUT, PIPE_BACKLOG, Pipe, STREAM_WINDOW,
};
use crate::socket_file::{self, SocketFile};
use crate::{Address, Connection, LinkError, Peer, ServerTls, peer};

const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_LAST: Duration = Duration::from_secs(1);
/// How long a peer may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A bound address. Nothing is accepted before [`Listener::incoming`] is polled, but peers may connect already.
#[derive(Debug)]
pub struct Listener {
    source: Source,
    address: Option<Address>,
}

#[derive(Debug)]
enum Source {
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] Option<SocketFile>),
    Tcp(TcpListener),
    Tls(TlsSource),
    Pipe(mpsc::Receiver<DuplexStream>),
}

impl Listener {
    /// Listens on an address. Must be called within a tokio runtime. The socket of a dead process is replaced; a live
    /// one is [`LinkError::AlreadyRunning`].
    pub fn bind(address: &Address) -> Result<Self, LinkError> {
        match address {
            Address::Unix(path) => {
                let (listener, file) = socket_file::listen_unix(path)?;
                Ok(Self {
                    source: Source::Unix(listener, Some(file)),
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
                Ok(Self { source: Source::Tcp(listener), address: Some(Address::Tcp(actual)) })
            }
        }
    }

    /// From a Unix socket that [`crate::listen_unix`] has bound. Whoever keeps its file sees whether it is still there.
    pub fn from_unix(listener: UnixListener) -> Self {
        Self { source: Source::Unix(listener, None), address: None }
    }

    /// Takes TLS where it is TCP. Handshakes run side by side; what comes out of [`Listener::incoming`] has finished one.
    #[must_use]
    pub fn over_tls(self, tls: &ServerTls) -> Self {
        let source = match self.source {
            Source::Tcp(listener) => Source::Tls(TlsSource {
                listener,
                tls: tls.clone(),
                shares: Shares::own(),
                handshakes: JoinSet::new(),
                of_one: BTreeMap::new(),
            }),
            other => other,
        };
        Self { source, address: self.address }
    }

    /// A listener inside this process and the end to dial it by.
    pub fn pipe() -> (Self, Pipe) {
        let (sender, receiver) = mpsc::channel(PIPE_BACKLOG);
        (Self { source: Source::Pipe(receiver), address: None }, Pipe::new(sender))
    }

    /// Where it listens, with the real port where 0 was asked for; none for a pipe.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The accepted connections, for `serve_with_incoming`. Never ends on an error: one that passes, such as a lack
    /// of descriptors, is logged and waited out. A pipe's ends when its last dialing end is dropped.
    pub fn incoming(self) -> Incoming {
        let shares = Shares::own();
        Incoming {
            source: self.source,
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
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepted connections.
#[derive(Debug)]
pub struct Incoming {
    source: Source,
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
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
            }
            let accepted = match &mut this.source {
                Source::Unix(listener, _) => {
                    ready!(listener.poll_accept(cx)).and_then(|(stream, _)| check_unix(stream))
                }
                Source::Tcp(listener) => {
                    ready!(listener.poll_accept(cx)).and_then(|(stream, from)| {
                        stream.set_nodelay(true)?;
                        Ok(Some(Connection::new(Io::Tcp(stream), Peer::Tcp(from))))
                    })
                }
                Source::Tls(source) => ready!(source.poll_accept(cx)),
                Source::Pipe(receiver) => match ready!(receiver.poll_recv(cx)) {
                    Some(stream) => Ok(Some(Connection::new(Io::Pipe(stream), Peer::Pipe))),
                    None => return Poll::Ready(None),
                },
            };
            match accepted {
                Ok(Some(connection)) => {
                    this.backoff = BACKOFF_FIRST;
                    let info = connection.info();
                    let shown = info.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
                    if let Some(place) = this.places.take(info.peer, shown) {
                        this.was_full = false;
                        return Poll::Ready(Some(Ok(connection.bounded(place))));
                    }
                    // Said once for all that come while it is so.
                    if !std::mem::replace(&mut this.was_full, true) {
                        tracing::warn!(
                            peer = ?connection.info().peer,
                            most = this.shares.all,
                            of_strangers = this.shares.strangers,
                            of_one = this.shares.of_one,
                            "too many connections: hung up on one"
                        );
                    }
                }
                Ok(None) => {}
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(%error, wait = ?this.backoff, "can't accept connections for now");
                    this.waiting = Some(Box::pin(tokio::time::sleep(this.backoff)));
                    this.backoff = (this.backoff * 2).min(BACKOFF_LAST);
                }
                // The peer was gone before we got to it.
                Err(error) => tracing::debug!(%error, "a connection was not accepted"),
            }
        }
    }
}

/// Accepts and shakes hands.
#[derive(Debug)]
struct TlsSource {
    listener: TcpListener,
    tls: ServerTls,
    shares: Shares,
    handshakes: JoinSet<(IpAddr, Option<Connection>)>,
    of_one: BTreeMap<IpAddr, usize>,
}

impl TlsSource {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Connection>>> {
        loop {
            match self.handshakes.poll_join_next(cx) {
                Poll::Ready(Some(Ok((from, connection)))) => {
                    self.forget(from);
                    if connection.is_some() {
                        return Poll::Ready(Ok(connection));
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    // A panic; whose it was is not known any more.
                    tracing::error!(%error, "a TLS handshake failed");
                    self.of_one.clear();
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            if self.handshakes.len() >= self.shares.handshakes {
                return Poll::Pending;
            }
            let (stream, from) = ready!(self.listener.poll_accept(cx))?;
            let of_one = self.of_one.entry(from.ip()).or_default();
            if *of_one >= self.shares.handshakes_of_one {
                tracing::debug!(%from, "too many handshakes of one address");
                continue;
            }
            *of_one += 1;
            self.handshakes.spawn(handshake(self.tls.acceptor(), stream, from));
        }
    }

    fn forget(&mut self, from: IpAddr) {
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
    stream: TcpStream,
    from: SocketAddr,
) -> (IpAddr, Option<Connection>) {
    let shake = async {
        stream.set_nodelay(true)?;
        acceptor.accept(stream).await
    };
    let connection = match tokio::time::timeout(HANDSHAKE, shake).await {
        Ok(Ok(stream)) => {
            let io = Io::Tls(Box::new(tokio_rustls::TlsStream::Server(stream)));
            Some(Connection::new(io, Peer::Tcp(from)))
        }
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake took too long");
            None
        }
    };
    (from.ip(), connection)
}

fn check_unix(stream: tokio::net::UnixStream) -> io::Result<Option<Connection>> {
    let (uid, pid) = peer::of(&stream)?;
    if uid != peer::own_uid() {
        tracing::warn!(uid, "refused a connection of another user");
        return Ok(None);
    }
    Ok(Some(Connection::new(Io::Unix(stream), Peer::Unix { pid })))
}

/// Whether accepting fails for want of something that may come back: descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error)
        .is_some_and(|e| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&e))
}
