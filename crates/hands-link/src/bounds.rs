//! What peers may take of this process before anybody knows whether they mean well. `docs/limits.md` lists these for
//! people.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::peer::{Peer, Source, Standing};
use crate::tls::PeerCertificate;

/// Calls under way at once on one connection. Clients hold further ones back, as HTTP/2 tells them to.
pub const MAX_STREAMS: u32 = 1024;
/// Bytes of one call's headers, as HTTP/2 counts them.
pub const MAX_HEADERS: u32 = 16 << 10;
/// Connections of one listener, where the process may open as many descriptors; further ones are hung up on.
pub const MAX_CONNECTIONS: usize = 4096;
/// Of these, those of one address without a certificate, and those of one member.
pub const MAX_CONNECTIONS_OF_ONE: usize = 1024;
/// Handshakes under way; further peers wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 1024;
/// How long an accepted peer may take to begin to speak HTTP/2.
pub const OPENING: Duration = Duration::from_secs(10);
/// HTTP/2's preface and the header of the frame that must follow it (RFC 9113, 3.4).
const OPENING_BYTES: usize = 24 + 9;

/// What one listener lets in. Descriptors are what a process runs out of first: three quarters of them go to its listeners at
/// most, of which there may be two for strangers, and the rest stays for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections.
    pub(crate) all: usize,
    /// Of these, those of peers that are not known: what is left stays for members.
    pub(crate) strangers: usize,
    /// Those of one address without a certificate, and those of one certificate's name, or key where it has no name.
    pub(crate) of_one: usize,
    /// TLS handshakes at once.
    pub(crate) handshakes: usize,
    pub(crate) handshakes_of_one: usize,
}

impl Shares {
    /// The shares of this process.
    pub(crate) fn own() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self::of(limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    /// By the number of descriptors that a process may have open.
    pub(crate) fn of(descriptors: usize) -> Self {
        let all = MAX_CONNECTIONS.min(descriptors / 4).max(8);
        let strangers = all / 4 * 3;
        let handshakes = MAX_HANDSHAKES.min(descriptors / 8).max(8);
        Self {
            all,
            strangers,
            of_one: MAX_CONNECTIONS_OF_ONE.min(strangers / 2),
            handshakes,
            handshakes_of_one: handshakes / 8,
        }
    }
}

/// Counts the connections of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    shares: Shares,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_one: BTreeMap<Owner, usize>,
}

/// Whose connections are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// All strangers of an address. Members behind it, whom it tells nothing about, are not among them.
    Strangers(Source),
    /// Who shows a certificate of this name.
    Member(String),
    /// Who shows this key in a certificate without a name: one of a foreign authority.
    Foreign([u8; 32]),
}

/// One connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    of: Option<Owner>,
}

impl Places {
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, taken: Arc::default() }
    }

    /// A place for a peer, if there is one. `shown` is the certificate that it has shown, of those that this listener
    /// takes.
    pub(crate) fn take(&self, peer: &Peer, shown: Option<&PeerCertificate>) -> Option<Place> {
        let of = match (peer.standing, shown) {
            (Standing::Own, _) => None,
            (Standing::Machine | Standing::Stranger, Some(certificate)) => {
                Some(match certificate.uris.first() {
                    Some(name) => Owner::Member(name.clone()),
                    None => Owner::Foreign(certificate.key),
                })
            }
            (Standing::Machine | Standing::Stranger, None) => Some(Owner::Strangers(peer.source)),
        };
        let mut taken = self.lock();
        // The rest is kept for members, and for what this machine itself asks.
        let is_foreign = matches!(of, Some(Owner::Strangers(_) | Owner::Foreign(_)));
        let most = if is_foreign { self.shares.strangers } else { self.shares.all };
        if taken.all >= most {
            return None;
        }
        if let Some(owner) = &of {
            let n = taken.of_one.entry(owner.clone()).or_default();
            if *n >= self.shares.of_one {
                return None;
            }
            *n += 1;
        }
        taken.all += 1;
        Some(Place { places: self.clone(), of })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(Entry::Occupied(mut n)) = self.of.take().map(|owner| taken.of_one.entry(owner))
        {
            *n.get_mut() = n.get().saturating_sub(1);
            if *n.get() == 0 {
                n.remove();
            }
        }
    }
}

/// The time that a peer has left for its first words. From then on HTTP/2's own signs of life tell who is gone.
#[derive(Debug)]
pub(crate) struct Opening {
    late: Pin<Box<Sleep>>,
    left: usize,
}

impl Opening {
    pub(crate) fn new() -> Self {
        Self { late: Box::pin(tokio::time::sleep(OPENING)), left: OPENING_BYTES }
    }

    /// An error once the time is over.
    pub(crate) fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.late.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the peer did not begin to speak"))
            }
            Poll::Pending => Ok(()),
        }
    }

    /// Notes bytes that came; true when the peer has begun to speak.
    pub(crate) fn came(&mut self, bytes: usize) -> bool {
        self.left = self.left.saturating_sub(bytes);
        self.left == 0
    }
}
