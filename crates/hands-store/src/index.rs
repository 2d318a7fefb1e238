//! Where each blob is: the part of the index that is in memory.
//!
//! The database holds every blob but the newest; here are the newest (`pending`, and `flushing` while they are being
//! written), the recently used (two generations, so that old ones leave at once and cheaply), and hash prefixes of all
//! blobs there are, from which most questions for absent blobs are answered. Prefixes of blobs that are deleted stay until
//! all are read from the database again, which is when half as many have come.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use hands_types::Digest;

/// Where a blob's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a pack, at this offset.
    Pack {
        /// Which.
        id: u32,
        /// Of the content, behind its header.
        offset: u64,
    },
    /// In a file of its own.
    File,
}

/// What is known of a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    /// When it was last used.
    pub(crate) used: u64,
    /// When it was last used as the database has it.
    pub(crate) stored: u64,
    /// Whether its content was checked against its digest since the start.
    pub(crate) verified: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    Found(Entry),
    Absent,
    /// The database knows.
    Unknown,
}

/// Hashes a digest by taking eight bytes of it: only what the store holds becomes a key, and that is uniform. Digests that
/// a client names can be made to collide, and are kept in sets with the usual hashing.
#[derive(Debug, Default)]
pub(crate) struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>()
            && bytes.len() == 32
        {
            self.0 = u64::from_le_bytes(*head);
        }
    }

    fn write_u64(&mut self, _size: u64) {}

    fn write_usize(&mut self, _length: usize) {}

    fn write_isize(&mut self, _discriminant: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type Map = HashMap<Digest, Entry, BuildHasherDefault<Prefix>>;
pub(crate) type DigestSet = HashSet<Digest, BuildHasherDefault<Prefix>>;

/// Entries of one generation: as many as a table of 65,536 places takes before it doubles.
const GENERATION: usize = 56 << 10;
/// Blobs that come before prefixes are read again, at least.
pub(crate) const NEW: usize = if cfg!(test) { 1 << 10 } else { 128 << 10 };
/// A use is written down when an entry leaves memory, unless one was less long before, microseconds.
pub(crate) const USE_GRAIN: u64 = 60_000_000;

#[derive(Debug, Default)]
pub(crate) struct Index {
    pending: Map,
    flushing: Map,
    young: Map,
    old: Map,
    /// Being deleted: absent for everyone, and not to be written until it is gone.
    doomed: DigestSet,
    /// Files being put in place, with how often.
    arriving: HashMap<Digest, u32, BuildHasherDefault<Prefix>>,
    /// Uses to be written down.
    touches: Vec<(Digest, u64)>,
    /// Prefixes of what the database held when they were loaded, sorted; `None` until then.
    known: Option<Vec<u64>>,
    /// Prefixes of what came since then.
    new: HashSet<u64>,
    /// Whether the last attempt to write entries down failed. They are safe in the log meanwhile.
    failing: bool,
}

impl Index {
    /// Looks a blob up and counts that as a use at `now`.
    pub(crate) fn look_up(&mut self, digest: &Digest, now: u64) -> Lookup {
        if let Some(entry) = self.young.get_mut(digest) {
            entry.used = entry.used.max(now);
            return Lookup::Found(*entry);
        }
        for map in [&mut self.pending, &mut self.flushing] {
            if let Some(entry) = map.get_mut(digest) {
                entry.used = entry.used.max(now);
                return Lookup::Found(*entry);
            }
        }
        if let Some(mut entry) = self.old.remove(digest) {
            entry.used = entry.used.max(now);
            self.remember(*digest, entry);
            return Lookup::Found(entry);
        }
        if self.doomed.contains(digest) {
            return Lookup::Absent;
        }
        match &self.known {
            Some(known) => {
                let prefix = prefix(digest);
                let present = self.new.contains(&prefix) || known.binary_search(&prefix).is_ok();
                if present { Lookup::Unknown } else { Lookup::Absent }
            }
            None => Lookup::Unknown,
        }
    }

    /// Takes in what the database said, unless it has been overtaken. Answers with what holds.
    pub(crate) fn learn(
        &mut self,
        digest: Digest,
        place: Place,
        stored: u64,
        now: u64,
    ) -> Option<Entry> {
        if self.doomed.contains(&digest) {
            return None;
        }
        if let Lookup::Found(entry) = self.look_up(&digest, now) {
            return Some(entry);
        }
        let entry = Entry { place, used: now.max(stored), stored, verified: false };
        self.remember(digest, entry);
        Some(entry)
    }

    /// A blob that is in place and not yet in the database.
    pub(crate) fn insert_pending(
        &mut self,
        digest: Digest,
        place: Place,
        now: u64,
        verified: bool,
    ) {
        self.new.insert(prefix(&digest));
        self.pending.insert(digest, Entry { place, used: now, stored: 0, verified });
    }

    #[cfg(test)]
    pub(crate) fn n_prefixes(&self) -> usize {
        self.new.len() + self.known.as_ref().map_or(0, Vec::len)
    }

    pub(crate) const fn flush_fails(&self) -> bool {
        self.failing
    }

    pub(crate) fn n_pending(&self) -> usize {
        self.pending.len()
    }

    /// What is to be written to the database now. Followed by [`Index::all_flushed`] or [`Index::unflushed`].
    pub(crate) fn flush(&mut self) -> (Vec<(Digest, Entry)>, Vec<(Digest, u64)>) {
        self.flushing = std::mem::take(&mut self.pending);
        (self.flushing.iter().map(|(d, e)| (*d, *e)).collect(), std::mem::take(&mut self.touches))
    }

    /// Some of what is being written is in the database.
    pub(crate) fn flushed(&mut self, stored: &[(Digest, Entry)]) {
        for (digest, written) in stored {
            if let Some(mut entry) = self.flushing.remove(digest) {
                entry.stored = written.used;
                self.remember(*digest, entry);
            }
        }
    }

    /// All of it is.
    pub(crate) fn all_flushed(&mut self) {
        self.failing = false;
        self.flushing = Map::default();
    }

    pub(crate) fn unflushed(&mut self) {
        self.failing = true;
        for (digest, entry) in std::mem::take(&mut self.flushing) {
            self.pending.entry(digest).or_insert(entry);
        }
    }

    /// Marks content as checked, or as not to be trusted any more.
    pub(crate) fn set_verified(&mut self, digest: &Digest, verified: bool) {
        for map in [&mut self.young, &mut self.pending, &mut self.flushing, &mut self.old] {
            if let Some(entry) = map.get_mut(digest) {
                entry.verified = verified;
            }
        }
    }

    /// Forgets what may be outdated, so that the database is asked again.
    pub(crate) fn forget(&mut self, digest: &Digest) {
        self.young.remove(digest);
        self.old.remove(digest);
    }

    /// Notes where compaction has put a blob.
    pub(crate) fn moved(&mut self, digest: &Digest, from: Place, to: Place) {
        for map in [&mut self.young, &mut self.old] {
            if let Some(entry) = map.get_mut(digest)
                && entry.place == from
            {
                entry.place = to;
            }
        }
    }

    /// When a blob was last used, if that is known here.
    pub(crate) fn last_use(&self, digest: &Digest) -> Option<u64> {
        [&self.young, &self.old, &self.pending, &self.flushing]
            .into_iter()
            .filter_map(|map| map.get(digest))
            .map(|entry| entry.used)
            .max()
    }

    /// Makes a blob absent, before it is deleted. False if it is being written or not yet in the database.
    pub(crate) fn doom(&mut self, digest: &Digest) -> bool {
        if self.pending.contains_key(digest)
            || self.flushing.contains_key(digest)
            || self.arriving.contains_key(digest)
        {
            return false;
        }
        self.forget(digest);
        self.doomed.insert(*digest)
    }

    /// The deletion is done, or was given up.
    pub(crate) fn undoom(&mut self, digest: &Digest) {
        self.doomed.remove(digest);
    }

    pub(crate) fn is_doomed(&self, digest: &Digest) -> bool {
        self.doomed.contains(digest)
    }

    pub(crate) fn arrive(&mut self, digest: Digest) {
        *self.arriving.entry(digest).or_insert(0) += 1;
    }

    pub(crate) fn arrived(&mut self, digest: &Digest) {
        if let Some(n) = self.arriving.get_mut(digest) {
            *n -= 1;
            if *n == 0 {
                self.arriving.remove(digest);
            }
        }
    }

    /// The prefixes of everything in the database, sorted. Nothing was flushed since it was read.
    pub(crate) fn set_known(&mut self, prefixes: Vec<u64>) {
        self.known = Some(prefixes);
        self.new = self.pending.keys().chain(self.flushing.keys()).map(prefix).collect();
    }

    /// Whether so many blobs came since prefixes were read that they are to be read again.
    pub(crate) fn is_outgrown(&self) -> bool {
        self.known.as_ref().is_some_and(|known| self.new.len() > NEW.max(known.len() / 2))
    }

    /// Every use that the database does not know of.
    pub(crate) fn all_touches(&mut self) -> Vec<(Digest, u64)> {
        let mut touches = std::mem::take(&mut self.touches);
        for map in [&mut self.young, &mut self.old] {
            for (digest, entry) in map.iter_mut().filter(|(_, entry)| entry.used > entry.stored) {
                entry.stored = entry.used;
                touches.push((*digest, entry.used));
            }
        }
        touches
    }

    fn remember(&mut self, digest: Digest, entry: Entry) {
        if self.young.len() >= GENERATION {
            let leaving = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            let uses =
                leaving.into_iter().filter(|(_, entry)| entry.used > entry.stored + USE_GRAIN);
            self.touches.extend(uses.map(|(digest, entry)| (digest, entry.used)));
        }
        self.young.insert(digest, entry);
    }
}

pub(crate) fn prefix(digest: &Digest) -> u64 {
    digest.hash.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head))
}
