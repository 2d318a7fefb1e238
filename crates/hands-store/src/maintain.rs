//! The maintenance thread: writes new entries to the database in groups, evicts, compacts, deletes. It sleeps while there is
//! nothing to do, and ends, with everything written down, when the last handle is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hands_types::Digest;
use rusqlite::Connection;

use crate::db::lock;
use crate::error::StoreError;
use crate::files::on_disk;
use crate::index::{DigestSet, Entry, Place};
use crate::pack::HEADER;
use crate::recover::{add_meta, key, set_meta};
use crate::store::Inner;
use crate::turn::TURN;

/// What the maintenance thread is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    /// New entries are pending.
    Flush,
    /// Many are.
    FlushSoon,
    /// Write them down and answer.
    FlushNow(Sender<Result<(), StoreError>>),
    /// Evict until so many bytes fit into the quota.
    MakeRoom {
        bytes: u64,
        done: Sender<()>,
    },
    /// The quota is nearly used up.
    EvictAhead,
    /// Delete a blob, or put it into quarantine.
    Remove {
        digest: Digest,
        quarantine: bool,
        done: Sender<Result<bool, StoreError>>,
    },
    /// Read what the database holds, so that absent blobs are known without asking it.
    LoadKnown,
    Stop,
}

/// How long pending entries wait for more to come.
const GATHER: Duration = Duration::from_millis(50);
/// The least time between two writes of everything to the disk.
const SYNC: Duration = Duration::from_secs(1);

pub(crate) fn start(
    inner: Arc<Inner>,
    queue: Receiver<Request>,
) -> Result<JoinHandle<()>, StoreError> {
    let sync = start_sync(&inner)?;
    std::thread::Builder::new()
        .name("hands-store".to_owned())
        .spawn(move || maintain(&inner, &queue, &sync))
        .map_err(StoreError::io("start a thread for", std::path::Path::new("the store")))
}

/// The thread that makes the disk follow: it ends when this is dropped.
#[derive(Debug)]
struct Disk {
    dirty: SyncSender<()>,
    _open: SyncSender<()>,
}

/// A thread that makes the disk follow within about a second. It holds nothing of the store and is not waited for.
fn start_sync(inner: &Inner) -> Result<Disk, StoreError> {
    let root = inner.layout.root.clone();
    let dir = std::fs::File::open(&root).map_err(StoreError::io("open", &root))?;
    let (dirty, changed) = sync_channel::<()>(1);
    let (open, closed) = sync_channel::<()>(0);
    std::thread::Builder::new()
        .name("hands-sync".to_owned())
        .spawn(move || {
            while let Ok(()) = changed.recv() {
                let begun = Instant::now();
                if let Err(errno) = sync(&dir) {
                    tracing::warn!(%errno, dir = %root.display(), "the disk could not be brought up to date");
                }
                // Half of the time at most, however slow the disk is. What changes meanwhile stays in the channel,
                // which has room for one; its sender never waits.
                let until = Instant::now() + SYNC.max(begun.elapsed());
                match closed.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })
        .map_err(StoreError::io("start a thread for", std::path::Path::new("the disk")))?;
    Ok(Disk { dirty, _open: open })
}

#[cfg(target_os = "linux")]
fn sync(dir: &std::fs::File) -> rustix::io::Result<()> {
    rustix::fs::syncfs(dir)
}

/// There is no call for one file system.
#[cfg(not(target_os = "linux"))]
fn sync(_dir: &std::fs::File) -> rustix::io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

fn maintain(inner: &Arc<Inner>, queue: &Receiver<Request>, sync: &Disk) {
    let mut due: Option<Instant> = None;
    loop {
        let expiry = inner.pins.next_expiry();
        let wake = [due, expiry].into_iter().flatten().min();
        let request = match wake {
            Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let now = Instant::now();
        if expiry.is_some_and(|at| at <= now) {
            inner.pins.expire(now);
        }
        let mut flush = due.is_some_and(|at| at <= now);
        let mut answer = None;
        match request {
            Ok(Request::Flush) => due = due.or(Some(now + GATHER)),
            Ok(Request::FlushSoon) => flush = true,
            Ok(Request::FlushNow(done)) => {
                flush = true;
                answer = Some(done);
            }
            Ok(Request::MakeRoom { bytes, done }) => {
                report(inner.make_room(inner.quota.saturating_sub(bytes)));
                // Who asked may have given up.
                let _sent = done.send(());
            }
            Ok(Request::EvictAhead) => {
                report(inner.make_room(inner.quota - inner.quota / 10));
                inner.evicted_ahead();
            }
            Ok(Request::Remove { digest, quarantine, done }) => {
                let _sent = done.send(inner.remove_now(&digest, quarantine));
            }
            Ok(Request::LoadKnown) => {
                report(inner.load_known());
                report(inner.drop_unnamed());
                report(inner.linked.clear(&inner.layout.rubbish));
            }
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => {
                report(inner.flush_all());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if flush {
            due = None;
            let result = inner.flush_pending();
            if let Err(TrySendError::Disconnected(())) = sync.dirty.try_send(()) {
                tracing::error!("the thread that keeps the disk up to date is gone");
            }
            match answer {
                Some(done) => {
                    let _sent = done.send(result);
                }
                None => {
                    if result.is_err() {
                        // It is in the log; try again, but not at once.
                        due = Some(now + SYNC);
                    }
                    report(result);
                }
            }
            if inner.index().is_outgrown() {
                report(inner.load_known());
            }
        }
    }
}

fn report(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "upkeep of the store failed");
    }
}

impl Inner {
    /// Writes pending entries to the database and moves the checkpoint past them.
    pub(crate) fn flush_pending(&self) -> Result<(), StoreError> {
        self.flush_with(Vec::new())
    }

    /// The same with every use that the database does not know, at the end.
    fn flush_all(&self) -> Result<(), StoreError> {
        let touches = self.index().all_touches();
        self.flush_with(touches)?;
        let trees = self.trees.uses();
        self.writer.run("write down uses of trees", move |connection| {
            let mut statement =
                connection.prepare_cached("UPDATE trees SET used = ?2 WHERE id = ?1")?;
            for (id, used) in &trees {
                statement.execute((id.cast_signed(), used.cast_signed()))?;
            }
            Ok(())
        })
    }

    fn flush_with(&self, more_touches: Vec<(Digest, u64)>) -> Result<(), StoreError> {
        self.flush_asked.store(false, Ordering::Relaxed);
        let (checkpoint, mut entries, mut touches) = {
            let active = self.packs.active();
            let (entries, touches) = self.index().flush();
            ((active.id, active.len), entries, touches)
        };
        touches.extend(more_touches);
        if entries.is_empty() && touches.is_empty() {
            self.index().all_flushed();
            self.index_changed.notify_all();
            return Ok(());
        }
        // In the order of the table: neighbours share its pages.
        entries.sort_unstable_by_key(|(digest, _)| (digest.function, digest.hash));
        let entries = Arc::new(entries);
        let rows = Arc::clone(&entries);
        let written = self.writer.run("write down blobs", move |connection| {
            let live = insert(connection, &rows)?;
            let mut statement = connection
                .prepare_cached("UPDATE blobs SET used = ?2 WHERE key = ?1 AND used < ?2")?;
            for (digest, used) in &touches {
                statement.execute((key(digest), used.cast_signed()))?;
            }
            set_meta(connection, "checkpoint-pack", u64::from(checkpoint.0))?;
            set_meta(connection, "checkpoint-at", checkpoint.1)?;
            Ok(live)
        });
        let result = match written {
            Ok((live, duplicates)) => {
                {
                    let mut known = lock(&self.live);
                    for (pack, bytes) in live {
                        *known.entry(pack).or_insert(0) += bytes;
                    }
                }
                for some in entries.chunks(TURN) {
                    let mut index = self.index_in_turn();
                    index.flushed(some);
                    // The database has them somewhere else: that place is the one that is kept.
                    for (digest, _) in some.iter().filter(|(digest, _)| duplicates.contains(digest))
                    {
                        index.forget(digest);
                    }
                }
                self.index().all_flushed();
                Ok(())
            }
            Err(error) => {
                self.index().unflushed();
                Err(error)
            }
        };
        self.index_changed.notify_all();
        result
    }

    /// On the thread that flushes, so that no blob is between the database and what is pending.
    fn load_known(&self) -> Result<(), StoreError> {
        let mut prefixes = self.readers.read("read all keys", |connection| {
            let mut statement = connection.prepare("SELECT substr(key, 2, 8) FROM blobs")?;
            let mut rows = statement.query([])?;
            let mut prefixes = Vec::new();
            while let Some(row) = rows.next()? {
                if let Some(head) = row.get_ref(0)?.as_blob()?.first_chunk::<8>() {
                    prefixes.push(u64::from_le_bytes(*head));
                }
            }
            Ok(prefixes)
        })?;
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.shrink_to_fit();
        self.index().set_known(prefixes);
        Ok(())
    }
}

type Inserted = (BTreeMap<u32, u64>, DigestSet);

/// Adds rows; answers with the bytes that became live per pack, and the blobs that were there already.
fn insert(connection: &Connection, rows: &[(Digest, Entry)]) -> rusqlite::Result<Inserted> {
    let mut live: BTreeMap<u32, u64> = BTreeMap::new();
    let mut duplicates = DigestSet::default();
    let mut file_bytes = 0_u64;
    let mut statement =
        connection.prepare_cached("INSERT OR IGNORE INTO blobs VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (digest, entry) in rows {
        let (pack, offset) = match entry.place {
            Place::Pack { id, offset } => (id, offset),
            Place::File => (0, 0),
        };
        let values = (
            key(digest),
            digest.size.cast_signed(),
            pack,
            offset.cast_signed(),
            entry.used.cast_signed(),
        );
        if statement.execute(values)? == 0 {
            duplicates.insert(*digest);
        } else if pack == 0 {
            file_bytes += on_disk(digest.size);
        } else {
            *live.entry(pack).or_insert(0) += HEADER + digest.size;
        }
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO packs VALUES (?1, ?2) ON CONFLICT DO UPDATE SET live = live + ?2",
    )?;
    for (pack, bytes) in &live {
        statement.execute((pack, bytes.cast_signed()))?;
    }
    if file_bytes > 0 {
        add_meta(connection, "file-bytes", file_bytes.cast_signed())?;
    }
    Ok((live, duplicates))
}
