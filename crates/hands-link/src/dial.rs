//! Dialing: channels that connect when first used.

use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::connection::{Io, Peer};
use crate::socket_file::connect_unix;
use crate::{Address, Connection, Engine, LinkError, engine, member, peer};

// One blob in flight must be able to fill a fast link with a long round trip.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;
// The default of 16 KiB costs a system call and a wake-up sixteen times for each chunk of a blob.
pub(crate) const FRAME: u32 = 256 << 10;
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections of a pipe that may wait to be accepted.
pub(crate) const PIPE_BACKLOG: usize = 16;
/// Bytes that may be under way in each direction of a pipe.
const PIPE_BUFFER: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to an address. Returns at once: it dials when it is first used and again after its connection was lost;
/// requests made while it can't fail as UNAVAILABLE with the reason. Must be called within a tokio runtime.
pub fn connect(address: &Address) -> Channel {
    let address = address.clone();
    let endpoint = match &address {
        Address::Unix(_) => endpoint(false),
        Address::Tcp(_) | Address::Member(_) => endpoint(true),
        // What stands before others' engines goes by the name that it was called.
        Address::Engine(engine) => match http_url(engine).try_into() {
            Ok(origin) => endpoint(false).origin(origin),
            Err(_) => endpoint(false),
        },
    };
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let address = address.clone();
        async move { Ok::<_, LinkError>(TokioIo::new(dial(&address).await?)) }
    }))
}

/// Opens one connection now: a check whether somebody listens, or a byte stream for something other than gRPC.
pub async fn dial(address: &Address) -> Result<Connection, LinkError> {
    let unreachable = |source| LinkError::Unreachable { address: address.clone(), source };
    if let Address::Member(dir) = address {
        return member::dial(dir).await;
    }
    match tokio::time::timeout(CONNECT_TIMEOUT, dial_once(address)).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
    }
}

async fn dial_once(address: &Address) -> Result<Connection, LinkError> {
    let unreachable = |source| LinkError::Unreachable { address: address.clone(), source };
    match address {
        Address::Unix(path) => {
            let stream = connect_unix(path).await.map_err(unreachable)?;
            let (uid, pid) = peer::of(&stream).map_err(unreachable)?;
            // Root may serve anybody: it could read what is sent in any case.
            if uid != peer::own_uid() && uid != 0 {
                return Err(LinkError::ForeignServer { address: address.clone(), uid });
            }
            Ok(Connection::new(Io::Unix(stream), Peer::Unix { pid }))
        }
        Address::Tcp(to) => {
            let stream = TcpStream::connect(to).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            Ok(Connection::new(Io::Tcp(stream), Peer::Tcp(*to)))
        }
        Address::Member(dir) => member::dial(dir).await,
        Address::Engine(at) => engine::dial(at).await,
    }
}

fn http_url(engine: &Engine) -> String {
    format!("{}://{}", if engine.tls { "https" } else { "http" }, engine.at)
}

/// The dialing end of a listener inside this process.
#[derive(Clone, Debug)]
pub struct Pipe {
    connections: mpsc::Sender<DuplexStream>,
}

impl Pipe {
    pub(crate) fn new(connections: mpsc::Sender<DuplexStream>) -> Self {
        Self { connections }
    }

    /// A channel through the pipe; connects when it is first used. Must be called within a tokio runtime.
    pub fn connect(&self) -> Channel {
        let connections = self.connections.clone();
        endpoint(false).connect_with_connector_lazy(service_fn(move |_: Uri| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE_BUFFER);
                connections.send(theirs).await.map_err(|_| {
                    io::Error::new(io::ErrorKind::ConnectionRefused, "the hub has ended")
                })?;
                Ok::<_, io::Error>(TokioIo::new(ours))
            }
        }))
    }
}

pub(crate) fn endpoint(keepalive: bool) -> Endpoint {
    // The address is the connector's business; the name only fills the `:authority` header.
    let endpoint = Endpoint::from_static("http://hands")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    if keepalive {
        // A local socket needs none: the kernel tells when the other end is gone.
        endpoint.http2_keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE_TIMEOUT)
    } else {
        endpoint
    }
}
