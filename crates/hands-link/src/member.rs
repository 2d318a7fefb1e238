//! Dialing as a member: the certificate is renewed when it is due, all of the hub's routes are raced, and whoever answers
//! must hold the cluster's key.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use crate::error::IdentityError;
use crate::quality::is_better;
use crate::race::{self, STAGGER, dial_one, race};
use crate::stream::BoxStream;
use crate::tls::{ClientTls, client_config};
use crate::{Connection, Identity, LinkError, Peer, Route, enrol, identity};

/// How often a renewal that failed is tried again by who keeps certificates fresh.
const RETRY: Duration = Duration::from_secs(60);
/// How often the files are looked at even if nothing is due: another process may have joined anew.
const LOOK: Duration = Duration::from_secs(300);

/// Connects to the hub of a membership, and says by which route. Boxed, or else each crate that dials has a copy of all that
/// this takes.
pub(crate) fn dial(dir: &Path) -> BoxFuture<'_, Result<(Route, Connection), LinkError>> {
    Box::pin(dial_member(dir))
}

async fn dial_member(dir: &Path) -> Result<(Route, Connection), LinkError> {
    let own = fresh(dir).await?;
    let tls = client(&own)?;
    let (answered, connection) = race(&own.routes, STAGGER, &tls, &own.cluster).await?;
    if own.routes.first() != Some(answered) {
        remember(dir, answered).await;
    }
    Ok((answered.clone(), connection))
}

/// Has a route tried first from now on.
pub(crate) async fn remember(dir: &Path, route: &Route) {
    let (path, route) = (dir.to_owned(), route.clone());
    if let Err(error) = blocking(dir, move || identity::prefer(&path, &route)).await {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "which route answered is not remembered");
    }
}

/// Dials all routes side by side, the present one too, so that they are compared under the same load. Gives the fastest of the
/// others where it is much better.
pub(crate) async fn look(
    dir: &Path,
    present: &Route,
) -> Result<Option<(Route, Connection)>, LinkError> {
    let own = load(dir).await?;
    if own.routes.len() < 2 {
        return Ok(None);
    }
    let tls = client(&own)?;
    let dialed = join_all(own.routes.iter().map(|route| dial_one(route, &tls))).await;
    let mut now = None;
    let mut best: Option<(Duration, Route, Connection)> = None;
    for (route, connection) in dialed {
        let Ok(connection) = connection else { continue };
        let Some(round_trip) = connection.info().quality().round_trip else { continue };
        if route == present {
            now = Some(round_trip);
        } else if best.as_ref().is_none_or(|(least, ..)| round_trip < *least) {
            best = Some((round_trip, route.clone(), connection));
        }
    }
    // Where the present route takes no new connection nothing can be compared; the one that there is tells by itself when it
    // is lost.
    Ok(now.zip(best).and_then(|(now, (round_trip, route, connection))| {
        is_better(round_trip, now).then_some((route, connection))
    }))
}

/// Agrees on keys with the hub of a membership at the other end of a stream.
pub(crate) async fn greet(
    stream: BoxStream,
    peer: Peer,
    dir: &Path,
) -> Result<Connection, LinkError> {
    // Not renewed: that would take another connection.
    let own = load(dir).await?;
    let tls = client(&own)?;
    let name = Arc::clone(&peer.name);
    let greeting = tokio::time::timeout(race::PATIENCE, race::greet(stream, peer, &tls));
    let mute = |_| Err(io::Error::new(io::ErrorKind::TimedOut, race::Mute));
    greeting.await.unwrap_or_else(mute).map_err(|source| race::failure(&name, &own.cluster, source))
}

/// The membership, renewed if it is due.
async fn fresh(dir: &Path) -> Result<Identity, LinkError> {
    let own = load(dir).await?;
    if !own.is_due() {
        return Ok(own);
    }
    match enrol::renew(dir).await {
        Ok(fresh) => Ok(fresh),
        Err(error) if own.due_in().is_zero() && is_expired(&own) => Err(error.into()),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "the certificate is not renewed yet");
            Ok(own)
        }
    }
}

/// How the hub of a membership is recognized, and we by it.
fn client(own: &Identity) -> Result<ClientTls, LinkError> {
    let key = own.key.pkcs8().clone_key();
    let config = client_config(own.pin, Some((own.chain.clone(), key)))
        .map_err(|source| IdentityError::Tls { path: own.dir.clone(), source })?;
    Ok(ClientTls::new(config, &own.pin))
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
