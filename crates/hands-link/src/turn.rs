//! How long one connection keeps a thread before others have their turn.

use std::task::{Context, Poll};

/// Bytes that a connection may move before it goes to the end of the line: some 0.2 ms with TLS.
///
/// Nothing else of it has a bound. While a member sends messages of 16 MiB, there is always more to read, and a runtime by itself
/// lets it go on for 128 reads, some milliseconds, for which a short call of somebody else waits on each of its many steps.
const SHARE: usize = 128 << 10;

/// What a connection or a call has moved since others had their turn.
#[derive(Debug, Default)]
pub struct Turn(usize);

impl Turn {
    /// Pending once the connection has had its share; it is woken at once, behind those who wait.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 < SHARE {
            return Poll::Ready(());
        }
        self.0 = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// So much was moved; nothing where it had to wait, which is a turn for others, too.
    pub fn moved(&mut self, bytes: usize) {
        self.0 = if bytes == 0 { 0 } else { self.0 + bytes };
    }
}
