//! One accepted byte stream, and how others learn that it is gone.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tonic::transport::server::Connected;

use crate::bounds::{Opening, Place};
use crate::frames::Frames;
use crate::quality::{Count, Measured};
use crate::stream::BoxStream;
use crate::turn::Turn;
use crate::{Peer, Quality, Standing, TlsPeer};

/// How long the end of a connection may trail the end of its streams: only where we close it ourselves, because
/// keepalive went unanswered.
const TRAIL: Duration = Duration::from_millis(50);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A stream of bytes to a peer: accepted, to be given to a tonic server, or dialed.
pub struct Connection {
    io: BoxStream,
    // Declared after `io`: the socket is closed before anybody hears that the connection is gone.
    alive: Alive,
    frames: Frames,
    sent: Frames,
    /// When the peer was asked whether it is there.
    asked: Option<Instant>,
    count: Count,
    turn: Turn,
    info: ConnectionInfo,
    // Of what was accepted from elsewhere.
    opening: Option<Opening>,
    place: Option<Place>,
}

/// Distinguishes a connection from every other one of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
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
    measured: Arc<Measured>,
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

    /// Whether the other end is this user's: nobody else has come by the way that it came.
    pub fn is_own(&self) -> bool {
        self.peer.standing == Standing::Own
    }

    /// What was measured of it so far.
    pub fn quality(&self) -> Quality {
        self.measured.quality()
    }

    pub(crate) fn answered_after(&self, round_trip: Duration) {
        self.measured.answered_after(round_trip);
    }

    /// Whether it stays within this machine, where bytes move faster than any compressor.
    pub fn is_here(&self) -> bool {
        self.peer.is_here
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
    /// `tls` is what TLS says of the peer where the stream is encrypted.
    pub(crate) fn new(io: BoxStream, peer: Peer, tls: Option<TlsPeer>) -> Self {
        let (sender, gone) = watch::channel(false);
        let id = ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let (tls, goodbye) = (tls.map(Arc::new), Arc::default());
        let (cut, measured) = (Arc::default(), Arc::default());
        let info = ConnectionInfo { id, peer, tls, gone, goodbye, cut, measured };
        let alive = Alive(Arc::new(sender));
        Self {
            io,
            alive,
            frames: Frames::after_preface(),
            sent: Frames::new(),
            asked: None,
            count: Count::default(),
            turn: Turn::default(),
            info,
            opening: None,
            place: None,
        }
    }

    /// Between the ends of one process: who drops one has other words for what it wants.
    pub(crate) fn within_this_process(io: BoxStream) -> Self {
        Self { frames: Frames::Done, ..Self::new(io, Peer::this_process(), None) }
    }

    /// Holds a peer that has come to what any peer is held to.
    pub(crate) fn bounded(self, place: Place) -> Self {
        // It is the peer who begins.
        let frames = if matches!(self.frames, Frames::Done) { Frames::Done } else { Frames::new() };
        let sent = Frames::after_preface();
        Self { frames, sent, opening: Some(Opening::new()), place: Some(place), ..self }
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

    fn note_written(
        &mut self,
        result: Poll<io::Result<usize>>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = if let Poll::Ready(Ok(bytes)) = &result { *bytes } else { 0 };
        self.turn.moved(written);
        self.count.add(written, &self.info.measured);
        let mut left = written;
        for buf in bufs {
            let passed = left.min(buf.len());
            if self.sent.pass(&buf[..passed]).ping {
                self.asked.get_or_insert_with(Instant::now);
            }
            left -= passed;
        }
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
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = &buf.filled()[before..];
        self.turn.moved(came.len());
        let this = &mut *self;
        this.count.add(came.len(), &this.info.measured);
        let seen = self.frames.pass(came);
        if seen.goodbye {
            self.info.goodbye.send_replace(true);
        }
        if seen.pong
            && let Some(asked) = self.asked.take()
        {
            self.info.answered_after(asked.elapsed());
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
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_written(result, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        ready!(self.turn.poll(cx));
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_written(result, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
