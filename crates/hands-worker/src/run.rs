//! One command in the executor, between the hub's input and the spools.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hands_exec::{ExecError, ExecIo, ExecRequest, Executor, InputEvent, Ran, Stream};
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
}

#[derive(Debug)]
struct FeedState {
    spool: Spool,
    read: u64,
    /// Bytes that came in all.
    received: u64,
    at_end: bool,
    /// Sizes, signals and closed streams do not wait behind data.
    urgent: VecDeque<InputEvent>,
    failed: Option<String>,
}

impl Feed {
    pub(crate) fn new(directory: &Path, of_terminal: bool) -> Self {
        let spool = Spool::new(directory, DigestFunction::Sha256);
        let state = FeedState {
            spool,
            read: 0,
            received: 0,
            at_end: false,
            urgent: VecDeque::new(),
            failed: None,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), of_terminal }
    }

    /// Takes an event from the hub. `offset` is how much of standard input went before it, as far as that is counted.
    pub(crate) fn push(&self, kind: v1::input::Kind, offset: u64) {
        let mut state = lock(&self.state);
        // Several people may type at one terminal: what is missing there they see.
        let is_missing = offset > state.received && !self.of_terminal;
        match kind {
            v1::input::Kind::Data(_) | v1::input::Kind::Eof(_) if is_missing => {
                state.failed = Some(
                    "a connection was lost, and some of the action's standard input with it"
                        .to_owned(),
                );
            }
            v1::input::Kind::Data(bytes) => {
                if state.spool.length() + bytes.len() as u64 > MAX_STREAM {
                    state.failed = Some(format!(
                        "more than {} MiB of standard input are waiting",
                        MAX_STREAM >> 20
                    ));
                } else if let Err(error) = state.spool.append(&bytes) {
                    state.failed =
                        Some(format!("the worker can't keep the action's input: {error}"));
                } else {
                    state.received += bytes.len() as u64;
                }
            }
            v1::input::Kind::Eof(_) => state.at_end = true,
            v1::input::Kind::Resize(size) => {
                let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
                state.urgent.push_back(InputEvent::Resize(short(size.rows), short(size.columns)));
            }
            v1::input::Kind::Signal(number) => state.urgent.push_back(InputEvent::Signal(number)),
            v1::input::Kind::StdoutClosed(_) => {
                state.urgent.push_back(InputEvent::Close(Stream::Stdout));
            }
            v1::input::Kind::StderrClosed(_) => {
                state.urgent.push_back(InputEvent::Close(Stream::Stderr));
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The next event for the action, if there is one.
    fn next(&self, directory: &Path) -> Result<Option<InputEvent>, String> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.failed {
            return Err(why.clone());
        }
        if let Some(event) = state.urgent.pop_front() {
            return Ok(Some(event));
        }
        let bytes: Bytes = state
            .spool
            .read(state.read, FED)
            .map_err(|e| format!("the worker lost the action's input: {e}"))?;
        if !bytes.is_empty() {
            state.read += bytes.len() as u64;
            if state.read == state.spool.length() {
                // All taken: memory and disk are free again.
                state.spool = Spool::new(directory, DigestFunction::Sha256);
                state.read = 0;
            }
            return Ok(Some(InputEvent::Data(bytes)));
        }
        if state.at_end {
            state.at_end = false;
            return Ok(Some(InputEvent::Eof));
        }
        Ok(None)
    }
}

/// Runs a command to its end; `cancel` kills it.
pub(crate) async fn run(
    executor: Executor,
    request: ExecRequest,
    streams: Arc<Mutex<Streams>>,
    feed: Arc<Feed>,
    state_dir: Arc<Path>,
    cancel: oneshot::Receiver<()>,
) -> RunEnd {
    let (output, mut pieces) = mpsc::channel(PIECES);
    let (input, events) = mpsc::channel(4);
    let cancelled = async {
        // A dropped sender is a worker that ends.
        let _either = cancel.await;
    };
    let running = executor.run(request, ExecIo { output, input: Some(events) }, cancelled);
    let mut running = std::pin::pin!(running);
    let mut spool_error = None;
    let mut next = None;
    let ended = loop {
        if next.is_none() {
            match feed.next(&state_dir) {
                Ok(event) => next = event,
                // Dropping the run kills the action.
                Err(why) => return RunEnd::Input(why),
            }
        }
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
            permit = reserve(&input), if next.is_some() => {
                if let Some(event) = next.take() {
                    permit.send(event);
                }
            }
            () = feed.changed.notified(), if next.is_none() => {}
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

async fn reserve(input: &mpsc::Sender<InputEvent>) -> mpsc::Permit<'_, InputEvent> {
    match input.reserve().await {
        Ok(permit) => permit,
        // The action takes no input any more; it ends by itself.
        Err(_) => std::future::pending().await,
    }
}

/// Nothing that holds these locks leaves a stream half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
