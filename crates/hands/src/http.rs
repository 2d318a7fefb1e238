//! The read-only HTTP listener of a hub or a worker. What it shows are parts, of which one is here: `/metrics` and `/healthz`.
//!
//! Whoever reaches it is a stranger, so that little is given: few connections, few of one address, and little time.

mod figures;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hands_client::HttpPart;
use hands_types::ErrorClass;
use tokio::net::TcpListener;

use crate::machine;
use crate::problem::Problem;

pub(crate) use figures::Source;

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

    /// Serves these parts for as long as it is awaited. Requests that do not name one of `hosts` are refused: a page that somebody's
    /// browser shows could have had its name turned to this address (DNS rebinding).
    pub(crate) async fn serve(self, parts: Vec<Arc<dyn HttpPart>>, hosts: Vec<String>) {
        let mut routes = Router::new();
        for part in parts {
            for path in part.paths() {
                routes = routes.route(path, get(answer).with_state(Arc::clone(&part)));
            }
        }
        let routes = routes.layer(middleware::from_fn_with_state(hosts, check_host));
        serve::serve(self.listener, routes).await;
    }
}

async fn check_host(
    State(hosts): State<Vec<String>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    // A request line with a whole address names one besides, which counts before the header (RFC 9112, 3.2.2).
    let mut named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
    let is_known = |host: Option<&str>| {
        let host = host.map(host_name);
        host.is_some_and(|host| hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
    };
    let is_ours = is_known(named.next().flatten())
        && named.next().is_none()
        && request.uri().authority().is_none_or(|authority| is_known(Some(authority.as_str())));
    if is_ours {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "not known by that name\n").into_response()
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

async fn answer(State(part): State<Arc<dyn HttpPart>>, request: Request) -> Response {
    part.answer(request.into_parts().0).await.map(Body::from_stream)
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
