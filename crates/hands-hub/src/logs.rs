//! The output streams of all running actions, and how they are read: from any offset, by any number of readers, live.
//!
//! A reader follows the action and not the attempt: when an attempt is lost with its worker, the reader waits until the
//! next one's stream is as long as what it has read, and goes on from there.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hands_types::limits::CHUNK;
use hands_types::{Attempt, OperationId, WorkerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::db::Record;
use crate::spool::Spool;

/// Which of an action's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// The last part of its resource name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// From the number in `hands.v1.Output`.
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// Both streams of one attempt, and whose they are.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    pub(crate) record: Arc<Record>,
    pub(crate) attempt: Attempt,
    /// Who was granted the lease: nobody else may write here or bring the result.
    pub(crate) worker: WorkerId,
    pub(crate) stdout: Spool,
    pub(crate) stderr: Spool,
}

impl AttemptLog {
    pub(crate) const fn stream(&self, stream: Stream) -> &Spool {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// No more comes: readers need not wait for this attempt.
    pub(crate) fn end(&self) {
        self.stdout.end();
        self.stderr.end();
    }

    fn is_empty(&self) -> bool {
        self.stdout.mark().length == 0 && self.stderr.mark().length == 0
    }

    pub(crate) fn discard(&self) {
        self.stdout.discard();
        self.stderr.discard();
    }
}

type Current = Option<Arc<AttemptLog>>;

/// The output streams of all actions that have not ended, and of those that ended without a result until what they wrote
/// is elsewhere.
#[derive(Debug)]
pub(crate) struct Logs {
    dir: PathBuf,
    memory: usize,
    limit: u64,
    operations: Mutex<HashMap<OperationId, OperationLog>>,
    /// Whose turn it is to keep what an action left.
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
enum OperationLog {
    Going(Going),
    /// Ended without a result: what its last attempt wrote.
    Left(Arc<AttemptLog>),
}

#[derive(Debug)]
struct Going {
    attempts: Vec<Arc<AttemptLog>>,
    current: watch::Sender<Current>,
}

impl Going {
    fn new() -> Self {
        Self { attempts: Vec::new(), current: watch::Sender::new(None) }
    }
}

impl Logs {
    pub(crate) fn open(dir: &Path, memory: usize, limit: u64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            memory,
            limit,
            operations: Mutex::default(),
            turns: Arc::new(Semaphore::new(1)),
        })
    }

    /// Makes an action known, so that its streams can be waited for.
    pub(crate) fn register(&self, id: OperationId) {
        self.lock().entry(id).or_insert_with(|| OperationLog::Going(Going::new()));
    }

    /// The streams of an attempt, which becomes the one that readers follow if it is the latest. With `resumed` a hub
    /// before this one may have left files of it.
    pub(crate) fn attempt(
        &self,
        record: &Arc<Record>,
        attempt: Attempt,
        worker: WorkerId,
        resumed: bool,
    ) -> io::Result<Arc<AttemptLog>> {
        let id = record.id;
        let mut operations = self.lock();
        let operation = operations.entry(id).or_insert_with(|| OperationLog::Going(Going::new()));
        let OperationLog::Going(operation) = operation else {
            return Err(io::Error::other("the action has ended"));
        };
        if let Some(log) = operation.attempts.iter().find(|log| log.attempt == attempt) {
            return Ok(Arc::clone(log));
        }
        let spool = |stream| {
            let path = self.dir.join(format!("{id}.{}.{stream}", attempt.0));
            if resumed {
                Spool::open(path, self.memory, self.limit)
            } else {
                Ok(Spool::new(path, self.memory, self.limit))
            }
        };
        let record = Arc::clone(record);
        let log = Arc::new(AttemptLog {
            record,
            attempt,
            worker,
            stdout: spool("1")?,
            stderr: spool("2")?,
        });
        if operation.attempts.iter().all(|other| other.attempt < attempt) {
            operation.current.send_replace(Some(Arc::clone(&log)));
        }
        operation.attempts.push(Arc::clone(&log));
        Ok(log)
    }

    /// The streams of an attempt that was granted; none for any other.
    pub(crate) fn find(&self, id: OperationId, attempt: Attempt) -> Option<Arc<AttemptLog>> {
        match self.lock().get(&id)? {
            OperationLog::Going(operation) => {
                operation.attempts.iter().find(|log| log.attempt == attempt).cloned()
            }
            OperationLog::Left(_) => None,
        }
    }

    /// The action has ended with this attempt's streams, or without any. Readers finish; files go. Where no result has what
    /// was written, that stays readable until [`Logs::forget`].
    pub(crate) fn finish(
        &self,
        id: OperationId,
        accepted: Option<Attempt>,
        has_result: bool,
    ) -> Option<Arc<AttemptLog>> {
        let mut operations = self.lock();
        let Some(OperationLog::Going(operation)) = operations.remove(&id) else { return None };
        for log in &operation.attempts {
            log.end();
            if Some(log.attempt) == accepted {
                operation.current.send_replace(Some(Arc::clone(log)));
            }
        }
        let of_attempt = |log: &&Arc<AttemptLog>| accepted.is_none_or(|it| log.attempt == it);
        let last = operation.attempts.iter().filter(of_attempt).max_by_key(|log| log.attempt);
        let left = last.filter(|log| !has_result && !log.is_empty()).cloned();
        if let Some(left) = &left {
            operations.insert(id, OperationLog::Left(Arc::clone(left)));
        }
        drop(operations);
        for log in operation.attempts {
            if left.as_ref().is_none_or(|left| !Arc::ptr_eq(left, &log)) {
                log.discard();
            }
        }
        left
    }

    /// Waits for those who came before. None at the hub's end.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Waits for all who came before, and lets nobody have a turn after that.
    pub(crate) async fn last_turn(&self) {
        let turn = self.turn().await;
        self.turns.close();
        drop(turn);
    }

    /// What an action left is kept elsewhere, or can't be kept.
    pub(crate) fn forget(&self, left: &AttemptLog) {
        self.lock().remove(&left.record.id);
        left.discard();
    }

    /// Removes what belongs to no action that is still known.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let operations = self.lock();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let known = name
                .to_str()
                .and_then(|name| name.split('.').next()?.parse::<OperationId>().ok())
                .is_some_and(|id| operations.contains_key(&id));
            if !known {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A reader of an action whose streams are here; none if there is no such action.
    pub(crate) fn reader(&self, id: OperationId, stream: Stream, offset: u64) -> Option<LogReader> {
        let current = match self.lock().get(&id)? {
            OperationLog::Going(operation) => operation.current.subscribe(),
            // Without its sender it says that nothing follows.
            OperationLog::Left(log) => watch::channel(Some(Arc::clone(log))).1,
        };
        Some(LogReader { current, stream, offset })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OperationId, OperationLog>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one stream of an action until the action has ended.
#[derive(Debug)]
pub(crate) struct LogReader {
    current: watch::Receiver<Current>,
    stream: Stream,
    offset: u64,
}

impl LogReader {
    /// The next piece, as soon as there is one; none after the end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let log = self.current.borrow_and_update().clone();
            let Some(log) = log else {
                // Queued: no attempt yet. The sender goes when the action has ended.
                self.current.changed().await.ok()?;
                continue;
            };
            let spool = log.stream(self.stream);
            let mut mark = spool.watch();
            let seen = *mark.borrow_and_update();
            if seen.length > self.offset {
                let piece = spool.read(self.offset, CHUNK);
                if let Ok(piece) = &piece {
                    self.offset += piece.len() as u64;
                }
                return Some(piece);
            }
            if seen.ended {
                self.current.changed().await.ok()?;
                continue;
            }
            tokio::select! {
                // Its error means that the spool's last owner is gone, which ours forbids.
                _grown = mark.changed() => {}
                next = self.current.changed() => if next.is_err() && spool.mark() == seen {
                    return None;
                },
            }
        }
    }
}
