//! Dialing as a member: the certificate is renewed when it is due, all of the hub's addresses are tried, and whoever
//! answers must hold the cluster's key.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use crate::connection::{Io, Peer};
use crate::error::IdentityError;
use crate::tls::{ClientTls, WrongHub, client_config};
use crate::{Connection, HostPort, Identity, LinkError, enrol};

/// How long one address may take, TLS included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after one address the next one is tried beside it (RFC 8305 recommends it).
pub(crate) const STAGGER: Duration = Duration::from_millis(250);
/// How often a renewal that failed is tried again by who keeps certificates fresh.
const RETRY: Duration = Duration::from_secs(60);
/// How often the files are looked at even if nothing is due: another process may have joined anew.
const LOOK: Duration = Duration::from_secs(300);

/// Connects to the hub of a membership. Boxed, or else each crate that dials has a copy of all that this takes.
pub(crate) fn dial(dir: &Path) -> BoxFuture<'_, Result<Connection, LinkError>> {
    Box::pin(dial_member(dir))
}

async fn dial_member(dir: &Path) -> Result<Connection, LinkError> {
    let wrong = |error: IdentityError| match error {
        IdentityError::Link(error) => error,
        error => LinkError::Identity(Box::new(error)),
    };
    let mut own = load(dir).await.map_err(wrong)?;
    if own.is_due() {
        match enrol::renew(dir).await {
            Ok(fresh) => own = fresh,
            Err(error) if own.due_in().is_zero() && is_expired(&own) => return Err(wrong(error)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the certificate is not renewed yet");
            }
        }
    }
    let key = own.key.pkcs8().clone_key();
    let config = client_config(own.pin, Some((own.chain.clone(), key)))
        .map_err(|source| wrong(IdentityError::Tls { path: own.dir.clone(), source }))?;
    let tls = ClientTls::new(config, &own.pin);
    let (answered, connection) = dial_any(&own.addresses, STAGGER, &tls, &own.cluster).await?;
    if own.addresses.first() != Some(answered) {
        let answered = answered.clone();
        let kept = blocking(dir, move || own.prefer(&answered)).await;
        if let Err(error) = kept {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "which address answered is not remembered");
        }
    }
    Ok(connection)
}

/// Renews the certificate of a membership for as long as it is awaited, so that others who use its files find them
/// fresh. Says at most once a minute why it can't.
pub async fn keep_fresh(dir: PathBuf) {
    loop {
        let wait = match load(&dir).await {
            Ok(own) if own.is_due() => match enrol::renew(&dir).await {
                Ok(fresh) => {
                    tracing::info!(cluster = fresh.cluster, "the certificate was renewed");
                    fresh.due_in()
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        cluster = own.cluster,
                        error,
                        "the certificate can't be renewed"
                    );
                    RETRY
                }
            },
            Ok(own) => own.due_in(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the membership can't be read");
                RETRY
            }
        };
        tokio::time::sleep(wait.clamp(Duration::from_millis(100), LOOK)).await;
    }
}

/// Renews the certificate of a membership if it is due. Whether it was.
pub async fn renew_if_due(dir: &Path) -> Result<bool, IdentityError> {
    let is_due = load(dir).await?.is_due();
    if is_due {
        enrol::renew(dir).await?;
    }
    Ok(is_due)
}

fn is_expired(own: &Identity) -> bool {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    u64::try_from(own.expires).unwrap_or(0) <= now
}

pub(crate) async fn load(dir: &Path) -> Result<Identity, IdentityError> {
    let path = dir.to_owned();
    blocking(dir, move || Identity::load(&path)).await
}

/// Runs something that waits for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, IdentityError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let source = io::Error::other(error);
        Err(IdentityError::Io { what: "use", path: dir.to_owned(), source })
    })
}

/// Connects to the first address that answers as it should, and says which that was. The next one is begun when one
/// fails, or beside those that have not answered for the time of `stagger`.
pub(crate) async fn dial_any<'a>(
    addresses: &'a [HostPort],
    stagger: Duration,
    tls: &ClientTls,
    cluster: &str,
) -> Result<(&'a HostPort, Connection), LinkError> {
    let mut left = addresses.iter();
    let mut tries = FuturesUnordered::new();
    let mut last = None;
    loop {
        let is_last = left.next().map(|address| tries.push(dial_one(address, tls))).is_none();
        let tried = if is_last {
            tries.next().await
        } else {
            match tokio::time::timeout(stagger, tries.next()).await {
                Ok(tried) => tried,
                Err(_) => continue,
            }
        };
        match tried {
            Some((address, Ok(connection))) => return Ok((address, connection)),
            Some((address, Err(source))) => {
                // That a stranger answers says more than that somebody else does not.
                if !matches!(&last, Some(LinkError::WrongHub { .. })) {
                    last = Some(failure(address, cluster, source));
                }
            }
            None => break,
        }
    }
    Err(last.unwrap_or_else(|| {
        LinkError::Identity(Box::new(IdentityError::Strange { what: "no address of the hub" }))
    }))
}

async fn dial_one<'a>(
    address: &'a HostPort,
    tls: &ClientTls,
) -> (&'a HostPort, io::Result<Connection>) {
    let mut is_connected = false;
    let tried = tokio::time::timeout(PATIENCE, open(address, tls, &mut is_connected)).await;
    let silent = |_| match is_connected {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, Mute)),
        false => Err(io::ErrorKind::TimedOut.into()),
    };
    (address, tried.unwrap_or_else(silent))
}

async fn open(
    address: &HostPort,
    tls: &ClientTls,
    is_connected: &mut bool,
) -> io::Result<Connection> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    *is_connected = true;
    stream.set_nodelay(true)?;
    let to = stream.peer_addr()?;
    let stream = tls.connect(stream).await?;
    Ok(Connection::new(Io::Tls(Box::new(tokio_rustls::TlsStream::Client(stream))), Peer::Tcp(to)))
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

fn failure(address: &HostPort, cluster: &str, source: io::Error) -> LinkError {
    use rustls::{CertificateError, Error};
    let address = address.clone();
    match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            let why =
                other.0.downcast_ref::<WrongHub>().map_or_else(String::new, ToString::to_string);
            LinkError::WrongHub { address, why }
        }
        Some(error @ (Error::InvalidMessage(_) | Error::PeerIncompatible(_))) => {
            LinkError::WrongHub { address, why: format!("it does not speak as one ({error})") }
        }
        _ => LinkError::HubUnreachable { cluster: cluster.to_owned(), address, source },
    }
}
