//! What may not be evicted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hands_types::Digest;

use crate::db::lock;
use crate::index::DigestSet;

/// Digests that may be pinned by name, all names together: about half a gibibyte of memory.
const MOST_NAMED: usize = 1 << 22;

/// Keeps blobs from being evicted until it is dropped. A blob may be pinned before it is there.
#[derive(Debug)]
#[must_use = "a pin that is dropped holds nothing"]
pub struct Pin {
    pins: Arc<Pins>,
    digests: Vec<Digest>,
}

impl Pin {
    /// Pins more.
    pub fn add(&mut self, digests: impl IntoIterator<Item = Digest>) {
        let from = self.digests.len();
        self.digests.extend(digests);
        lock(&self.pins.state).count(&self.digests[from..]);
    }

    /// What is pinned, in the order in which it was given.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        lock(&self.pins.state).release(&self.digests);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Pins {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Digest, u32>,
    named: HashMap<String, Named>,
    /// Digests under all names together.
    n_named: usize,
    /// Grows with each release, so that who waits for room knows when to look again.
    releases: u64,
}

#[derive(Debug)]
struct Named {
    digests: DigestSet,
    expires: Instant,
}

impl Pins {
    pub(crate) fn pin(self: &Arc<Self>, digests: Vec<Digest>) -> Pin {
        lock(&self.state).count(&digests);
        Pin { pins: Arc::clone(self), digests }
    }

    pub(crate) fn pin_named(&self, name: &str, digests: &[Digest], expires: Instant) {
        let mut state = lock(&self.state);
        let State { counts, named, n_named, .. } = &mut *state;
        let pin = named
            .entry(name.to_owned())
            .or_insert_with(|| Named { digests: DigestSet::default(), expires });
        pin.expires = pin.expires.max(expires);
        for digest in digests {
            if *n_named >= MOST_NAMED {
                // Whoever names so many gets no promise for the rest; memory has an end.
                break;
            }
            if pin.digests.insert(*digest) {
                *n_named += 1;
                *counts.entry(*digest).or_insert(0) += 1;
            }
        }
    }

    pub(crate) fn extend(&self, name: &str, expires: Instant) -> bool {
        match lock(&self.state).named.get_mut(name) {
            Some(pin) => {
                pin.expires = expires;
                true
            }
            None => false,
        }
    }

    pub(crate) fn release(&self, name: &str) -> bool {
        let mut state = lock(&self.state);
        state.release_named(name)
    }

    /// Releases the named pins whose time has come.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = lock(&self.state);
        let due =
            state.named.iter().filter(|(_, pin)| pin.expires <= now).map(|(name, _)| name.clone());
        for name in due.collect::<Vec<_>>() {
            state.release_named(&name);
        }
    }

    pub(crate) fn is_pinned(&self, digest: &Digest) -> bool {
        lock(&self.state).counts.contains_key(digest)
    }

    pub(crate) fn len(&self) -> u64 {
        lock(&self.state).counts.len() as u64
    }

    pub(crate) fn releases(&self) -> u64 {
        lock(&self.state).releases
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        lock(&self.state).named.values().map(|pin| pin.expires).min()
    }
}

impl State {
    fn count(&mut self, digests: &[Digest]) {
        for digest in digests {
            *self.counts.entry(*digest).or_insert(0) += 1;
        }
    }

    fn release_named(&mut self, name: &str) -> bool {
        let Some(pin) = self.named.remove(name) else { return false };
        self.n_named -= pin.digests.len();
        self.release(&pin.digests.into_iter().collect::<Vec<_>>());
        true
    }

    fn release(&mut self, digests: &[Digest]) {
        for digest in digests {
            if let Some(count) = self.counts.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(digest);
                }
            }
        }
        self.releases += 1;
    }
}
