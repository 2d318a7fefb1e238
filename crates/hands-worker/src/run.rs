//! One command in the executor, between the hub's input and the spools.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hands_exec::{ControlEvent, ExecError, ExecIo, ExecRequest, Executor, InputEvent, Ran, Stream};
use hands_proto::v1;
use hands_types::DigestFunction;
use hands_types::limits::MAX_STREAM;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::output::Streams;
use crate::spool::Spool;

/// Pieces of output under way from the executor: 1 MiB at most.
const PIECES: usize = 16;
/// A piece of this size may be one of a flood, which is not to keep everybody else of this thread waiting: the agent's
/// hub is among them.
const FLOOD: usize = 32 << 10;
const FED: usize = 64 << 10;
/// A part of the input that waits.
const PART: u64 = 64 << 20;

/// How a run ended for its worker.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// As the sandbox says.
    Ran(Ran),
    /// It could not be run, or the sandbox was lost.
    Failed(ExecError),
    /// Its output could not be kept. It was killed.
    Spool(io::Error),
    /// Its input could not be kept, or is too much. It was killed.
    Input(String),
}

/// What the hub sends for a running action, kept until the action takes it: the session must go on meanwhile.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<FeedState>,
    changed: Notify,
    of_terminal: bool,
    directory: PathBuf,
    /// Bytes that may wait.
    most: u64,
    /// Bytes of a part of them, about.
    part: u64,
}

#[derive(Debug)]
struct FeedState {
    /// What waits, in parts: one that was taken whole gives its memory and disk free.
    parts: VecDeque<Spool>,
    /// How much of the first part was taken.
    read: u64,
    /// Bytes that came in all.
    received: u64,
    /// Bytes that were taken in all.
    taken: u64,
    at_end: bool,
    /// The end has come, taken or not.
    has_end: bool,
    /// Sizes, signals and closed streams do not wait behind data.
    urgent: VecDeque<ControlEvent>,
    failed: Option<String>,
}

impl Feed {
    pub(crate) fn new(directory: &Path, of_terminal: bool) -> Self {
        Self::bounded(directory, of_terminal, MAX_STREAM, PART)
    }

    fn bounded(directory: &Path, of_terminal: bool, most: u64, part: u64) -> Self {
        let state = FeedState {
            parts: VecDeque::new(),
            read: 0,
            received: 0,
            taken: 0,
            at_end: false,
            has_end: false,
            urgent: VecDeque::new(),
            failed: None,
        };
        let directory = directory.to_owned();
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            of_terminal,
            directory,
            most,
            part,
        }
    }

    /// Takes an event from the hub. `offset` is how much of standard input went before it, as far as that is counted.
    pub(crate) fn push(&self, kind: v1::input::Kind, offset: u64) {
        let mut state = lock(&self.state);
        // Several people may type at one terminal: what is missing there they see.
        let is_missing = offset > state.received && !self.of_terminal;
        if state.failed.is_some() {
            // What comes after it is missing for this reason, and for no other.
            return;
        }
        match kind {
            v1::input::Kind::Data(_) | v1::input::Kind::Eof(_) if is_missing => {
                state.failed = Some(
                    "a connection was lost, and some of the action's standard input with it"
                        .to_owned(),
                );
            }
            v1::input::Kind::Data(bytes) => {
                if state.received - state.taken + bytes.len() as u64 > self.most {
                    state.failed = Some(format!(
                        "more than {} MiB of standard input are waiting",
                        self.most >> 20
                    ));
                } else if let Err(error) = state.append(&self.directory, self.part, &bytes) {
                    state.failed =
                        Some(format!("the worker can't keep the action's input: {error}"));
                } else {
                    state.received += bytes.len() as u64;
                }
            }
            // One end of a stream is enough; a terminal takes each.
            v1::input::Kind::Eof(_) => {
                state.at_end |= self.of_terminal || !state.has_end;
                state.has_end = true;
            }
            v1::input::Kind::Resize(size) => {
                let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                state.urgent.push_back(ControlEvent::Resize(short(size.rows), short(size.columns)));
            }
            v1::input::Kind::Signal(number) => state.urgent.push_back(ControlEvent::Signal(number)),
            v1::input::Kind::StdoutClosed(_) => {
                state.urgent.push_back(ControlEvent::Close(Stream::Stdout));
            }
            v1::input::Kind::StderrClosed(_) => {
                state.urgent.push_back(ControlEvent::Close(Stream::Stderr));
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// How many bytes of standard input are here or were taken, and whether no more follow. None for a terminal, and where
    /// some are missing.
    pub(crate) fn received(&self) -> Option<(u64, bool)> {
        let state = lock(&self.state);
        (!self.of_terminal && state.failed.is_none()).then_some((state.received, state.has_end))
    }

    /// The next event that does not wait behind data, if there is one.
    fn next_control(&self) -> Option<ControlEvent> {
        lock(&self.state).urgent.pop_front()
    }

    /// The next of the action's input, if there is any.
    fn next(&self) -> Result<Option<InputEvent>, String> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.failed {
            return Err(why.clone());
        }
        let bytes = state.take().map_err(|e| format!("the worker lost the action's input: {e}"))?;
        if !bytes.is_empty() {
            return Ok(Some(InputEvent::Data(bytes)));
        }
        if state.at_end {
            state.at_end = false;
            return Ok(Some(InputEvent::Eof));
        }
        Ok(None)
    }
}

impl FeedState {
    fn append(&mut self, directory: &Path, part: u64, bytes: &[u8]) -> io::Result<()> {
        if self.parts.back().is_none_or(|last| last.length() >= part) {
            self.parts.push_back(Spool::new(directory, DigestFunction::Sha256));
        }
        self.parts.back_mut().map_or(Ok(()), |last| last.append(bytes))
    }

    /// The next bytes; none if there are none.
    fn take(&mut self) -> io::Result<Bytes> {
        let Some(first) = self.parts.front() else { return Ok(Bytes::new()) };
        let bytes = first.read(self.read, FED)?;
        self.read += bytes.len() as u64;
        self.taken += bytes.len() as u64;
        if self.read == first.length() {
            self.parts.pop_front();
            self.read = 0;
        }
        Ok(bytes)
    }
}

/// Runs a command to its end; `cancel` kills it.
pub(crate) async fn run(
    executor: Executor,
    request: ExecRequest,
    streams: Arc<Mutex<Streams>>,
    feed: Arc<Feed>,
    cancel: oneshot::Receiver<()>,
) -> RunEnd {
    let (output, mut pieces) = mpsc::channel(PIECES);
    let (input, events) = mpsc::channel(4);
    let (control, controls) = mpsc::channel(4);
    let cancelled = async {
        // A dropped sender is a worker that ends.
        let _either = cancel.await;
    };
    let io = ExecIo { output, input: Some(events), control: Some(controls) };
    let running = executor.run(request, io, cancelled);
    let mut running = std::pin::pin!(running);
    let mut spool_error = None;
    let mut next = None;
    let mut next_control = None;
    let ended = loop {
        if next.is_none() {
            match feed.next() {
                Ok(event) => next = event,
                // Dropping the run kills the action.
                Err(why) => return RunEnd::Input(why),
            }
        }
        next_control = next_control.or_else(|| feed.next_control());
        tokio::select! {
            biased;
            piece = pieces.recv(), if !pieces.is_closed() || !pieces.is_empty() => {
                let Some(piece) = piece else { continue };
                let appended = lock(&streams).append(piece.stream, &piece.bytes);
                if let Err(error) = appended {
                    spool_error = Some(error);
                    // Nobody takes its output any more: the executor kills it.
                    pieces.close();
                }
                if piece.bytes.len() >= FLOOD {
                    tokio::task::yield_now().await;
                }
            }
            ended = &mut running => break ended,
            permit = reserve(&control), if next_control.is_some() => {
                if let Some(event) = next_control.take() {
                    permit.send(event);
                }
            }
            permit = reserve(&input), if next.is_some() => {
                if let Some(event) = next.take() {
                    permit.send(event);
                }
            }
            () = feed.changed.notified(), if next.is_none() || next_control.is_none() => {}
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        if spool_error.is_none()
            && let Err(error) = lock(&streams).append(piece.stream, &piece.bytes)
        {
            spool_error = Some(error);
        }
    }
    match (spool_error, ended) {
        (Some(error), _) => RunEnd::Spool(error),
        (None, Ok(ran)) => RunEnd::Ran(ran),
        (None, Err(error)) => RunEnd::Failed(error),
    }
}

async fn reserve<T>(events: &mpsc::Sender<T>) -> mpsc::Permit<'_, T> {
    match events.reserve().await {
        Ok(permit) => permit,
        // The action takes no input any more; it ends by itself.
        Err(_) => std::future::pending().await,
    }
}

/// Nothing that holds these locks leaves a stream half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
