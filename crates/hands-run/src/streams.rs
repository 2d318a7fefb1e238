//! Our stdout and stderr as an action's live streams: written as they come, never mixed, never holding up signals.
//!
//! A reader that is slow (a pager) must not keep us from hearing Ctrl-C, so the blocking write happens on one of tokio's
//! blocking threads. A stream whose reader has gone takes no more.

use std::io::{self, IsTerminal};

use bytes::Bytes;
use hands_client::{Job, JobStream};
use hands_front::StdoutError;
use hands_front::stdio::{Target, write_all};
use tokio::task::{JoinHandle, spawn_blocking};

/// Why nothing more of a stream is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its reader has gone, or takes nothing.
    Closed,
    /// It goes to a file that can't be written: a full disk, for one.
    Unwritable,
}

#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Streams of which nothing more is shown, and why.
    cuts: [Option<Cut>; 2],
    /// The write that is under way, and whose.
    writing: Option<(JobStream, JoinHandle<io::Result<()>>)>,
    /// Whether the last that was written did not end a line.
    torn: bool,
    /// Whether something went where it can't be taken back: into a pipe or a file.
    is_spent: bool,
}

impl Streams {
    /// A person at a terminal sees where another attempt begins, so that its output may begin anew there. What went into a
    /// pipe or a file can't be taken back.
    pub(crate) fn restart_on_terminals(job: &mut Job) {
        if io::stdout().is_terminal() {
            job.restart(JobStream::Stdout);
        }
        if io::stderr().is_terminal() {
            job.restart(JobStream::Stderr);
        }
    }

    /// What is shown next begins a line.
    pub(crate) async fn end_line(&mut self) {
        if std::mem::take(&mut self.torn)
            && io::stderr().is_terminal()
            && self.stderr(b"\n").await.is_err()
        {
            // Nobody is left to see it.
        }
    }

    /// Whether some of what an action wrote went where another run's output can't begin anew.
    pub(crate) const fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Whether a write is under way.
    pub(crate) const fn is_busy(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether some of what an action wrote could not be shown, because its reader has gone.
    pub(crate) fn is_cut(&self) -> bool {
        self.cuts.contains(&Some(Cut::Closed))
    }

    /// Whether some of what an action wrote could not be shown, because it goes to a file that can't be written.
    pub(crate) fn is_unwritable(&self) -> bool {
        self.cuts.contains(&Some(Cut::Unwritable))
    }

    /// The streams whose readers have gone.
    pub(crate) fn closed_ones(&self) -> impl Iterator<Item = JobStream> {
        let both = [JobStream::Stdout, JobStream::Stderr].into_iter();
        both.filter(|stream| self.cuts[index(*stream)] == Some(Cut::Closed))
    }

    /// Shows nothing more of a stream.
    pub(crate) fn cut(&mut self, stream: JobStream, why: Cut) {
        self.cuts[index(stream)] = Some(why);
    }

    /// Leaves the write that is under way to itself: its reader takes nothing. Nothing more of that stream is shown.
    pub(crate) fn give_up(&mut self) {
        if let Some((stream, _left)) = self.writing.take() {
            self.cut(stream, Cut::Closed);
        }
    }

    /// Begins to write; only when no write is under way.
    pub(crate) fn begin(&mut self, stream: JobStream, bytes: Bytes) {
        debug_assert!(!self.is_busy(), "a write begins before the last one has ended");
        if self.cuts[index(stream)].is_some() || bytes.is_empty() {
            return;
        }
        self.torn = bytes.last().map_or(self.torn, |last| *last != b'\n');
        let (target, is_terminal) = match stream {
            JobStream::Stdout => (Target::Stdout, io::stdout().is_terminal()),
            JobStream::Stderr => (Target::Stderr, io::stderr().is_terminal()),
        };
        self.is_spent |= !is_terminal;
        self.writing = Some((stream, spawn_blocking(move || write_all(target, &bytes))));
    }

    /// Waits until the write that is under way has ended. May be dropped and called again. A stderr that can't be
    /// written is nobody's loss, unless its reader has gone.
    pub(crate) async fn written(&mut self) -> Result<(), (JobStream, StdoutError)> {
        let Some((stream, writing)) = &mut self.writing else { return Ok(()) };
        let stream = *stream;
        let written = writing.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        self.writing = None;
        match (stream, written.map_err(StdoutError::from)) {
            (_, Ok(())) | (JobStream::Stderr, Err(StdoutError::Write(_))) => Ok(()),
            (_, Err(error)) => Err((stream, error)),
        }
    }

    /// Writes to stdout; whoever read it may have gone.
    pub(crate) async fn stdout(&mut self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.all(JobStream::Stdout, bytes).await
    }

    /// Writes to stderr; whoever read it may have gone.
    pub(crate) async fn stderr(&mut self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.all(JobStream::Stderr, bytes).await
    }

    async fn all(&mut self, stream: JobStream, bytes: &[u8]) -> Result<(), StdoutError> {
        self.written().await.map_err(|(_, error)| error)?;
        self.begin(stream, Bytes::copy_from_slice(bytes));
        self.written().await.map_err(|(_, error)| error)
    }
}

const fn index(stream: JobStream) -> usize {
    match stream {
        JobStream::Stdout => 0,
        JobStream::Stderr => 1,
    }
}
