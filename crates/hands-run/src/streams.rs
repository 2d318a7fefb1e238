//! Our stdout and stderr as an action's live streams: written as they come, never mixed, never holding up signals.
//!
//! A reader that is slow (a pager) must not keep us from hearing Ctrl-C, so the blocking write happens on tokio's
//! blocking threads.

use tokio::io::{AsyncWriteExt, Stderr, Stdout};

use crate::out::StdoutError;

#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Stdout,
    stderr: Stderr,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { stdout: tokio::io::stdout(), stderr: tokio::io::stderr() }
    }

    /// Writes to stdout; whoever read it may have gone.
    pub(crate) async fn stdout(&mut self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.stdout.write_all(bytes).await?;
        Ok(self.stdout.flush().await?)
    }

    /// Writes to stderr; if nobody reads it, nobody misses it.
    pub(crate) async fn stderr(&mut self, bytes: &[u8]) {
        if self.stderr.write_all(bytes).await.is_ok() && self.stderr.flush().await.is_err() {
            // Nobody is left to be told.
        }
    }
}
