//! What a file's content was when it was last read, by device, inode, size and times.
//!
//! An entry is only believed of a file that had been left alone for two seconds before it was read: file systems stamp
//! changes with a coarse clock, so a change right after the reading could carry the same times as the one before it.

mod disk;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hands_types::{Digest, DigestFunction, Mtime};
use rustix::fs::Stat;

/// How long a file must have been left alone before it was read, nanoseconds.
const SETTLED: i128 = 2_000_000_000;
/// Entries kept. At about 120 bytes each this bounds the memory to 36 MB, which only huge trees reach.
const MAX_ENTRIES: usize = 300_000;

/// The wall clock, which is also what file systems stamp with.
pub(crate) trait Clock: Sync {
    /// Nanoseconds since 1970.
    fn now(&self) -> i128;
}

/// The machine's own.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i128 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // A clock before 1970 makes every entry unbelievable, which is right.
        since.map_or(0, |t| i128::try_from(t.as_nanos()).unwrap_or(i128::MAX))
    }
}

/// Which file, in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatKey {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
}

impl StatKey {
    #[expect(
        clippy::allow_attributes,
        reason = "which conversions are needless differs between systems"
    )]
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "field types differ between systems"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        // Nanoseconds in 64 bits last until the year 2262; later times collide, which costs a hash and no error.
        let nanos =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: u64::try_from(stat.st_dev).unwrap_or(u64::MAX),
            inode: stat.st_ino.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanos(stat.st_mtime.into(), stat.st_mtime_nsec as i64),
            ctime: nanos(stat.st_ctime.into(), stat.st_ctime_nsec as i64),
        }
    }

    /// Whether it is the same file, in whatever state.
    pub(crate) const fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }

    /// When its content was changed.
    pub(crate) fn mtime(&self) -> Mtime {
        Mtime::from_nanos(self.mtime)
    }

    /// Whether it was left alone for long enough that a change will show.
    #[cfg(feature = "oci")]
    pub(crate) fn is_settled(&self, now: i128) -> bool {
        self.changed() + SETTLED < now
    }

    fn changed(&self) -> i128 {
        i128::from(self.mtime.max(self.ctime))
    }
}

/// What the cache says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Known(Digest),
    Unknown,
}

/// Shared by all snapshots of an agent.
pub(crate) struct StatCache {
    entries: RwLock<HashMap<Name, Entry>>,
    /// Counts snapshots; entries that none of the last ones used go first.
    age: AtomicU32,
    dirty: AtomicBool,
    bound: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    device: u64,
    inode: u64,
    function: DigestFunction,
}

struct Entry {
    size: u64,
    mtime: i64,
    ctime: i64,
    hash: [u8; 32],
    used: AtomicU32,
}

impl StatCache {
    pub(crate) fn new() -> Self {
        Self::bounded(MAX_ENTRIES)
    }

    pub(crate) fn bounded(bound: usize) -> Self {
        Self {
            entries: RwLock::default(),
            age: AtomicU32::new(1),
            dirty: AtomicBool::new(false),
            bound,
        }
    }

    /// Reads what an earlier agent saved; a file that is missing, damaged or of another version is an empty cache.
    pub(crate) fn load(path: &Path) -> Self {
        let cache = Self::new();
        let saved = disk::read(path, cache.bound);
        *cache.entries.write().unwrap_or_else(PoisonError::into_inner) = saved;
        cache
    }

    /// Saves if there is something new.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        if !self.dirty.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let bytes = disk::encode(&self.entries.read().unwrap_or_else(PoisonError::into_inner));
        disk::write(path, &bytes).inspect_err(|_| self.dirty.store(true, Ordering::Relaxed))
    }

    /// A snapshot begins.
    pub(crate) fn begin(&self) {
        self.age.fetch_add(1, Ordering::Relaxed);
    }

    /// The digest of a file in this state, if it was read in this state and believed.
    pub(crate) fn lookup(&self, key: &StatKey, function: DigestFunction) -> Lookup {
        let name = Name { device: key.device, inode: key.inode, function };
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        match entries.get(&name) {
            Some(entry)
                if entry.size == key.size
                    && entry.mtime == key.mtime
                    && entry.ctime == key.ctime =>
            {
                entry.used.store(self.age.load(Ordering::Relaxed), Ordering::Relaxed);
                Lookup::Known(Digest { function, hash: entry.hash, size: key.size })
            }
            _ => Lookup::Unknown,
        }
    }

    /// A file in this state, before and after, was read from `started` (nanoseconds since 1970) on.
    pub(crate) fn insert(&self, key: &StatKey, digest: Digest, started: i128) {
        let name = Name { device: key.device, inode: key.inode, function: digest.function };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.dirty.store(true, Ordering::Relaxed);
        if started - key.changed() < SETTLED {
            entries.remove(&name);
            return;
        }
        let age = self.age.load(Ordering::Relaxed);
        let used = AtomicU32::new(age);
        entries.insert(
            name,
            Entry { size: key.size, mtime: key.mtime, ctime: key.ctime, hash: digest.hash, used },
        );
        if entries.len() > self.bound {
            shrink(&mut entries, self.bound);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.read().unwrap().len()
    }
}

/// Drops the older half, so that a full cache is not sorted at every insertion.
fn shrink(entries: &mut HashMap<Name, Entry>, bound: usize) {
    let mut ages: Vec<u32> = entries.values().map(|e| e.used.load(Ordering::Relaxed)).collect();
    let middle = ages.len() / 2;
    let (_, oldest_kept, _) = ages.select_nth_unstable(middle);
    let oldest_kept = *oldest_kept;
    entries.retain(|_, entry| entry.used.load(Ordering::Relaxed) > oldest_kept);
    // All of one age: a single snapshot larger than the bound. Any half will do.
    if entries.is_empty() || entries.len() > bound {
        entries.clear();
    }
}

impl fmt::Debug for StatCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatCache").field("bound", &self.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
