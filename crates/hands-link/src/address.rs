//! Where a hub is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Engine, Identity, Route};

/// The port where none is given.
pub const DEFAULT_PORT: u16 = 8980;

/// Where a hub is, or an engine. Written `unix:/path`, `host:port`, `http://host:port`, or `member:/directory`; an
/// engine has a form of its own, which [`Engine`] reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket. Serves its owner only.
    Unix(PathBuf),
    /// TCP without encryption.
    Tcp(SocketAddr),
    /// The hub of which we are a member, over TLS: the directory of our [`crate::Identity`].
    Member(PathBuf),
    /// Another engine, or a hub that is to be used as if it were one.
    Engine(Arc<Engine>),
}

impl Address {
    /// Whether what is sent there stays on this machine. Of a cluster's hub, the route that answered last time tells; its
    /// membership is read for that.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Member(dir) => {
                let own = Identity::load(dir);
                own.is_ok_and(|own| own.routes.first().is_some_and(Route::is_here))
            }
            Self::Engine(engine) => {
                engine.at.host == "localhost" || engine.at.ip().is_some_and(|ip| ip.is_loopback())
            }
        }
    }

    /// For messages: as people know it.
    pub fn describe(&self) -> String {
        match self {
            Self::Unix(_) | Self::Tcp(_) => format!("the hub at {self}"),
            Self::Member(dir) => {
                let name = dir.file_name().unwrap_or(dir.as_os_str());
                format!("the hub of cluster {}", name.to_string_lossy())
            }
            Self::Engine(engine) => format!("the engine at {engine}"),
        }
    }
}

impl Address {
    /// What goes along with every request there, besides what gRPC itself says.
    pub fn headers(&self) -> &[(String, String)] {
        match self {
            Self::Unix(_) | Self::Tcp(_) | Self::Member(_) => &[],
            Self::Engine(engine) => &engine.headers,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Member(dir) => write!(f, "member:{}", dir.display()),
            Self::Engine(engine) => write!(f, "{engine}"),
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let fail = |why| Err(ParseAddressError::new(text, why));
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///p` is how gRPC's own libraries write an absolute path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => fail("names no path after `unix:`"),
                _ if !path.starts_with('/') => fail("has a relative path: write `unix:/…`"),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Some(dir) = text.strip_prefix("member:") {
            return if dir.starts_with('/') {
                Ok(Self::Member(PathBuf::from(dir)))
            } else {
                fail("has a relative path: write `member:/…`")
            };
        }
        let rest = match text.split_once("://") {
            Some(("http" | "grpc" | "tcp", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(("https" | "grpcs", _)) => {
                return fail(
                    "asks for TLS: `hands login` to a hub first, or name another engine by --engine",
                );
            }
            Some(_) => {
                return fail(
                    "has an unknown scheme: use `unix:/path`, `host:port` or `http://host:port`",
                );
            }
            None => text,
        };
        if let Ok(address) = rest.parse() {
            return Ok(Self::Tcp(address));
        }
        if let Ok(ip) = rest.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Tcp(SocketAddr::new(ip, DEFAULT_PORT)));
        }
        // The one host name that needs no resolver.
        let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
        if host != "localhost" {
            return fail(
                "is not an IP address: expected `unix:/path`, `127.0.0.1:8980` or `localhost:8980`",
            );
        }
        let port = if port.is_empty() { Ok(DEFAULT_PORT) } else { port.parse() };
        match port {
            Ok(port) => Ok(Self::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))),
            Err(_) => fail("has a port that is not a number up to 65535"),
        }
    }
}

/// Text that is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseAddressError {
    text: String,
    why: &'static str,
}

impl ParseAddressError {
    pub(crate) fn new(text: &str, why: &'static str) -> Self {
        Self { text: text.to_owned(), why }
    }
}

impl fmt::Display for ParseAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address {:?} {}", self.text, self.why)
    }
}

impl std::error::Error for ParseAddressError {}
