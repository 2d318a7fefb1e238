//! Uploads whose stream broke, kept for their client's next try.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hands_store::BlobWriter;
use hands_types::Digest;

use crate::UploadName;

/// Each holds a file open.
const MOST: usize = 32;
const LIFE: Duration = Duration::from_secs(600);

/// The parked uploads, oldest first.
#[derive(Default)]
pub(super) struct Uploads {
    parked: Mutex<VecDeque<Parked>>,
}

struct Parked {
    uuid: String,
    digest: Digest,
    writer: BlobWriter,
    since: Instant,
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads").finish_non_exhaustive()
    }
}

impl Parked {
    fn is(&self, name: &UploadName) -> bool {
        self.uuid == name.uuid && self.digest == name.blob.digest
    }
}

impl Uploads {
    /// Keeps a writer for the next stream of the same name. Beyond the bound the oldest goes.
    pub(super) fn park(&self, name: &UploadName, writer: BlobWriter) {
        if writer.written() == 0 {
            return;
        }
        let now = Instant::now();
        let dropped: Vec<Parked> = {
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            parked.push_back(Parked {
                uuid: name.uuid.clone(),
                digest: name.blob.digest,
                writer,
                since: now,
            });
            let stale = parked.iter().take_while(|p| now.duration_since(p.since) > LIFE).count();
            let over = parked.len().saturating_sub(MOST);
            parked.drain(..stale.max(over)).collect()
        };
        // Outside the lock: dropping a writer deletes its file.
        drop(dropped);
    }

    /// The writer that was parked under this name.
    pub(super) fn take(&self, name: &UploadName) -> Option<BlobWriter> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let at = parked.iter().rposition(|p| p.is(name))?;
        parked.remove(at).map(|p| p.writer)
    }

    /// How much of the upload is here.
    pub(super) fn written(&self, name: &UploadName) -> u64 {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.iter().rfind(|p| p.is(name)).map_or(0, |p| p.writer.written())
    }
}
