//! A response's body that tells how its call ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use super::shorten::shorten;
use crate::metrics::Metrics;

pub(super) struct Counted {
    inner: Body,
    path: &'static str,
    metrics: Arc<Metrics>,
    /// None once it has been told.
    pending: Option<()>,
}

impl Counted {
    pub(super) fn new(
        inner: Body,
        path: &'static str,
        metrics: Arc<Metrics>,
        status: Option<&HeaderValue>,
    ) -> Self {
        let mut counted = Self { inner, path, metrics, pending: Some(()) };
        if let Some(status) = status {
            counted.tell(Code::from_bytes(status.as_bytes()));
        }
        counted
    }

    fn tell(&mut self, code: Code) {
        if self.pending.take().is_some() {
            self.metrics.ended(self.path, code);
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            shorten(trailers);
        }
        match &frame {
            Some(Ok(frame)) => {
                let status = frame.trailers_ref().and_then(|t| t.get(Status::GRPC_STATUS));
                if let Some(status) = status {
                    let code = Code::from_bytes(status.as_bytes());
                    self.tell(code);
                }
            }
            Some(Err(status)) => {
                let code = status.code();
                self.tell(code);
            }
            None => self.tell(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The peer went before the end.
        self.tell(Code::Cancelled);
    }
}
