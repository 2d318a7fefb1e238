//! One accepted byte stream, and how others learn that it is gone.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tonic::transport::server::Connected;

use crate::TlsPeer;
use crate::bounds::{Opening, Place};
use crate::frames::Frames;
use crate::turn::Turn;

/// How long the end of a connection may trail the end of its streams: only where we close it ourselves, because
/// keepalive went unanswered.
const TRAIL: Duration = Duration::from_millis(50);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A stream of bytes from an accepted peer, to be given to a tonic server.
pub struct Connection {
    io: Io,
    // Declared after `io`: the socket is closed before anybody hears that the connection is gone.
    alive: Alive,
    frames: Frames,
    turn: Turn,
    info: ConnectionInfo,
    // Of what was accepted from elsewhere.
    opening: Option<Opening>,
    place: Option<Place>,
}

pub(crate) enum Io {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
    Pipe(DuplexStream),
}

/// Distinguishes a connection from every other one of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this user.
    Unix {
        /// Its id, where the kernel tells it.
        pid: Option<i32>,
    },
    /// A TCP peer.
    Tcp(std::net::SocketAddr),
    /// This process.
    Pipe,
}

/// What a handler may know about the connection that its request came by: in the request's extensions.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Which connection.
    pub id: ConnectionId,
    /// Whose.
    pub peer: Peer,
    /// What TLS says of the peer; none where the connection is not encrypted.
    pub tls: Option<Arc<TlsPeer>>,
    gone: watch::Receiver<bool>,
    goodbye: Arc<watch::Sender<bool>>,
    cut: Arc<Cut>,
}

/// Ends a connection from outside.
#[derive(Debug, Default)]
struct Cut {
    is_cut: AtomicBool,
    reader: AtomicWaker,
}

/// Why a stream ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its peer gave it up: it is still connected, or said goodbye before it hung up.
    Cancelled,
    /// The whole connection was lost without a word.
    Lost,
}

impl ConnectionInfo {
    /// The connection that a request came by; none if its server does not use this crate's listeners.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// Ends the connection at once, for both ends.
    pub fn cut(&self) {
        self.cut.is_cut.store(true, Ordering::Release);
        self.cut.reader.wake();
    }

    /// Whether the connection has ended.
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits until the connection has ended.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        // An error says that the connection was dropped, which is what we wait for.
        let _ended = gone.wait_for(|gone| *gone).await;
    }

    /// Whether the connection has ended and its peer did not announce it: it was killed, or the network is at fault.
    pub fn is_lost(&self) -> bool {
        self.is_gone() && !self.said_goodbye()
    }

    /// Tells a handler whose response stream was just dropped whether its peer cancelled that stream or the connection
    /// was lost. Many a client cancels its calls and hangs up within the same instant, with a GOAWAY between the two.
    pub async fn stream_end(&self) -> StreamEnd {
        if self.said_goodbye() {
            return StreamEnd::Cancelled;
        }
        // The end of the byte stream is noted before the streams inside it are dropped, so the wait is for our own
        // keepalive only.
        match tokio::time::timeout(TRAIL, self.gone()).await {
            Ok(()) if !self.said_goodbye() => StreamEnd::Lost,
            _ => StreamEnd::Cancelled,
        }
    }

    /// Waits until the peer announces that it will hang up (GOAWAY). It may still wait for answers then, or be about to
    /// forget them: that differs by client.
    pub async fn goodbye(&self) {
        let mut goodbye = self.goodbye.subscribe();
        // No error: we hold the sender.
        let _said = goodbye.wait_for(|said| *said).await;
    }

    fn said_goodbye(&self) -> bool {
        *self.goodbye.borrow()
    }
}

/// Tells those who wait, at the latest when it is dropped.
struct Alive(Arc<watch::Sender<bool>>);

impl Alive {
    fn end(&self) {
        self.0.send_if_modified(|gone| !std::mem::replace(gone, true));
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.end();
    }
}

impl Connection {
    pub(crate) fn new(io: Io, peer: Peer) -> Self {
        let (sender, gone) = watch::channel(false);
        let id = ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let tls = match &io {
            Io::Unix(_) | Io::Tcp(_) | Io::Pipe(_) => None,
            Io::Tls(stream) => Some(Arc::new(match &**stream {
                tokio_rustls::TlsStream::Client(stream) => TlsPeer::of_server(stream.get_ref().1),
                tokio_rustls::TlsStream::Server(stream) => TlsPeer::of_client(stream.get_ref().1),
            })),
        };
        let goodbye = Arc::default();
        let info = ConnectionInfo { id, peer, tls, gone, goodbye, cut: Arc::default() };
        // Who drops an end of a pipe is in this process, and has other words for what it wants.
        let frames = if matches!(io, Io::Pipe(_)) { Frames::Done } else { Frames::new() };
        let alive = Alive(Arc::new(sender));
        Self { io, alive, frames, turn: Turn::default(), info, opening: None, place: None }
    }

    /// Holds a peer to what any peer is held to.
    pub(crate) fn bounded(self, place: Place) -> Self {
        Self { opening: Some(Opening::new()), place: Some(place), ..self }
    }

    fn check_cut(&self) -> io::Result<()> {
        if self.info.cut.is_cut.load(Ordering::Acquire) {
            self.alive.end();
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut"));
        }
        Ok(())
    }

    /// Which connection this is, whose, and whether it has ended.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    fn note_written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.turn.moved(if let Poll::Ready(Ok(bytes)) = &result { *bytes } else { 0 });
        self.note(result)
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &result {
            self.alive.end();
        }
        result
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("info", &self.info)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

macro_rules! each {
    ($self:expr, $io:ident => $call:expr) => {
        match &mut $self.io {
            Io::Unix($io) => $call,
            Io::Tcp($io) => $call,
            Io::Tls($io) => $call,
            Io::Pipe($io) => $call,
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A server that has nothing to write still waits to read: that is how it hears of a cut.
        self.info.cut.reader.register(cx.waker());
        self.check_cut()?;
        if let Some(opening) = &mut self.opening
            && let Err(error) = opening.check(cx)
        {
            return self.note(Poll::Ready(Err(error)));
        }
        ready!(self.turn.poll(cx));
        let room = buf.remaining();
        let before = buf.filled().len();
        let result = each!(self, io => Pin::new(io).poll_read(cx, buf));
        let came = &buf.filled()[before..];
        self.turn.moved(came.len());
        if self.frames.pass(came) {
            self.info.goodbye.send_replace(true);
        }
        if self.opening.as_mut().is_some_and(|opening| opening.came(came.len())) {
            self.opening = None;
        }
        if result.is_ready() && room > 0 && buf.filled().len() == before {
            self.alive.end();
        }
        self.note(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        ready!(self.turn.poll(cx));
        let result = each!(self, io => Pin::new(io).poll_write(cx, buf));
        self.note_written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        ready!(self.turn.poll(cx));
        let result = each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs));
        self.note_written(result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Unix(io) => io.is_write_vectored(),
            Io::Tcp(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
            Io::Pipe(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = each!(self, io => Pin::new(io).poll_flush(cx));
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
