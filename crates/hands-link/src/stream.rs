//! What every connection is made of.

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes in both directions, whatever carries it: a socket, a pipe, the two standard streams of a process.
/// Everything above this crate runs over any of them.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// One virtual call for each poll is what it costs that the kinds are not known here.
pub(crate) type BoxStream = Box<dyn ByteStream>;
