//! Connections of the HTTP listener, within bounds.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once. A few programs look at figures now and then.
const CONNECTIONS: usize = 64;
/// Of these, those of one address.
const OF_ONE: usize = 16;
/// How long the head of a request may take, and how long a connection may be idle before it.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection lives, its last answer included. Whoever wants more connects again.
const LIFE: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Pause after nothing could be accepted, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves for as long as it is awaited; connections end with it.
pub(super) async fn serve(listener: TcpListener, routes: Router) {
    let mut connections: JoinSet<IpAddr> = JoinSet::new();
    let mut of_one: BTreeMap<IpAddr, usize> = BTreeMap::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => match ended {
                Ok(from) => leave(&mut of_one, from),
                // A panic; whose it was is not known any more.
                Err(error) => {
                    tracing::error!(%error, "a connection of the HTTP listener failed");
                    of_one.clear();
                }
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let n = of_one.entry(from.ip()).or_default();
                    if connections.len() >= CONNECTIONS || *n >= OF_ONE {
                        if *n == 0 {
                            of_one.remove(&from.ip());
                        }
                        tracing::debug!(%from, "too many connections: hung up on one");
                        continue;
                    }
                    *n += 1;
                    connections.spawn(connection(stream, from.ip(), routes.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept HTTP connections for now");
                    sleep(PAUSE).await;
                }
            },
        }
    }
}

fn leave(of_one: &mut BTreeMap<IpAddr, usize>, from: IpAddr) {
    if let Some(n) = of_one.get_mut(&from) {
        *n = n.saturating_sub(1);
        if *n == 0 {
            of_one.remove(&from);
        }
    }
}

/// Answers on one connection until it ends or its time is over.
async fn connection(stream: TcpStream, from: IpAddr, routes: Router) -> IpAddr {
    let service = TowerToHyperService::new(routes);
    let answering = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(LIFE, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = io::Error::other(error);
            tracing::debug!(%from, %error, "an HTTP connection ended badly");
        }
        Err(_) => tracing::debug!(%from, "an HTTP connection has lived for long enough"),
    }
    from
}
