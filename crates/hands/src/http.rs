//! The read-only HTTP listener of a hub or a worker: `/metrics` and `/healthz`.
//!
//! Whoever reaches it is a stranger, so that little is given: few connections, few of one address, and little time.

mod serve;

use std::net::SocketAddr;
#[cfg(target_os = "linux")]
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hands_hub::Hub;
use hands_types::ErrorClass;
use tokio::net::TcpListener;

use crate::machine;
use crate::problem::Problem;

/// What Prometheus calls its text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whose figures are shown.
#[derive(Clone)]
pub(crate) enum Source {
    Hub(Hub),
    #[cfg(target_os = "linux")]
    Worker(Arc<hands_worker::Worker>),
}

impl Source {
    /// The figures, or why there are none.
    async fn metrics(&self) -> Result<String, &'static str> {
        match self {
            Self::Hub(hub) => hub.metrics().await.ok_or("the hub has ended\n"),
            #[cfg(target_os = "linux")]
            Self::Worker(worker) => Ok(worker.metrics()),
        }
    }

    async fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Hub(_) => self.metrics().await.map(drop),
            #[cfg(target_os = "linux")]
            Self::Worker(worker) if worker.is_connected() => Ok(()),
            #[cfg(target_os = "linux")]
            Self::Worker(_) => Err("this worker has no connection to its hub\n"),
        }
    }
}

/// A bound HTTP listener.
pub(crate) struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

impl Http {
    /// Binds before anything else is opened, so that a port in use ends the start.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, Problem> {
        let fail = |error: std::io::Error| {
            Problem::new(ErrorClass::Environment, format!("--http {address}: {error}"))
        };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for as long as it is awaited. Requests that do not name one of `hosts` are refused: a page that somebody's
    /// browser shows could have had its name turned to this address (DNS rebinding).
    pub(crate) async fn serve(self, source: Source, hosts: Vec<String>) {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .with_state(source)
            .layer(middleware::from_fn_with_state(hosts, check_host));
        serve::serve(self.listener, routes).await;
    }
}

async fn check_host(
    State(hosts): State<Vec<String>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(host_name);
    match host {
        Some(host) if hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) => {
            next.run(request).await
        }
        _ => (StatusCode::MISDIRECTED_REQUEST, "not known by that name\n").into_response(),
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

async fn metrics(State(source): State<Source>) -> Response {
    match source.metrics().await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS)], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn health(State(source): State<Source>) -> Response {
    match source.check().await {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

/// What a request may call us.
pub(crate) fn hosts<'a>(
    address: SocketAddr,
    names: impl IntoIterator<Item = &'a String>,
) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), machine::name()];
    if address.ip().is_unspecified() {
        hosts.extend(["127.0.0.1", "::1"].map(str::to_owned));
    } else {
        hosts.push(address.ip().to_string());
    }
    hosts.extend(names.into_iter().cloned());
    hosts
}
