//! The hub's read-only HTTP listener: `/metrics` and `/healthz`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hands_hub::Hub;
use hands_types::ErrorClass;
use tokio::net::TcpListener;

use crate::problem::Problem;

/// What Prometheus calls its text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    pub(crate) async fn serve(self, hub: Hub, hosts: Vec<String>) {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .with_state(hub)
            .layer(middleware::from_fn_with_state(hosts, check_host));
        if let Err(error) = axum::serve(self.listener, routes).await {
            tracing::error!(%error, address = %self.address, "the HTTP listener has ended");
        }
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
        _ => (StatusCode::MISDIRECTED_REQUEST, "this hub is not known by that name\n")
            .into_response(),
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

async fn metrics(State(hub): State<Hub>) -> Response {
    match hub.metrics().await {
        Some(text) => ([(header::CONTENT_TYPE, METRICS)], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the hub has ended\n").into_response(),
    }
}

async fn health(State(hub): State<Hub>) -> Response {
    match hub.metrics().await {
        Some(_) => "ok\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the hub has ended\n").into_response(),
    }
}
