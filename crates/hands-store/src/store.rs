//! The handle, and what it shares with the store's threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hands_types::{Digest, limits};

use crate::action::ActionMemory;
use crate::config::{Durability, StoreConfig, Usage};
use crate::db::{self, Readers, lock};
use crate::error::StoreError;
use crate::files::Layout;
use crate::index::Index;
use crate::linked::Linked;
use crate::looks::Damage;
use crate::maintain::{self, Request};
use crate::named::Names;
use crate::pack::Packs;
use crate::pins::{Pin, Pins};
use crate::place::still_leads_to;
use crate::recover;
use crate::room::Disk;
use crate::trees::Trees;
use crate::writer::Writer;

/// Blobs up to this many bytes live in packs; above it a file of its own costs less than copying the content around.
pub(crate) const SMALL: u64 = 16 << 10;

/// A store of blobs, action results and staged trees. Clones share it; the last one to be dropped closes it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    threads: Arc<Threads>,
}

/// What the handle and the maintenance thread share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: StoreConfig,
    pub(crate) quota: u64,
    pub(crate) layout: Layout,
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) packs: Packs,
    pub(crate) index: Mutex<Index>,
    /// Threads that wait for it.
    pub(crate) index_waiting: AtomicUsize,
    /// Told when a deletion is done or pending entries were written.
    pub(crate) index_changed: Condvar,
    /// Bytes that blobs point to, of each pack.
    pub(crate) live: Mutex<BTreeMap<u32, u64>>,
    pub(crate) pins: Arc<Pins>,
    pub(crate) names: Names,
    pub(crate) trees: Trees,
    pub(crate) linked: Linked,
    /// Trees that were found damaged, until somebody asks.
    pub(crate) damages: Mutex<Vec<Damage>>,
    pub(crate) actions: Mutex<ActionMemory>,
    pub(crate) disk: Mutex<Disk>,
    pub(crate) requests: Sender<Request>,
    pub(crate) pack_bytes: AtomicU64,
    pub(crate) file_bytes: AtomicU64,
    pub(crate) temp_bytes: Arc<AtomicU64>,
    pub(crate) corrupt: AtomicU64,
    /// Searches for room that a writer had to ask for.
    pub(crate) searches: AtomicU64,
    /// Whether a flush was asked for and has not begun.
    pub(crate) flush_asked: AtomicBool,
    pub(crate) clock: AtomicU64,
    /// Blobs used last at this time or later, but before the store was opened, are not evicted until `grace_until`.
    pub(crate) grace_from: u64,
    pub(crate) opened: u64,
    pub(crate) grace_until: Instant,
    /// Held so that no other process opens the store.
    lock: File,
}

#[derive(Debug)]
struct Threads {
    requests: Sender<Request>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A maintenance thread that is gone has nothing left to stop.
        let _sent = self.requests.send(Request::Stop);
        for handle in lock(&self.handles).drain(..) {
            if handle.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

impl Store {
    /// Opens the store in a directory, making it if there is none. Takes milliseconds however many blobs it holds.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let layout = Layout::new(&config.dir);
        layout.create()?;
        let held = take_lock(&config.dir)?;
        let path = config.dir.join("index.db");
        let connection = db::open_or_replace(&path, config.durability)?;
        let quota = match config.quota {
            Some(quota) => quota,
            None => limits::STORE_QUOTA.min(Disk::size(&config.dir)? / 10),
        };
        let found = recover::recover(&connection, &layout)?;
        // Small enough that compaction can free a small quota, large enough that files stay few under a large one.
        let pack_limit = (quota / 64).clamp(64 << 10, 64 << 20);
        let packs = Packs::open(layout.packs.clone(), pack_limit, found.newest_pack)?;
        let (writer, index_thread) = Writer::start(connection)?;
        let (requests, queue) = channel();
        let now = wall_clock();
        let clock = now.max(found.newest_use);
        let grace = config.restart_grace;
        // Counted back from the last use, not from now: the time without a process does not count.
        let last_use = match found.newest_use {
            0 if found.pending.is_empty() => None,
            0 => Some(clock),
            newest => Some(newest),
        };
        let grace_from = match last_use {
            Some(last) if !grace.is_zero() => {
                last.saturating_sub(u64::try_from(grace.as_micros()).unwrap_or(u64::MAX))
            }
            Some(_) | None => u64::MAX,
        };
        let inner = Arc::new(Inner {
            quota,
            readers: Readers::new(path),
            writer,
            packs,
            index_changed: Condvar::new(),
            live: Mutex::new(found.live),
            pins: Arc::new(Pins::new(config.most_pinned)),
            names: found.names,
            trees: Trees::new(layout.trees.clone(), found.trees),
            linked: Linked::default(),
            damages: Mutex::default(),
            actions: Mutex::default(),
            disk: Mutex::default(),
            requests: requests.clone(),
            pack_bytes: AtomicU64::new(found.pack_bytes),
            file_bytes: AtomicU64::new(found.file_bytes),
            temp_bytes: Arc::default(),
            corrupt: AtomicU64::new(0),
            searches: AtomicU64::new(0),
            flush_asked: AtomicBool::new(false),
            clock: AtomicU64::new(clock),
            grace_from,
            opened: clock,
            grace_until: Instant::now()
                + if grace_from == u64::MAX { Duration::ZERO } else { grace },
            layout,
            config,
            index: Mutex::default(),
            index_waiting: AtomicUsize::new(0),
            lock: held,
        });
        {
            let mut index = lock(&inner.index);
            for (digest, place) in found.pending {
                index.insert_pending(digest, place, clock, false);
            }
        }
        let upkeep = maintain::start(Arc::clone(&inner), queue)?;
        let threads = Arc::new(Threads {
            requests: requests.clone(),
            handles: Mutex::new(vec![upkeep, index_thread]),
        });
        let store = Self { inner, threads };
        store.inner.request(Request::LoadKnown)?;
        store.inner.request(Request::Flush)?;
        Ok(store)
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.config.dir
    }

    /// Whether its directory is still the one that was opened; an error says that it was deleted.
    pub fn ensure_here(&self) -> Result<(), StoreError> {
        self.inner.ensure_here()
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        self.inner.usage()
    }

    /// Whether so many bytes that belong together may be stored at all: they are no more than the quota, and the disk has
    /// so much room beside its reserve if everything else here went.
    pub fn fits(&self, bytes: u64) -> Result<(), StoreError> {
        self.inner.fits(bytes)
    }

    /// Keeps blobs from being evicted until the pin is dropped. Pin first, then ask whether they are there: what was
    /// there after it was pinned stays.
    pub fn pin(&self, digests: impl IntoIterator<Item = Digest>) -> Pin {
        self.inner.pins.pin(digests.into_iter().collect())
    }

    /// Keeps blobs from being evicted for an open invocation, until it is released or expires. Adds to what the name
    /// has pinned before, and never shortens its time.
    pub fn pin_named(&self, name: &str, digests: &[Digest], expires: Instant) {
        self.inner.pins.pin_named(name, digests, self.inner.now(), expires);
    }

    /// Releases a named pin. False if there was none.
    pub fn release_named(&self, name: &str) -> bool {
        self.inner.pins.release(name)
    }

    /// Evicts what is beyond the quota, compacts, and writes down everything; answers with the usage after it.
    pub fn gc(&self) -> Result<Usage, StoreError> {
        self.inner.ask(|done| Request::MakeRoom { bytes: 0, done })?;
        Ok(self.usage())
    }

    /// Deletes a blob, pinned or not. False if it was not there.
    pub fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.inner.remove(digest, false)
    }

    /// Writes down what is only in the log so far. Called by itself; useful before a benchmark or a copy.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner.ask(Request::FlushNow)?
    }

    /// Roots of the trees that are staged, the most recently used first, `n` at most.
    pub fn staged(&self, n: usize) -> Vec<Digest> {
        self.inner.trees.roots(n)
    }

    /// Whether two handles are of the same store.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) && Arc::ptr_eq(&self.threads, &other.threads)
    }
}

impl Inner {
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            pack_bytes: self.pack_bytes.load(Ordering::Relaxed),
            file_bytes: self.file_bytes.load(Ordering::Relaxed),
            tree_bytes: self.trees.bytes(),
            temp_bytes: self.temp_bytes.load(Ordering::Relaxed),
            quota: self.quota,
            pinned: self.pins.len(),
            named: self.names.count(),
            named_bytes: self.names.bytes(),
            trees: self.trees.len(),
            corrupt: self.corrupt.load(Ordering::Relaxed),
            grace: self.grace_until.saturating_duration_since(Instant::now()),
        }
    }

    /// Whether the directory is still the one that was opened. Asked before anything is acknowledged.
    pub(crate) fn ensure_here(&self) -> Result<(), StoreError> {
        let held = match self.lock.metadata() {
            Ok(held) => (held.dev(), held.ino()),
            Err(error) => {
                tracing::warn!(%error, "can't look at the store's lock");
                return Ok(());
            }
        };
        if still_leads_to(&self.layout.root.join("lock"), held) {
            Ok(())
        } else {
            Err(StoreError::Vanished { dir: self.layout.root.clone() })
        }
    }

    /// The time of a use: microseconds since 1970, but never twice the same and never going back.
    pub(crate) fn now(&self) -> u64 {
        let wall = wall_clock();
        let step = |last: u64| Some(wall.max(last + 1));
        // `step` never answers `None`.
        self.clock
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .map_or(wall, |last| wall.max(last + 1))
    }

    pub(crate) fn power(&self) -> bool {
        self.config.durability == Durability::Power
    }

    pub(crate) fn request(&self, request: Request) -> Result<(), StoreError> {
        self.requests.send(request).map_err(|_| StoreError::Closed)
    }

    /// Sends a request to the maintenance thread and waits for its answer.
    pub(crate) fn ask<T>(
        &self,
        request: impl FnOnce(Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (done, answer) = channel();
        self.request(request(done))?;
        answer.recv().map_err(|_| StoreError::Closed)
    }

    /// Takes a blob out of the store; into quarantine if it is corrupt.
    pub(crate) fn remove(&self, digest: &Digest, quarantine: bool) -> Result<bool, StoreError> {
        let digest = *digest;
        self.ask(|done| Request::Remove { digest, quarantine, done })?
    }
}

fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path: PathBuf = dir.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(StoreError::io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(errno) => Err(StoreError::errno("lock", &path)(errno)),
    }
}
