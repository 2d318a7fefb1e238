//! The one place where descriptors are handed to the reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor. Must be called within a tokio runtime.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for the sake of other types; an OwnedFd stays open and the same"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
