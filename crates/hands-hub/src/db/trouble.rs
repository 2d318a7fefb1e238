//! What is the matter while nothing can be written: known to all who would wait for a commit, so that they say it
//! instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tonic::Status;

use super::Write;
use super::write::Writer;

/// Why nothing can be written just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    full: bool,
    why: Arc<str>,
}

impl Trouble {
    fn of(error: &rusqlite::Error) -> Self {
        let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        Self { full, why: error.to_string().into() }
    }

    /// What a caller is told whose wish can't be made durable. Never UNAVAILABLE, by which Bazel ends a whole build.
    pub(crate) fn status(&self) -> Status {
        if self.full {
            return Status::resource_exhausted(self.sentence());
        }
        Status::internal(self.sentence())
    }

    /// The same for people.
    pub(crate) fn sentence(&self) -> String {
        if self.full {
            return "the disk of the hub's state is full, so nothing new is accepted until there is room: free some, or ask \
                    whoever runs the hub"
                .to_owned();
        }
        format!(
            "the hub can't write its database ({}), so nothing new is accepted until it can: see the hub's log",
            self.why
        )
    }
}

/// What the writing thread and the others share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    trouble: watch::Sender<Option<Trouble>>,
    closing: AtomicBool,
}

/// Longest pause between two tries; how long after there is room again the hub goes on at the latest.
const PAUSE: Duration = Duration::from_millis(500);

impl Desk {
    pub(super) fn watch(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Commits, however long that takes: a result that was accepted is never dropped because a disk is full for a
    /// while. False if the table is closed before it could be done; then nothing that hangs on it may be said.
    pub(super) fn commit(&self, writer: &mut Writer, writes: &[Write]) -> bool {
        let mut pause = Duration::from_millis(10);
        loop {
            let Err(error) = writer.try_commit(writes) else {
                if self.trouble.send_replace(None).is_some() {
                    tracing::info!("the hub's database can be written again");
                }
                return true;
            };
            let trouble = Trouble::of(&error);
            let is_news = self.trouble.send_if_modified(|known| {
                known.replace(trouble.clone()).as_ref() != Some(&trouble)
            });
            if is_news {
                tracing::error!(%error, "the hub's database can't be written; what is accepted waits until it can");
            }
            // Its closing wakes it.
            if self.closing.load(Ordering::Acquire) {
                tracing::error!(
                    n_changes = writes.len(),
                    "the hub ends with changes that could not be written"
                );
                return false;
            }
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(PAUSE);
        }
    }
}
