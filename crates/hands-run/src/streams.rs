//! Our stdout and stderr as an action's live streams: written as they come, never mixed, never holding up signals.
//!
//! A reader that is slow (a pager) must not keep us from hearing Ctrl-C, so the blocking write happens on tokio's
//! blocking threads.

use std::io::{self, IsTerminal};

use hands_client::{Job, JobStream};
use tokio::io::{AsyncWriteExt, Stderr, Stdout};

use crate::out::StdoutError;

#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Stdout,
    stderr: Stderr,
    /// Whether the last that was written did not end a line.
    torn: bool,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { stdout: tokio::io::stdout(), stderr: tokio::io::stderr(), torn: false }
    }

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
        if std::mem::take(&mut self.torn) && io::stderr().is_terminal() {
            self.stderr(b"\n").await;
        }
    }

    fn is_torn(&mut self, bytes: &[u8]) {
        self.torn = bytes.last().map_or(self.torn, |last| *last != b'\n');
    }

    /// Writes to stdout; whoever read it may have gone.
    pub(crate) async fn stdout(&mut self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.is_torn(bytes);
        self.stdout.write_all(bytes).await?;
        Ok(self.stdout.flush().await?)
    }

    /// Writes to stderr; if nobody reads it, nobody misses it.
    pub(crate) async fn stderr(&mut self, bytes: &[u8]) {
        self.is_torn(bytes);
        if self.stderr.write_all(bytes).await.is_ok() && self.stderr.flush().await.is_err() {
            // Nobody is left to be told.
        }
    }
}
