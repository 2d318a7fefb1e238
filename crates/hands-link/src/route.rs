//! Where a hub is reached. Who it is, a route does not say: that is for the pin to tell.

use std::fmt;
use std::io;
use std::str::FromStr;

use tokio::net::{TcpStream, lookup_host};

use crate::peer::{Peer, Standing};
use crate::race::{STAGGER, first};
use crate::stream::BoxStream;
use crate::{HostPort, ParseHostError};

/// One way to a hub. Written `host:port` for TCP, `KIND://REST` for any other; a list of them has commas between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// A TCP port.
    Tcp(HostPort),
}

impl Route {
    /// Reads several and passes over those of kinds that a later version has.
    pub fn read_all<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, ParseRouteError> {
        let mut found = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(route) => found.push(route),
                Err(ParseRouteError::UnknownKind) => {}
                Err(error @ ParseRouteError::Host(_)) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Whether it leads to this machine, so that bytes cost next to nothing on their way.
    pub fn is_here(&self) -> bool {
        match self {
            Self::Tcp(at) => at.host == "localhost" || at.ip().is_some_and(|ip| ip.is_loopback()),
        }
    }

    /// Opens a stream along it. Who answers is still to be shown.
    pub(crate) async fn open(&self) -> io::Result<(BoxStream, Peer)> {
        match self {
            Self::Tcp(at) => {
                let stream = connect(at).await?;
                stream.set_nodelay(true)?;
                let peer = Peer::of_tcp(&stream, Standing::Stranger)?;
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// Connects to whichever address of a name answers first: one that leads nowhere must not use up the time of the others.
async fn connect(at: &HostPort) -> io::Result<TcpStream> {
    let addresses = lookup_host((at.host.as_str(), at.port)).await?;
    let tries = first(addresses.map(TcpStream::connect).collect(), STAGGER).await;
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    tries.map_err(|failed| failed.into_iter().next().unwrap_or_else(none))
}

impl From<HostPort> for Route {
    fn from(at: HostPort) -> Self {
        Self::Tcp(at)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
        }
    }
}

impl FromStr for Route {
    type Err = ParseRouteError;

    fn from_str(text: &str) -> Result<Self, ParseRouteError> {
        let at = match text.split_once("://") {
            None => text,
            // More behind the port is for a later version to read.
            Some(("tcp", at)) => {
                return match at.parse() {
                    Ok(at) => Ok(Self::Tcp(at)),
                    Err(_) if is_plain(at) => Err(ParseRouteError::UnknownKind),
                    Err(error) => Err(ParseRouteError::Host(error)),
                };
            }
            Some((kind, rest)) if is_kind(kind) && is_plain(rest) => {
                return Err(ParseRouteError::UnknownKind);
            }
            Some(_) => return Err(ParseHostError.into()),
        };
        Ok(Self::Tcp(at.parse()?))
    }
}

fn is_kind(kind: &str) -> bool {
    // As schemes of URIs (RFC 3986, 3.1).
    let is_fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    !kind.is_empty() && kind.bytes().all(is_fine)
}

/// Whether it can stand in a list and in a line of a file.
fn is_plain(rest: &str) -> bool {
    !rest.is_empty() && rest.chars().all(|c| c != ',' && !c.is_whitespace() && !c.is_control())
}

/// Text that is no route, or none that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRouteError {
    /// A kind that a later version may have.
    #[error("a kind of route that this version does not know")]
    UnknownKind,
    /// Not a host and port.
    #[error(transparent)]
    Host(#[from] ParseHostError),
}
