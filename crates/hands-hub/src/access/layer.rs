//! The layer that every call to a hub passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hands_link::ConnectionInfo;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::count::Counted;
use super::meter::Metered;
use super::shorten::shorten;
use super::{MeterLayer, check, check_version, identify, method};
use crate::metrics::Metrics;
use crate::trust::Trust;

/// Lets those in who may come in, and counts.
#[derive(Clone, Debug)]
pub(crate) struct AccessLayer {
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) meter: MeterLayer,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<Metered<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        // Inside, so that nothing is read of those who may not call.
        Access { inner: self.meter.layer(inner), layer: self.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub(crate) struct Access<S> {
    inner: S,
    layer: AccessLayer,
}

impl AccessLayer {
    fn admit(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let method = method(request.uri().path());
        let connection = request.extensions().get::<ConnectionInfo>();
        check_version(request.uri().path(), connection)?;
        if method.is_some_and(|method| method.is_open) {
            return Ok(());
        }
        let principal = identify(self.trust.as_ref(), connection, method, request.headers())?;
        check(method, &principal)?;
        request.extensions_mut().insert(principal);
        Ok(())
    }
}

impl<S> Service<Request<Body>> for Access<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = method(request.uri().path()).map_or("other", |method| method.path);
        let metrics = Arc::clone(&self.layer.metrics);
        if let Err(status) = self.layer.admit(&mut request) {
            metrics.ended(path, status.code());
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let began = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            metrics.answered(path, began.elapsed());
            let (mut parts, body) = response.into_parts();
            shorten(&mut parts.headers);
            // An error that is known at once stands in the headers, any other in the trailers.
            let status = parts.headers.get(Status::GRPC_STATUS).cloned();
            let counted = Counted::new(body, path, metrics, status.as_ref());
            Ok(Response::from_parts(parts, Body::new(counted)))
        })
    }
}
