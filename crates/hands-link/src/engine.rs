//! Engines of others: where one is, how we are sure of it and it of us.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use hands_proto::v1;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::peer::{Peer, Standing};
use crate::{Address, Connection, HostPort, LinkError, ParseAddressError, TlsPeer, pem, tls};

/// The port of `grpcs://` where none is given: that of HTTPS, as the hosted engines have it and Bazel assumes.
const TLS_PORT: u16 = 443;

/// An engine that speaks REAPI and is not known to be a hub of ours.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Engine {
    /// Host and port.
    pub at: HostPort,
    /// Whether it is spoken to in TLS.
    pub tls: bool,
    /// Names and values that go along with every request: bearer tokens and the like.
    pub headers: Vec<(String, String)>,
    /// A PEM file of the authorities that may vouch for it; without one, those that this machine trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, PEM files, for engines that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl FromStr for Engine {
    type Err = ParseAddressError;

    /// `grpc://HOST:PORT` or `grpcs://HOST:PORT`; `http` and `https` mean the same.
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let fail = |why| ParseAddressError::new(text, why);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            fail("has no scheme: write `grpc://host:port` or `grpcs://host:port`")
        })?;
        let tls = match scheme {
            "grpc" | "http" => false,
            "grpcs" | "https" => true,
            _ => return Err(fail("has an unknown scheme: use `grpc://` or `grpcs://`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut at: HostPort =
            rest.parse().map_err(|_| fail("names no host: expected `grpc://host:port`"))?;
        let has_port = rest.rsplit_once(':').is_some_and(|(host, port)| {
            !port.ends_with(']') && (!host.contains(':') || host.ends_with(']'))
        });
        if tls && !has_port {
            at.port = TLS_PORT;
        }
        Ok(Self { at, tls, headers: Vec::new(), ca: None, identity: None })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "grpcs" } else { "grpc" }, self.at)
    }
}

// Headers are secrets.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({self})")
    }
}

impl From<&Engine> for v1::EngineTarget {
    fn from(engine: &Engine) -> Self {
        let text = |path: Option<&PathBuf>| {
            path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let headers = engine.headers.iter().cloned();
        Self {
            url: engine.to_string(),
            headers: headers.map(|(name, value)| v1::EngineHeader { name, value }).collect(),
            ca: text(engine.ca.as_ref()),
            certificate: text(engine.identity.as_ref().map(|(certificate, _)| certificate)),
            key: text(engine.identity.as_ref().map(|(_, key)| key)),
        }
    }
}

impl TryFrom<&v1::EngineTarget> for Engine {
    type Error = ParseAddressError;

    fn try_from(target: &v1::EngineTarget) -> Result<Self, ParseAddressError> {
        let path = |text: &String| (!text.is_empty()).then(|| PathBuf::from(text));
        let headers = target.headers.iter();
        Ok(Self {
            headers: headers.map(|h| (h.name.clone(), h.value.clone())).collect(),
            ca: path(&target.ca),
            identity: path(&target.certificate).zip(path(&target.key)),
            ..target.url.parse()?
        })
    }
}

/// Connects to an engine.
pub(crate) async fn dial(engine: &Arc<Engine>) -> Result<Connection, LinkError> {
    let address = || Address::Engine(Arc::clone(engine));
    let unreachable = |source| LinkError::Unreachable { address: address(), source };
    let HostPort { host, port } = &engine.at;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    keep_alive(&stream).map_err(unreachable)?;
    let peer = Peer::of_tcp(&stream, Standing::Stranger).map_err(unreachable)?;
    if !engine.tls {
        return Ok(Connection::new(Box::new(stream), peer, None));
    }
    let wrong = |why: String| LinkError::WrongEngine { address: address(), why };
    let name = ServerName::try_from(host.clone()).map_err(|error| wrong(error.to_string()))?;
    let asked = Arc::clone(engine);
    let config = tokio::task::spawn_blocking(move || config(&asked))
        .await
        .map_err(|error| unreachable(io::Error::other(error)))??;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => {
            let tls = TlsPeer::of_server(stream.get_ref().1);
            Ok(Connection::new(Box::new(stream), peer, Some(tls)))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(wrong(error.to_string())),
        Err(error) => Err(unreachable(error)),
    }
}

/// Reads the files at each connection: what was renewed is used. Blocks.
fn config(engine: &Engine) -> Result<Arc<ClientConfig>, LinkError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| LinkError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })
    };
    let bad = |path: &Path, what: &str| LinkError::Io {
        what: "use",
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, what),
    };
    let mut roots = RootCertStore::empty();
    match &engine.ca {
        Some(path) => {
            let all = pem::certificates(&read(path)?).filter(|all| !all.is_empty());
            for root in all.ok_or_else(|| bad(path, "it holds no PEM certificates"))? {
                roots.add(root).map_err(|error| bad(path, &error.to_string()))?;
            }
        }
        None => {
            // What can't be read is left out, as everybody does it: without any, the handshake says so.
            let found = rustls_native_certs::load_native_certs();
            let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
        }
    }
    let identity = match &engine.identity {
        None => None,
        Some((certificate, key)) => {
            let chain = pem::certificates(&read(certificate)?).filter(|chain| !chain.is_empty());
            let chain = chain.ok_or_else(|| bad(certificate, "it holds no PEM certificates"))?;
            let own = pem::private_key(&read(key)?);
            Some((chain, own.ok_or_else(|| bad(key, "it holds no PEM private key"))?))
        }
    };
    tls::engine_config(roots, identity).map_err(|error| {
        let path = engine.identity.as_ref().map_or(Path::new(""), |(certificate, _)| certificate);
        bad(path, &error.to_string())
    })
}

/// The kernel asks an idle peer whether it is there. HTTP/2's own pings are not for others' servers: gRPC's libraries
/// hang up on a client that sends them more often than every five minutes.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        use std::time::Duration;

        sockopt::set_tcp_keepidle(stream, Duration::from_secs(20))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
        // What was sent and is not acknowledged must not wait for a quarter of an hour either.
        sockopt::set_tcp_user_timeout(stream, 50_000)?;
    }
    Ok(())
}
