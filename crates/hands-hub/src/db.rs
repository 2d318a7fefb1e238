//! The hub's table on disk: one thread writes, commits in groups and then says what had to wait for the commit.
//!
//! Everything that a worker or client may only hear once it is durable is handed over together with its rows as a
//! [`Then`]; the thread keeps the order in which the core gave them. It stops when the last [`Db`] is dropped or at
//! [`Db::close`], after the last commit.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hands_types::Digest;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::HubError;
use crate::place::Place;

mod read;
mod retained;
mod row;
mod schema;
mod trouble;
mod write;

#[cfg(test)]
pub(crate) use read::PASSED;
pub(crate) use read::Page;
use retained::Retained;
pub(crate) use row::{Done, Record, State, Stored};
pub(crate) use trouble::Trouble;
pub(crate) use write::Write;

/// What is said once the rows before it are durable.
pub(crate) type Then = Box<dyn FnOnce() + Send>;

/// How long finished operations are kept, and how much of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
    /// How long the answer to a salted digest is given again.
    pub(crate) retained: Duration,
}

impl Bounds {
    /// Milliseconds since 1970.
    fn retained_since(&self) -> i64 {
        let kept = i64::try_from(self.retained.as_millis()).unwrap_or(i64::MAX);
        crate::core::unix_millis().saturating_sub(kept)
    }
}

/// The handle of the table.
pub(crate) struct Db {
    path: PathBuf,
    writer: Mutex<Option<Sender<Commit>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Its other end lives as long as the thread.
    alive: watch::Receiver<()>,
    reader: Mutex<Connection>,
    /// For what may look at many rows, so that a question about one never waits for it.
    lister: Mutex<Connection>,
    retained: Retained,
    desk: Arc<trouble::Desk>,
    /// Held for its lock, until the table is closed.
    lock: Mutex<Option<File>>,
    /// What the thread looks for.
    places: Arc<Mutex<Vec<Place>>>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

#[derive(Default)]
pub(crate) struct Commit {
    pub(crate) writes: Vec<Write>,
    pub(crate) then: Vec<Then>,
    /// Many operations are under way: it may wait a little for company.
    pub(crate) is_crowded: bool,
}

impl Commit {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.then.is_empty()
    }
}

/// Commits that may share one transaction.
const GROUP: usize = 256;
/// How long a commit waits for company where many operations are under way.
const COMPANY: Duration = Duration::from_millis(1);
/// How often old rows are looked for when nothing else happens.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

impl Db {
    /// Opens or makes the table below a state directory.
    pub(crate) fn open(dir: &Path, bounds: Bounds) -> Result<Self, HubError> {
        let lock = lock(dir)?;
        let path = dir.join("hub.db");
        let connection = schema::open(&path)?;
        let reader = schema::open_reader(&path)?;
        let lister = schema::open_reader(&path)?;
        let retained = read::retained(&reader, bounds.retained_since())
            .map_err(|source| HubError::database("read", &path, source))?;
        let mut writer = write::Writer::new(connection, bounds)
            .map_err(|source| HubError::database("read", &path, source))?;
        let places = Arc::new(Mutex::new(vec![Place::of("the hub's database", &path)?]));
        let places_of_thread = Arc::clone(&places);
        let (sender, receiver) = channel();
        let desk = Arc::new(trouble::Desk::default());
        let desk_of_thread = Arc::clone(&desk);
        let (living, alive) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("hub-db".into())
            .spawn(move || {
                let _living = living;
                run(&receiver, &mut writer, &desk_of_thread, &places_of_thread);
            })
            .map_err(|source| HubError::Io {
                what: "start a thread for",
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            path,
            writer: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            alive,
            reader: Mutex::new(reader),
            lister: Mutex::new(lister),
            retained,
            desk,
            lock: Mutex::new(Some(lock)),
            places,
        })
    }

    /// Has the hub end when this is deleted, too.
    pub(crate) fn look_for(&self, place: Place) {
        locked(&self.places).push(place);
    }

    /// Hands rows over. What it holds to be said later is dropped unsaid if the table has been closed.
    pub(crate) fn submit(&self, commit: Commit) {
        if let Some(writer) = &*locked(&self.writer) {
            // A send fails only after the thread has ended: by close(), or by a panic, which ends the hub.
            let _ended = writer.send(commit);
        }
    }

    /// What is the matter while nothing can be written, whenever that changes.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.desk.watch()
    }

    /// Returns when nothing can be written any more: after [`Db::close`], or because the thread panicked.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Commits what was submitted and ends the thread. Blocks for that long, but not until a full disk has room: what
    /// can't be written then was not acknowledged either.
    pub(crate) fn close(&self) {
        drop(locked(&self.writer).take());
        self.desk.close();
        let thread = locked(&self.thread).take();
        if let Some(thread) = &thread {
            thread.thread().unpark();
        }
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            tracing::error!(?panic, "the database's thread panicked");
        }
        drop(locked(&self.lock).take());
    }

    /// Says that an answer to a salted digest is on its way into the table. `finished` in milliseconds since 1970.
    pub(crate) fn retain(&self, digest: &Digest, finished: i64) {
        self.retained.note(&digest.hash, finished);
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        locked(&self.reader)
    }

    fn lister(&self) -> MutexGuard<'_, Connection> {
        locked(&self.lister)
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(rusqlite::Error) -> HubError {
        let path = self.path.clone();
        move |source| HubError::database(what, &path, source)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here leaves its value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often an idle table looks whether its file and others of the state are still there, and any table empties its log.
const LOOK_EVERY: Duration = Duration::from_secs(5);

fn run(
    receiver: &Receiver<Commit>,
    writer: &mut write::Writer,
    desk: &trouble::Desk,
    places: &Mutex<Vec<Place>>,
) {
    let are_here = || locked(places).iter().all(Place::is_here);
    let (mut pruned, mut emptied) = (Instant::now(), Instant::now());
    loop {
        if emptied.elapsed() >= LOOK_EVERY {
            writer.checkpoint();
            emptied = Instant::now();
        }
        let first = match receiver.recv_timeout(LOOK_EVERY) {
            Ok(commit) => commit,
            Err(RecvTimeoutError::Timeout) => {
                if !are_here() {
                    return;
                }
                if pruned.elapsed() >= PRUNE_EVERY {
                    pruned = Instant::now();
                    writer.prune();
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return writer.checkpoint(),
        };
        let mut writes = first.writes;
        let mut then = first.then;
        let mut n_commits = 1;
        let due = first.is_crowded.then(|| Instant::now() + COMPANY);
        while n_commits < GROUP {
            let wait =
                due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
            let Ok(commit) = receiver.recv_timeout(wait) else { break };
            writes.extend(commit.writes);
            then.extend(commit.then);
            n_commits += 1;
        }
        let is_kept = writes.is_empty() || desk.commit(writer, &writes) && are_here();
        if !is_kept {
            return;
        }
        for say in then {
            say();
        }
        if writer.wants_pruning() {
            writer.prune();
        }
    }
}

fn lock(dir: &Path) -> Result<File, HubError> {
    let path = dir.join("hub.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| HubError::Io { what: "open", path: path.clone(), source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(HubError::InUse { path: dir.to_owned() }),
        Err(error) => Err(HubError::Io { what: "lock", path, source: error.into() }),
    }
}
