//! What may not be evicted.
//!
//! A pin holds prefixes of digests: two digests that share one only stay together, and memory is a sixth of that of whole
//! ones. An open invocation may name millions of blobs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hands_types::Digest;

use crate::db::lock;
use crate::index::{USE_GRAIN, prefix};

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

#[derive(Debug)]
pub(crate) struct Pins {
    state: Mutex<State>,
    most_named: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By [`Pin`]s, with how many.
    counts: HashMap<u64, u32>,
    named: HashMap<String, Named>,
    /// Prefixes under all names together.
    n_named: usize,
    /// Grows with each release, so that who waits for room knows when to look again.
    releases: u64,
}

#[derive(Debug)]
struct Named {
    what: What,
    /// When it was first pinned under this name, by the store's clock.
    since: u64,
    expires: Instant,
}

#[derive(Debug)]
enum What {
    These(HashSet<u64>),
    /// Too many to be kept by name. To be pinned is to be used, so that among what was used since is all of it.
    UsedSince,
}

impl Pins {
    /// With at most so many prefixes for all names together.
    pub(crate) fn new(most_named: usize) -> Self {
        Self { state: Mutex::default(), most_named }
    }

    pub(crate) fn pin(self: &Arc<Self>, digests: Vec<Digest>) -> Pin {
        lock(&self.state).count(&digests);
        Pin { pins: Arc::clone(self), digests }
    }

    /// `now` by the store's clock.
    pub(crate) fn pin_named(&self, name: &str, digests: &[Digest], now: u64, expires: Instant) {
        let mut state = lock(&self.state);
        if !state.named.contains_key(name) {
            let none = What::These(HashSet::new());
            state.named.insert(name.to_owned(), Named { what: none, since: now, expires });
        }
        let State { named, n_named, .. } = &mut *state;
        let Some(pin) = named.get_mut(name) else { return };
        pin.expires = pin.expires.max(expires);
        if let What::These(prefixes) = &mut pin.what {
            let before = prefixes.len();
            prefixes.extend(digests.iter().map(prefix));
            *n_named += prefixes.len() - before;
        }
        while state.n_named > self.most_named && state.blur_largest() {}
    }

    pub(crate) fn release(&self, name: &str) -> bool {
        lock(&self.state).release_named(name)
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

    /// `used`: when it was last used, as the database has it.
    pub(crate) fn is_pinned(&self, digest: &Digest, used: u64) -> bool {
        let prefix = prefix(digest);
        let state = lock(&self.state);
        state.counts.contains_key(&prefix)
            || state.named.values().any(|pin| match &pin.what {
                What::These(prefixes) => prefixes.contains(&prefix),
                // The database hears of uses only so often.
                What::UsedSince => used.saturating_add(USE_GRAIN) >= pin.since,
            })
    }

    /// Whether anything may be pinned.
    pub(crate) fn any(&self) -> bool {
        let state = lock(&self.state);
        !state.counts.is_empty() || !state.named.is_empty()
    }

    /// One that is pinned by several counts for each of them, one that is pinned by time not at all.
    pub(crate) fn len(&self) -> u64 {
        let state = lock(&self.state);
        (state.counts.len() + state.n_named) as u64
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
            *self.counts.entry(prefix(digest)).or_insert(0) += 1;
        }
    }

    /// False if nothing is kept by name.
    fn blur_largest(&mut self) -> bool {
        let lists = self.named.values_mut().filter_map(|pin| match &pin.what {
            What::These(prefixes) if !prefixes.is_empty() => Some((prefixes.len(), pin)),
            What::These(_) | What::UsedSince => None,
        });
        let Some((n, pin)) = lists.max_by_key(|(n, _)| *n) else { return false };
        pin.what = What::UsedSince;
        self.n_named -= n;
        true
    }

    fn release_named(&mut self, name: &str) -> bool {
        let Some(pin) = self.named.remove(name) else { return false };
        if let What::These(prefixes) = pin.what {
            self.n_named -= prefixes.len();
        }
        self.releases += 1;
        true
    }

    fn release(&mut self, digests: &[Digest]) {
        for digest in digests {
            let prefix = prefix(digest);
            if let Some(count) = self.counts.get_mut(&prefix) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&prefix);
                }
            }
        }
        self.releases += 1;
    }
}
