//! Streams that are handed to a listener instead of being accepted by it.

use std::io;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tower::service_fn;

use crate::Peer;
use crate::dial::endpoint;
use crate::stream::{BoxStream, ByteStream};
use crate::{Connection, Parameters, Quality};

/// Streams that may wait to be taken.
const BACKLOG: usize = 16;
/// Bytes that may be under way in each direction of a pipe within this process.
const PIPE_BUFFER: usize = 1 << 20;

/// A stream with somebody at its other end.
pub(crate) struct Came {
    pub(crate) stream: BoxStream,
    pub(crate) peer: Peer,
    /// Whether its other end is this process: only a [`Pipe`] says so.
    is_pipe: bool,
}

impl Came {
    /// From elsewhere than this process.
    pub(crate) fn from(stream: BoxStream, peer: Peer) -> Self {
        Self { stream, peer, is_pipe: false }
    }

    /// As it is, without TLS.
    pub(crate) fn connection(self) -> Connection {
        if self.is_pipe {
            return Connection::within_this_process(self.stream);
        }
        Connection::new(self.stream, self.peer, None)
    }
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Came").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Where streams are handed to a [`crate::Listener`], whoever has made them: the two ends of a process that was started, a
/// connection that something else has accepted. Cheap to clone. When all are dropped the listener ends, and a server over it
/// says goodbye to what was handed in: keep one for as long as those are to be served.
#[derive(Clone, Debug)]
pub struct Door {
    streams: mpsc::Sender<Came>,
}

impl Door {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Came>) {
        let (sender, streams) = mpsc::channel(BACKLOG);
        (Self { streams: sender }, streams)
    }

    /// Hands a stream in. A peer whose standing is [`crate::Standing::Stranger`] must speak TLS, and is hung up on
    /// where the listener asks nobody for it; whose is
    /// [`crate::Standing::Own`] is taken for this user, so whoever says so answers for it.
    pub async fn hand_in(&self, stream: impl ByteStream + 'static, peer: Peer) -> io::Result<()> {
        self.send(Came::from(Box::new(stream), peer)).await
    }

    async fn send(&self, came: Came) -> io::Result<()> {
        let ended = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the hub has ended");
        self.streams.send(came).await.map_err(ended)
    }
}

/// The dialing end of a listener inside this process.
#[derive(Clone, Debug)]
pub struct Pipe {
    door: Door,
}

impl Pipe {
    pub(crate) fn new(door: Door) -> Self {
        Self { door }
    }

    /// A channel through the pipe; connects when it is first used. Must be called within a tokio runtime.
    pub fn connect(&self) -> Channel {
        let door = self.door.clone();
        let usual = Parameters::of(Quality::default());
        endpoint(usual, false).connect_with_connector_lazy(service_fn(move |_: Uri| {
            let door = door.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE_BUFFER);
                let stream = Box::new(theirs);
                door.send(Came { stream, peer: Peer::this_process(), is_pipe: true }).await?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        }))
    }
}
