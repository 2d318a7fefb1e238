//! `/metrics` and `/healthz` of a hub or a worker.

#[cfg(target_os = "linux")]
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use hands_client::{BoxFuture, HttpBody, HttpPart, whole_body};
use hands_hub::Hub;

/// What Prometheus calls its text format.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

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

    async fn show(&self, path: &str) -> Response<HttpBody> {
        let (kind, text) = match path {
            "/metrics" => (METRICS, self.metrics().await),
            _ => (TEXT, self.check().await.map(|()| "ok\n".to_owned())),
        };
        let (status, kind, text) = match text {
            Ok(text) => (StatusCode::OK, kind, text),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, why.to_owned()),
        };
        let length = text.len().into();
        let mut response = Response::new(whole_body(text));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
        response
    }
}

impl HttpPart for Source {
    fn paths(&self) -> &'static [&'static str] {
        &["/metrics", "/healthz"]
    }

    fn answer(&self, request: Parts) -> BoxFuture<'_, Response<HttpBody>> {
        Box::pin(async move { self.show(request.uri.path()).await })
    }
}
