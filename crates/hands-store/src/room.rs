//! Quota and reserve: whether there is room for more bytes.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::db::lock;
use crate::error::StoreError;
use crate::maintain::Request;
use crate::store::Inner;

/// What is known of the free bytes on the store's disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    looked: Option<Instant>,
    free: u64,
    /// Bytes promised since it was looked.
    promised: u64,
    /// The last search for room that found too little.
    stuck: Option<Stuck>,
    /// Whether eviction ahead of need was asked for and has not ended.
    ahead: bool,
}

/// A search for room in vain.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    at: Instant,
    took: Duration,
    /// Pins that had been released by then.
    releases: u64,
}

/// How long a look at the disk is good for, and how many bytes may be written upon it.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_BYTES: u64 = 32 << 20;
/// How long it is not tried again to find room where there was none, unless pins are released.
const STUCK: Duration = Duration::from_secs(1);
/// Where pins may exceed the quota, a search rests so many times as long as it took: it looks at all that is pinned, and
/// each of many small blobs asks for one.
const REST: u32 = 20;

impl Disk {
    /// Bytes of the file system that holds `dir`.
    pub(crate) fn size(dir: &Path) -> Result<u64, StoreError> {
        let stat = look(dir)?;
        Ok(stat.f_blocks * stat.f_frsize)
    }

    fn free(&mut self, dir: &Path, wanted: u64) -> Result<u64, StoreError> {
        let fresh = self.looked.is_some_and(|at| at.elapsed() < LOOK);
        if !fresh || self.promised + wanted > LOOK_BYTES {
            let stat = look(dir)?;
            *self = Self {
                looked: Some(Instant::now()),
                free: stat.f_bavail * stat.f_frsize,
                promised: 0,
                stuck: self.stuck,
                ahead: self.ahead,
            };
        }
        Ok(self.free.saturating_sub(self.promised))
    }
}

fn look(dir: &Path) -> Result<rustix::fs::StatVfs, StoreError> {
    rustix::fs::statvfs(dir).map_err(StoreError::errno("look at the disk of", dir))
}

impl Inner {
    /// Makes sure that `bytes` more may be written: within the quota, or beyond it when all that is left is pinned and
    /// the disk's reserve stays free.
    pub(crate) fn ensure_room(&self, bytes: u64) -> Result<(), StoreError> {
        let dir = &self.config.dir;
        let used = self.usage().total();
        let within = used + bytes <= self.quota;
        let mut disk = lock(&self.disk);
        let mut free = disk.free(dir, bytes)?;
        if within && free >= self.config.reserve + bytes {
            disk.promised += bytes;
            // Evicting ahead of need keeps writers from waiting for it.
            if used + bytes > self.quota - self.quota / 20 && !disk.ahead {
                disk.ahead = true;
                self.request(Request::EvictAhead)?;
            }
            return Ok(());
        }
        let releases = self.pins.releases();
        // Beyond the quota only for the sake of what is pinned, or may be about to be pinned again.
        let kept = || self.pins.any() || Instant::now() < self.grace_until || self.trees.in_use();
        let has_space = free >= self.config.reserve + bytes;
        let stuck = disk.stuck.is_some_and(|stuck| match has_space && kept() {
            true => stuck.at.elapsed() < STUCK.max(stuck.took * REST),
            false => stuck.at.elapsed() < STUCK && stuck.releases == releases,
        });
        drop(disk);
        let begun = Instant::now();
        if !stuck {
            self.searches.fetch_add(1, Ordering::Relaxed);
            let short = (self.config.reserve + bytes).saturating_sub(free);
            let over = (used + bytes).saturating_sub(self.quota);
            self.ask(|done| Request::MakeRoom {
                bytes: bytes.max(short.saturating_sub(over)),
                done,
            })?;
        }
        let used = self.usage().total();
        let mut disk = lock(&self.disk);
        disk.looked = None;
        free = disk.free(dir, bytes)?;
        if used + bytes > self.quota && !stuck {
            disk.stuck = Some(Stuck { at: Instant::now(), took: begun.elapsed(), releases });
        }
        if free >= self.config.reserve + bytes {
            disk.promised += bytes;
            if used + bytes <= self.quota || kept() {
                return Ok(());
            }
        }
        Err(self.full(bytes, used, free))
    }

    /// Whether so many bytes of one action may come in at all: within the quota, and on the disk if everything else went.
    pub(crate) fn fits(&self, bytes: u64) -> Result<(), StoreError> {
        let dir = &self.config.dir;
        let used = self.usage().total();
        let free = lock(&self.disk).free(dir, 0)?;
        if bytes <= self.quota && self.config.reserve.saturating_add(bytes) <= free + used {
            return Ok(());
        }
        Err(self.full(bytes, used, free))
    }

    pub(crate) fn full(&self, needed: u64, used: u64, free: u64) -> StoreError {
        StoreError::Full {
            needed,
            used,
            quota: self.quota,
            pinned: self.pins.len(),
            named: self.names.bytes(),
            free,
            reserve: self.config.reserve,
        }
    }

    /// Eviction ahead of need has ended.
    pub(crate) fn evicted_ahead(&self) {
        lock(&self.disk).ahead = false;
    }
}
