//! How a front-end adds a part of its own to the agent and to a hub's HTTP listener; a worker's stands in `hands-types`. The
//! program registers the parts of its front-ends when it starts an agent, a hub or a worker.

use std::pin::Pin;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use futures_util::Stream;
pub use futures_util::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::sync::watch;

pub use hands_types::part::WorkerPart;

/// A part of the agent: it has a socket of its own beside the agent's, and speaks there what it likes.
pub trait AgentPart: Send + Sync {
    /// The socket's name without its `.sock`: a few letters, unlike any other part's.
    fn name(&self) -> &'static str;

    /// Serves one connection. Whoever is at its other end has been seen to be the agent's own user, or root. The future is
    /// dropped when the agent leaves; an error ends this connection and is logged.
    fn serve(self: Arc<Self>, stream: UnixStream) -> BoxFuture<'static, io::Result<()>>;

    /// What it has under way, counted so that a panic leaves nothing behind: while this is not 0, the agent is busy, and each change is a sign of life.
    fn under_way(&self) -> watch::Receiver<usize>;
}

/// A part of the HTTP listener of a hub or a worker (`--http`): it answers GET and HEAD of its paths. Whoever asks is a
/// stranger.
pub trait HttpPart: Send + Sync {
    /// The paths that are its own, whole, such as `/metrics`.
    fn paths(&self) -> &'static [&'static str];

    /// Answers a request for one of them. The future is dropped when the one who asked has gone.
    fn answer(&self, request: http::request::Parts) -> BoxFuture<'_, http::Response<HttpBody>>;
}

impl fmt::Debug for dyn AgentPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentPart").field(&self.name()).finish()
    }
}

/// The bytes of an answer, as they become known.
pub type HttpBody = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A body that is known whole.
pub fn whole_body(bytes: impl Into<Bytes>) -> HttpBody {
    let bytes = bytes.into();
    Box::pin(futures_util::stream::once(async move { Ok(bytes) }))
}
