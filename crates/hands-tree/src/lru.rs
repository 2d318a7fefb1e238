//! Eviction policy: least recently used first, never what is pinned.

use std::collections::BTreeMap;

/// Values with sizes, of which the least recently used leave when there are too many bytes. Use is counted in steps of
/// its own, so that the order is exact and no clock is needed.
#[derive(Clone, Debug)]
pub struct Lru<K, V> {
    entries: BTreeMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
    next_use: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Slot<V> {
    value: V,
    size: u64,
    used: u64,
    pins: u32,
}

impl<K: Ord + Clone, V> Default for Lru<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V> Lru<K, V> {
    /// Nothing in it.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), by_use: BTreeMap::new(), next_use: 0, bytes: 0 }
    }

    /// Puts a value in as the most recently used; returns what stood there. Pins of what stood there stay.
    pub fn insert(&mut self, key: K, value: V, size: u64) -> Option<V> {
        let used = self.step();
        self.by_use.insert(used, key.clone());
        self.bytes += size;
        let pins = self.entries.get(&key).map_or(0, |slot| slot.pins);
        let old = self.entries.insert(key, Slot { value, size, used, pins })?;
        self.by_use.remove(&old.used);
        self.bytes -= old.size;
        Some(old.value)
    }

    /// The value, which becomes the most recently used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let used = self.step();
        let slot = self.entries.get_mut(key)?;
        if let Some(key) = self.by_use.remove(&slot.used) {
            self.by_use.insert(used, key);
        }
        slot.used = used;
        Some(&slot.value)
    }

    /// The value, without counting as a use.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|slot| &slot.value)
    }

    /// Takes a value out, pinned or not.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.entries.remove(key)?;
        self.by_use.remove(&slot.used);
        self.bytes -= slot.size;
        Some(slot.value)
    }

    /// Keeps a value from being evicted until [`Lru::unpin`] was called as often. False if it is not here.
    pub fn pin(&mut self, key: &K) -> bool {
        let Some(slot) = self.entries.get_mut(key) else { return false };
        slot.pins += 1;
        true
    }

    /// Takes one pin away.
    pub fn unpin(&mut self, key: &K) {
        if let Some(slot) = self.entries.get_mut(key) {
            slot.pins = slot.pins.saturating_sub(1);
        }
    }

    /// Takes out the least recently used value that is not pinned and that `may_go`.
    pub fn evict(&mut self, mut may_go: impl FnMut(&K, &V) -> bool) -> Option<(K, V)> {
        let key = self
            .by_use
            .values()
            .find(|key| {
                self.entries.get(key).is_some_and(|slot| slot.pins == 0 && may_go(key, &slot.value))
            })?
            .clone();
        let value = self.remove(&key)?;
        Some((key, value))
    }

    /// Takes values out until at most `limit` bytes are here or all that is left is pinned.
    pub fn shrink(&mut self, limit: u64) -> Vec<(K, V)> {
        let mut gone = Vec::new();
        while self.bytes > limit {
            let Some(evicted) = self.evict(|_, _| true) else { break };
            gone.push(evicted);
        }
        gone
    }

    /// Values from the most recently used on.
    pub fn recent(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_use.values().rev().filter_map(|key| Some((key, &self.entries.get(key)?.value)))
    }

    /// Sum of the sizes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn step(&mut self) -> u64 {
        self.next_use += 1;
        self.next_use
    }
}
