//! Dialing a hub by all its routes at once: the first that ends in TLS with the pinned key wins.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::error::IdentityError;
use crate::stream::BoxStream;
use crate::tls::{ClientTls, WrongHub};
use crate::{Connection, LinkError, Peer, Route, TlsPeer};

/// How long one route may take, TLS included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long after one route the next one is tried beside it (RFC 8305 recommends it for addresses).
pub(crate) const STAGGER: Duration = Duration::from_millis(250);

/// Connects by the first route that answers as it should, and says which that was.
pub(crate) async fn race<'a>(
    routes: &'a [Route],
    stagger: Duration,
    tls: &ClientTls,
    cluster: &str,
) -> Result<(&'a Route, Connection), LinkError> {
    let mut tries = Vec::new();
    for route in routes {
        tries.push(async move {
            match dial_one(route, tls).await {
                (route, Ok(connection)) => Ok((route, connection)),
                (route, Err(source)) => Err((route, source)),
            }
        });
    }
    let mut failed = match first(tries, stagger).await {
        Ok(won) => return Ok(won),
        Err(failed) => failed,
    };
    // As they were tried: the first is the one that answered last time.
    failed.sort_by_key(|(route, _)| routes.iter().position(|other| other == *route));
    let mut failures: Vec<LinkError> =
        failed.into_iter().map(|(at, source)| failure(&at.to_string(), cluster, source)).collect();
    Err(match failures.len() {
        0 => LinkError::Identity(Box::new(IdentityError::Strange { what: "no way to the hub" })),
        1 => failures.remove(0),
        _ => LinkError::NoRoute { cluster: cluster.to_owned(), failures },
    })
}

/// What the first that succeeds gives; the others are dropped. The next one is begun when one fails, or beside those that have
/// not ended within the time of `stagger`. Where none does, each one's error.
pub(crate) async fn first<T, E>(
    tries: Vec<impl Future<Output = Result<T, E>>>,
    stagger: Duration,
) -> Result<T, Vec<E>> {
    let mut left = tries.into_iter();
    let mut begun = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        let is_last = left.next().map(|one| begun.push(one)).is_none();
        let ended = if is_last {
            begun.next().await
        } else {
            match tokio::time::timeout(stagger, begun.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(won)) => return Ok(won),
            Some(Err(error)) => failed.push(error),
            None => return Err(failed),
        }
    }
}

pub(crate) async fn dial_one<'a>(
    route: &'a Route,
    tls: &ClientTls,
) -> (&'a Route, io::Result<Connection>) {
    let mut is_open = false;
    let tried = tokio::time::timeout(PATIENCE, open(route, tls, &mut is_open)).await;
    let silent = |_| match is_open {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, Mute)),
        false => Err(io::ErrorKind::TimedOut.into()),
    };
    (route, tried.unwrap_or_else(silent))
}

async fn open(route: &Route, tls: &ClientTls, is_open: &mut bool) -> io::Result<Connection> {
    let (stream, peer) = route.open().await?;
    *is_open = true;
    greet(stream, peer, tls).await
}

/// Agrees on keys with the hub.
pub(crate) async fn greet(
    stream: BoxStream,
    peer: Peer,
    tls: &ClientTls,
) -> io::Result<Connection> {
    let began = Instant::now();
    let stream = tls.connect(stream).await?;
    let hub = TlsPeer::of_server(stream.get_ref().1);
    let connection = Connection::new(Box::new(stream), peer, Some(hub));
    // TLS 1.3 takes one round trip, and both ends some time for their keys.
    connection.info().answered_after(began.elapsed());
    Ok(connection)
}

/// Its machine takes a connection to the hub, and the hub says nothing: its process stands still.
#[derive(Debug)]
pub struct Mute;

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it takes the connection and says nothing")
    }
}

impl std::error::Error for Mute {}

pub(crate) fn failure(at: &str, cluster: &str, source: io::Error) -> LinkError {
    use rustls::{CertificateError, Error};
    let at = at.to_owned();
    match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            let why =
                other.0.downcast_ref::<WrongHub>().map_or_else(String::new, ToString::to_string);
            LinkError::WrongHub { at, why }
        }
        Some(error @ (Error::InvalidMessage(_) | Error::PeerIncompatible(_))) => {
            LinkError::WrongHub { at, why: format!("it does not speak as one ({error})") }
        }
        _ => LinkError::HubUnreachable { cluster: cluster.to_owned(), at, source },
    }
}
