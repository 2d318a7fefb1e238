//! Dialing: channels that connect when first used.

use std::io;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::peer::{self, Peer, Standing};
use crate::socket_file::connect_unix;
use crate::{Address, Connection, Engine, LinkError, Parameters, Quality, Route, engine, member};

// The default of 16 KiB costs a system call and a wake-up sixteen times for each chunk of a blob.
pub(crate) const FRAME: u32 = 256 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to an address. Returns at once: it dials when it is first used and again after its connection was lost;
/// requests made while it can't fail as UNAVAILABLE with the reason. Must be called within a tokio runtime.
pub fn connect(address: &Address) -> Channel {
    let address = address.clone();
    let endpoint = endpoint_to(&address, Parameters::of(Quality::default()));
    endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let address = address.clone();
        async move { Ok::<_, LinkError>(TokioIo::new(dial(&address).await?)) }
    }))
}

/// Opens one connection now: a check whether somebody listens, or a byte stream for something other than gRPC.
pub async fn dial(address: &Address) -> Result<Connection, LinkError> {
    let unreachable = |source| LinkError::Unreachable { address: address.clone(), source };
    if let Address::Member(dir) = address {
        return member::dial(dir).await.map(|(_, connection)| connection);
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
        Address::Member(dir) => member::dial(dir).await.map(|(_, connection)| connection),
        Address::Engine(at) => engine::dial(at).await,
    }
}

fn http_url(engine: &Engine) -> String {
    format!("{}://{}", if engine.tls { "https" } else { "http" }, engine.at)
}

/// Dials an address, and says by which route where it has several.
pub(crate) async fn dial_route(
    address: &Address,
) -> Result<(Option<Route>, Connection), LinkError> {
    match address {
        Address::Member(dir) => {
            let (route, connection) = member::dial(dir).await?;
            Ok((Some(route), connection))
        }
        _ => Ok((None, dial(address).await?)),
    }
}

/// How an address is spoken to over a connection that these parameters fit.
pub(crate) fn endpoint_to(address: &Address, parameters: Parameters) -> Endpoint {
    match address {
        Address::Unix(_) => endpoint(parameters, false),
        Address::Tcp(_) | Address::Member(_) => endpoint(parameters, true),
        // What stands before others' engines goes by the name that it was called.
        Address::Engine(engine) => match http_url(engine).try_into() {
            Ok(origin) => endpoint(parameters, false).origin(origin),
            Err(_) => endpoint(parameters, false),
        },
    }
}

pub(crate) fn endpoint(parameters: Parameters, keepalive: bool) -> Endpoint {
    // The address is the connector's business; the name only fills the `:authority` header.
    let endpoint = Endpoint::from_static("http://hands")
        .initial_stream_window_size(parameters.stream_window)
        .initial_connection_window_size(parameters.connection_window)
        .max_frame_size(FRAME);
    if keepalive {
        // A local socket needs none: the kernel tells when the other end is gone.
        endpoint
            .http2_keep_alive_interval(parameters.keepalive)
            .keep_alive_timeout(parameters.keepalive_timeout)
    } else {
        endpoint
    }
}
