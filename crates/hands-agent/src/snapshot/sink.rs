//! The agent's store as what images and tars are read into.

use std::io::{self, Read};

use bytes::Bytes;
use hands_image::{ImageError, Sink, SinkError};
use hands_store::StoreError;
use hands_types::Digest;

use super::stored::IntoStore;
use crate::error::{SnapshotError, sentence};

impl Sink for IntoStore<'_> {
    fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError> {
        let mut noting = Noting { inner: content, failed: None };
        let is_wanted = || IntoStore::is_wanted(self);
        let stored = self.to.store.ingest_stream(self.to.function, &mut noting, size, &is_wanted);
        let digest = match (stored, noting.failed) {
            (Ok(digest), _) => digest,
            (Err(_), Some(error)) => return Err(SinkError::Read(error)),
            (Err(error), None) => return Err(not_stored(&error)),
        };
        self.has_stored(&digest);
        Ok(digest)
    }

    fn directories(&self, directories: Vec<(Digest, Bytes)>) -> Result<(), SinkError> {
        self.put_directories(directories).map_err(|error| not_stored(&error))
    }

    fn is_wanted(&self) -> bool {
        IntoStore::is_wanted(self)
    }
}

/// Keeps what went wrong with reading, which the store would tell in its own words.
struct Noting<'a> {
    inner: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

fn not_stored(error: &StoreError) -> SinkError {
    SinkError::Store {
        message: format!("the agent's store: {}", sentence(error)),
        class: error.class(),
    }
}

/// Why an image or a tar was not read.
pub(super) fn image_error(display: &str, error: &ImageError) -> SnapshotError {
    match error {
        ImageError::Cancelled => SnapshotError::Cancelled,
        error => SnapshotError::Image {
            display: display.to_owned(),
            message: sentence(error),
            class: error.class(),
        },
    }
}
