//! The output streams of all running actions, and how they are read: from any offset, by any number of readers, live.
//!
//! A reader belongs to one attempt from the first byte that it was given: an offset means nothing in another attempt's
//! stream. When the attempt is lost, the read ends with an error. A reader that was given nothing yet goes on to the next.

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
use crate::spool::{End, Spool};

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

    /// Whether more comes, and if not, why: readers need not wait for this attempt.
    fn set_end(&self, end: Option<End>) {
        self.stdout.set_end(end);
        self.stderr.set_end(end);
    }

    fn is_lost(&self) -> bool {
        self.stdout.mark().end == Some(End::Lost)
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

/// The output streams of all actions that have been leased or are read, and of those that ended without a result until what they wrote
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
    /// No attempt and no reader so far.
    Queued,
    Going(Box<Going>),
    /// Ended without a result: what its last attempt wrote.
    Left(Arc<AttemptLog>),
}

impl OperationLog {
    /// Its streams, from now on; none where it has ended.
    fn going(&mut self) -> Option<&mut Going> {
        if matches!(self, Self::Queued) {
            *self = Self::Going(Box::new(Going::new()));
        }
        match self {
            Self::Going(going) => Some(going),
            Self::Queued | Self::Left(_) => None,
        }
    }
}

#[derive(Debug)]
struct Going {
    attempts: Vec<Arc<AttemptLog>>,
    /// The oldest that is not lost: where readers begin that name no attempt.
    current: watch::Sender<Current>,
}

impl Going {
    fn new() -> Self {
        Self { attempts: Vec::new(), current: watch::Sender::new(None) }
    }

    /// The one attempt that there ever was, or that ever wrote anything.
    fn only(&self) -> Option<Arc<AttemptLog>> {
        let current = self.current.borrow().clone()?;
        let others = self.attempts.iter().filter(|log| log.attempt != current.attempt);
        let all_known = usize::try_from(current.attempt.0) == Ok(self.attempts.len());
        (all_known && others.into_iter().all(|log| log.is_empty())).then_some(current)
    }

    fn choose(&self) {
        let alive = self.attempts.iter().filter(|log| !log.is_lost());
        let oldest = alive.min_by_key(|log| log.attempt).cloned();
        self.current.send_if_modified(|current| {
            let same =
                current.as_ref().map(|log| log.attempt) == oldest.as_ref().map(|log| log.attempt);
            *current = oldest;
            !same
        });
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

    /// Makes an action known that has no attempt, so that its streams can be waited for until [`Logs::finish`].
    pub(crate) fn register(&self, id: OperationId) {
        self.lock().entry(id).or_insert(OperationLog::Queued);
    }

    /// The streams of an attempt; one that was lost is not, if its worker brings it back. With `resumed` a hub before this
    /// one may have left files of it.
    pub(crate) fn attempt(
        &self,
        record: &Arc<Record>,
        attempt: Attempt,
        worker: WorkerId,
        resumed: bool,
    ) -> io::Result<Arc<AttemptLog>> {
        let id = record.id;
        let mut operations = self.lock();
        let Some(operation) = operations.entry(id).or_insert(OperationLog::Queued).going() else {
            return Err(io::Error::other("the action has ended"));
        };
        if let Some(log) = operation.attempts.iter().find(|log| log.attempt == attempt) {
            let log = Arc::clone(log);
            log.set_end(None);
            operation.choose();
            return Ok(log);
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
        operation.attempts.push(Arc::clone(&log));
        operation.choose();
        Ok(log)
    }

    /// An attempt was lost: whoever was given something of it is told so.
    pub(crate) fn lost(&self, id: OperationId, attempt: Attempt) {
        if let Some(OperationLog::Going(operation)) = self.lock().get(&id)
            && let Some(log) = operation.attempts.iter().find(|log| log.attempt == attempt)
        {
            log.set_end(Some(End::Lost));
            operation.choose();
        }
    }

    /// The streams of an attempt that was granted; none for any other.
    pub(crate) fn find(&self, id: OperationId, attempt: Attempt) -> Option<Arc<AttemptLog>> {
        match self.lock().get(&id)? {
            OperationLog::Going(operation) => {
                operation.attempts.iter().find(|log| log.attempt == attempt).cloned()
            }
            OperationLog::Queued | OperationLog::Left(_) => None,
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
        let of_attempt = |log: &&Arc<AttemptLog>| accepted.is_none_or(|it| log.attempt == it);
        let last = operation.attempts.iter().filter(of_attempt).max_by_key(|log| log.attempt);
        for log in &operation.attempts {
            let is_last = last.is_some_and(|last| Arc::ptr_eq(last, log));
            log.set_end(Some(if is_last { End::Whole } else { End::Lost }));
        }
        operation.current.send_replace(last.cloned());
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

    /// Keeps no room for more actions than there are.
    pub(crate) fn let_go(&self) {
        self.lock().shrink_to(crate::core::ROOMY);
    }

    /// Removes what belongs to no action that is still known.
    pub(crate) fn sweep(&self, is_known: impl Fn(OperationId) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let known = name
                .to_str()
                .and_then(|name| name.split('.').next()?.parse::<OperationId>().ok())
                .is_some_and(&is_known);
            if !known {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// A reader of an action whose streams are here; none if there is no such action. Without an attempt's number it
    /// takes the one that is there when the first byte is.
    pub(crate) fn reader(
        &self,
        id: OperationId,
        attempt: Option<Attempt>,
        stream: Stream,
        offset: u64,
    ) -> Option<Result<LogReader, LogError>> {
        let mut operations = self.lock();
        let operation = operations.get_mut(&id)?;
        let (current, found) = match operation {
            OperationLog::Queued | OperationLog::Going(_) => {
                let operation = operation.going()?;
                let current = operation.current.subscribe();
                let found = match attempt {
                    Some(attempt) => {
                        let found = operation.attempts.iter().find(|log| log.attempt == attempt);
                        Some(found.cloned().ok_or(LogError::Lost { attempt }))
                    }
                    None if offset == 0 => None,
                    None => Some(operation.only().ok_or(LogError::Unnamed { offset })),
                };
                (current, found)
            }
            OperationLog::Left(log) => {
                let lost = attempt.filter(|attempt| log.attempt != *attempt);
                let found = lost
                    .map_or_else(|| Ok(Arc::clone(log)), |it| Err(LogError::Lost { attempt: it }));
                // Without its sender it says that nothing follows.
                (watch::channel(None).1, Some(found))
            }
        };
        drop(operations);
        let bound = match found.transpose() {
            Ok(bound) => bound,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(LogReader { current, bound, stream, offset, failed: false }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OperationId, OperationLog>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a stream can't be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("attempt {} was lost, and what it wrote ends here: another attempt has streams of its own", attempt.0)]
    Lost { attempt: Attempt },
    #[error("there was more than one attempt: a read from byte {offset} on has to name one")]
    Unnamed { offset: u64 },
    #[error("a spool can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads one stream of an action until the action, or the attempt that it belongs to, has ended.
#[derive(Debug)]
pub(crate) struct LogReader {
    current: watch::Receiver<Current>,
    /// The attempt that it belongs to.
    bound: Option<Arc<AttemptLog>>,
    stream: Stream,
    offset: u64,
    failed: bool,
}

impl LogReader {
    /// The next piece, as soon as there is one; none after the end or an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, LogError>> {
        if self.failed {
            return None;
        }
        let piece = self.piece().await;
        self.failed = matches!(piece, Some(Err(_)));
        piece
    }

    async fn piece(&mut self) -> Option<Result<Bytes, LogError>> {
        loop {
            let is_bound = self.bound.is_some();
            let log = match &self.bound {
                Some(log) => Some(Arc::clone(log)),
                None => self.current.borrow_and_update().clone(),
            };
            let Some(log) = log else {
                // Queued: no attempt yet. The sender goes when the action has ended.
                self.current.changed().await.ok()?;
                continue;
            };
            let spool = log.stream(self.stream);
            let mut mark = spool.watch();
            let seen = *mark.borrow_and_update();
            if seen.length > self.offset {
                let (offset, stream) = (self.offset, self.stream);
                let piece = match spool.read_in_memory(offset, CHUNK) {
                    Some(piece) => Ok(piece),
                    None => {
                        let log = Arc::clone(&log);
                        crate::task::blocking(move || log.stream(stream).read(offset, CHUNK))
                            .await
                            .map_err(std::io::Error::other)
                            .flatten()
                    }
                };
                if let Ok(piece) = &piece {
                    self.offset += piece.len() as u64;
                }
                self.bound = Some(log);
                return Some(piece.map_err(LogError::Io));
            }
            match seen.end {
                Some(End::Whole) => return None,
                Some(End::Lost) if is_bound => {
                    return Some(Err(LogError::Lost { attempt: log.attempt }));
                }
                Some(End::Lost) => {
                    self.current.changed().await.ok()?;
                    continue;
                }
                None => {}
            }
            tokio::select! {
                // Its error means that the spool's last owner is gone, which ours forbids.
                _grown = mark.changed() => {}
                // Its error means that the action has ended, which the mark says, too.
                Ok(()) = self.current.changed(), if !is_bound => {}
            }
        }
    }
}
