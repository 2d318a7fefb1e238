//! A gRPC channel that adds the same headers to every request.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::Service;

/// A channel to a hub or an engine. Engines of others know us by headers that we were told, a bearer token as a rule;
/// gRPC carries them as metadata. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    inner: tonic::transport::Channel,
    headers: Option<Arc<HeaderMap>>,
}

/// A header that HTTP can't carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{name}` can't be sent: {why}")]
pub struct BadHeader {
    name: String,
    why: String,
}

impl Channel {
    /// A channel whose requests carry these headers.
    pub fn with_headers(
        inner: tonic::transport::Channel,
        headers: &[(String, String)],
    ) -> Result<Self, BadHeader> {
        if headers.is_empty() {
            return Ok(inner.into());
        }
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let bad = |why: String| BadHeader { name: name.escape_debug().to_string(), why };
            let key = HeaderName::try_from(name).map_err(|error| bad(error.to_string()))?;
            let mut value = HeaderValue::try_from(value).map_err(|error| bad(error.to_string()))?;
            value.set_sensitive(true);
            map.append(key, value);
        }
        Ok(Self { inner, headers: Some(Arc::new(map)) })
    }

    /// The same channel, whose requests carry this metadata as well.
    #[must_use]
    pub fn adding(self, metadata: MetadataMap) -> Self {
        let mut headers = self.headers.map_or_else(HeaderMap::new, |all| HeaderMap::clone(&all));
        headers.extend(metadata.into_headers());
        Self { headers: Some(Arc::new(headers)), ..self }
    }
}

impl From<tonic::transport::Channel> for Channel {
    fn from(inner: tonic::transport::Channel) -> Self {
        Self { inner, headers: None }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <tonic::transport::Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(headers) = &self.headers {
            for (name, value) in headers.iter() {
                request.headers_mut().append(name, value.clone());
            }
        }
        self.inner.call(request)
    }
}

// Headers are secrets.
impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("inner", &self.inner).finish_non_exhaustive()
    }
}
