//! Reading every blob that there is: finds what the disk has spoiled before somebody needs it.

use std::io;
use std::ops::ControlFlow;

use hands_types::Digest;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::index::Place;
use crate::read::{digest_of_stream, place, row};
use crate::recover::digest_of_key;
use crate::store::{Inner, Store};

/// What was read so far, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that were not what their digests say. They are in quarantine and no longer in the store.
    pub corrupt: Vec<Digest>,
}

/// Blobs looked up at once: the table is free for others between two pages.
const PAGE: i64 = 1024;

/// A row of the table, by which the next page is found.
struct Known {
    key: Vec<u8>,
    digest: Option<Digest>,
    place: Place,
}

impl Store {
    /// Reads every blob and compares it with its digest; corrupt ones go into quarantine. Not a use: what is evicted
    /// next stays the same. Calls `progress` after each page of blobs, which may end it early. Blocks for as long as
    /// the disk takes.
    pub fn verify(
        &self,
        mut progress: impl FnMut(&Verified) -> ControlFlow<()>,
    ) -> Result<Verified, StoreError> {
        // What is only in the log so far gets its row.
        self.flush()?;
        let mut verified = Verified::default();
        let mut after = Vec::new();
        loop {
            let known = self
                .inner
                .readers
                .read("read the list of blobs", |connection| next_page(connection, &after))?;
            let Some(last) = known.last() else { return Ok(verified) };
            after.clone_from(&last.key);
            for known in known {
                let Some(digest) = known.digest else { continue };
                match self.inner.verify(&digest, known.place)? {
                    Finding::Gone => continue,
                    Finding::Intact => {}
                    Finding::Corrupt => verified.corrupt.push(digest),
                }
                verified.blobs += 1;
                verified.bytes += digest.size;
            }
            if progress(&verified).is_break() {
                return Ok(verified);
            }
        }
    }
}

impl Store {
    /// Reads a blob again whatever is known of it, because what was read of it was wrong. A corrupt one goes into
    /// quarantine.
    pub fn recheck(&self, digest: &Digest) -> Result<(), StoreError> {
        self.inner.recheck(digest)
    }
}

fn next_page(connection: &Connection, after: &[u8]) -> rusqlite::Result<Vec<Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT key, size, pack, offset FROM blobs WHERE key > ?1 ORDER BY key LIMIT ?2",
    )?;
    let rows = statement.query_map((after, PAGE), |row| {
        let key: Vec<u8> = row.get(0)?;
        let digest = digest_of_key(&key, row.get(1)?);
        Ok(Known { key, digest, place: place(row.get(2)?, row.get(3)?) })
    })?;
    rows.collect()
}

enum Finding {
    Intact,
    Corrupt,
    /// Evicted since it was listed.
    Gone,
}

impl Inner {
    pub(crate) fn recheck(&self, digest: &Digest) -> Result<(), StoreError> {
        if digest.is_empty() {
            return Ok(());
        }
        // What is only in the log so far gets its row.
        self.flush_pending()?;
        if let Some(entry) = self.look_up(digest)? {
            // What it finds is logged and counted there.
            let (Finding::Intact | Finding::Corrupt | Finding::Gone) =
                self.verify(digest, entry.place)?;
        }
        Ok(())
    }

    fn verify(&self, digest: &Digest, listed: Place) -> Result<Finding, StoreError> {
        let mut place = listed;
        loop {
            if self.is_intact(digest, place)? {
                return Ok(Finding::Intact);
            }
            // Compaction moves blobs and eviction deletes them: only what is wrong where it is now is corrupt.
            match self.readers.read("look for a blob", |connection| row(connection, digest))? {
                None => return Ok(Finding::Gone),
                Some((now, _)) if now == place => break,
                Some((now, _)) => place = now,
            }
        }
        Ok(if self.report_corrupt(digest)? { Finding::Corrupt } else { Finding::Gone })
    }

    fn is_intact(&self, digest: &Digest, place: Place) -> Result<bool, StoreError> {
        let read = match place {
            Place::Pack { id, offset } => {
                let len = usize::try_from(digest.size).unwrap_or(usize::MAX);
                self.packs.read(id, offset, len).map(|content| {
                    content
                        .is_some_and(|bytes| hands_tree::hash(digest.function, &bytes) == *digest)
                })
            }
            Place::File => {
                let path = self.layout.blob(digest);
                match std::fs::File::open(&path) {
                    Ok(mut file) => digest_of_stream(digest.function, &mut file)
                        .map(|actual| actual == *digest)
                        .map_err(StoreError::io("read", &path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(error) => Err(StoreError::io("open", &path)(error)),
                }
            }
        };
        match read {
            // A sector that can't be read is as lost as one that reads wrong.
            Err(StoreError::Io { source, .. }) if is_io_error(&source) => Ok(false),
            other => other,
        }
    }
}

fn is_io_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
