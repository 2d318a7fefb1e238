//! Dialing: channels that connect when first used.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::peer::{self, Peer, Standing};
use crate::socket_file::connect_unix;
use crate::stream::ByteStream;
use crate::{Address, Connection, Engine, LinkError, engine, member};

// One blob in flight must be able to fill a fast link with a long round trip.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;
// The default of 16 KiB costs a system call and a wake-up sixteen times for each chunk of a blob.
pub(crate) const FRAME: u32 = 256 << 10;
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
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

/// A channel over a stream that is there already, and over no other: when it has ended, requests fail with
/// [`LinkError::Ended`]. Whoever is at the other end must be the hub of the membership in `identity`; where there is none, the
/// stream is trusted as it is.
pub async fn connect_over(
    stream: impl ByteStream + 'static,
    identity: Option<&Path>,
) -> Result<Channel, LinkError> {
    let peer = Peer::by_way("stream", "the hub at the other end", Standing::Stranger);
    let connection = match identity {
        Some(dir) => member::greet(Box::new(stream), peer, dir).await?,
        None => Connection::new(Box::new(stream), peer, None),
    };
    Ok(over(connection))
}

/// A channel over one connection.
pub(crate) fn over(connection: Connection) -> Channel {
    let once = Arc::new(Mutex::new(Some(connection)));
    endpoint(true).connect_with_connector_lazy(service_fn(move |_: Uri| {
        let connection = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { connection.map(TokioIo::new).ok_or(LinkError::Ended) }
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
            Ok(Connection::new(Box::new(stream), Peer::process(pid), None))
        }
        Address::Tcp(to) => {
            let stream = TcpStream::connect(to).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let peer = Peer::of_tcp(&stream, Standing::Machine).map_err(unreachable)?;
            Ok(Connection::new(Box::new(stream), peer, None))
        }
        Address::Member(dir) => member::dial(dir).await,
        Address::Engine(at) => engine::dial(at).await,
    }
}

fn http_url(engine: &Engine) -> String {
    format!("{}://{}", if engine.tls { "https" } else { "http" }, engine.at)
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
