//! Finding and reading blobs.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction};
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::StoreError;
use crate::files::{FILE, open_blob};
use crate::index::{Entry, Lookup, Place};
use crate::linked::Linked;
use crate::recover::key;
use crate::store::{Inner, Store};
use crate::turn::TURN;

/// Bytes read at once while a large blob is hashed.
pub(crate) const CHUNK: usize = 1 << 20;

/// A blob open for reading. Stays readable if the blob is evicted meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    File { file: File, path: PathBuf },
}

impl BlobReader {
    /// Bytes of the whole blob.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `offset` on; fewer only at the end, none beyond it.
    pub fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(left);
        match &self.content {
            Content::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(from..from + len))
            }
            Content::File { file, path } => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset).map_err(StoreError::io("read", path))?;
                Ok(bytes.into())
            }
        }
    }

    /// The file of a large blob, for `sendfile`, `copy_file_range` or a descriptor to hand on. Never write to it.
    pub const fn file(&self) -> Option<&File> {
        match &self.content {
            Content::File { file, .. } => Some(file),
            Content::Memory(_) => None,
        }
    }
}

impl Store {
    /// Those of the blobs that are not here, each once, in the order in which they were asked for. Counts as a use of those that
    /// are. The empty blob is always here.
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        self.inner.missing(digests)
    }

    /// Whether a blob is here. Counts as a use.
    pub fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.inner.missing(std::slice::from_ref(digest))?.is_empty())
    }

    /// A whole blob, checked against its digest. `None` if it is not here, or was found corrupt, which is logged
    /// and puts it into quarantine.
    pub fn read(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.inner.read(digest)
    }

    /// Opens a blob. One of many bytes is hashed first, unless that was done since the start and nobody has written to
    /// its file; who reads all of it should hash it again and tell [`Store::recheck`] what does not fit. `None` as in
    /// [`Store::read`].
    pub fn reader(&self, digest: &Digest) -> Result<Option<BlobReader>, StoreError> {
        let content = match self.inner.look_up(digest)? {
            Some(Entry { place: Place::File, .. }) if !digest.is_empty() => {
                match self.inner.verified_file(digest)? {
                    Some(file) => Content::File { file, path: self.inner.layout.blob(digest) },
                    None => return Ok(None),
                }
            }
            _ => match self.inner.read(digest)? {
                Some(bytes) => Content::Memory(bytes),
                None => return Ok(None),
            },
        };
        Ok(Some(BlobReader { size: digest.size, content }))
    }
}

/// The digest of everything that a reader yields.
pub fn digest_of_stream(function: DigestFunction, stream: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new(function);
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Inner {
    pub(crate) fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let now = self.now();
        let mut absent = vec![false; digests.len()];
        let mut unknown = Vec::new();
        for (n, some) in digests.chunks(TURN).enumerate() {
            let mut index = self.index_in_turn();
            for (i, digest) in (n * TURN..).zip(some) {
                if digest.is_empty() {
                    absent[i] = *digest != hands_tree::empty(digest.function);
                    continue;
                }
                match index.look_up(digest, now) {
                    Lookup::Found(_) => {}
                    Lookup::Absent => absent[i] = true,
                    Lookup::Unknown => unknown.push(i),
                }
            }
        }
        if !unknown.is_empty() {
            let found = self.readers.read("look for blobs", |connection| {
                unknown
                    .iter()
                    .map(|&i| row(connection, &digests[i]))
                    .collect::<rusqlite::Result<Vec<_>>>()
            })?;
            for (some, found) in unknown.chunks(TURN).zip(found.chunks(TURN)) {
                let mut index = self.index_in_turn();
                for (&i, found) in some.iter().zip(found) {
                    absent[i] = match *found {
                        Some((place, stored)) => {
                            index.learn(digests[i], place, stored, now).is_none()
                        }
                        // It may have come in since the database was asked.
                        None => !matches!(index.look_up(&digests[i], now), Lookup::Found(_)),
                    };
                }
            }
        }
        let mut missing: Vec<Digest> = digests
            .iter()
            .zip(absent)
            .filter(|(_, absent)| *absent)
            .map(|(digest, _)| *digest)
            .collect();
        if missing.len() > 1 {
            // Not the index's hashing: these are whatever a client made up.
            let mut seen = HashSet::new();
            missing.retain(|digest| seen.insert(*digest));
        }
        Ok(missing)
    }

    /// Where a blob is. Counts as a use.
    pub(crate) fn look_up(&self, digest: &Digest) -> Result<Option<Entry>, StoreError> {
        let now = self.now();
        match self.index().look_up(digest, now) {
            Lookup::Found(entry) => return Ok(Some(entry)),
            Lookup::Absent => return Ok(None),
            Lookup::Unknown => {}
        }
        let found = self.readers.read("look for a blob", |connection| row(connection, digest))?;
        let mut index = self.index();
        Ok(match found {
            Some((place, stored)) => index.learn(*digest, place, stored, now),
            None => match index.look_up(digest, now) {
                Lookup::Found(entry) => Some(entry),
                Lookup::Absent | Lookup::Unknown => None,
            },
        })
    }

    pub(crate) fn read(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        if digest.is_empty() {
            return Ok((*digest == hands_tree::empty(digest.function)).then(Bytes::new));
        }
        // A place that was looked up may be outdated by the time it is read: compaction moves blobs.
        let mut tries = 0;
        loop {
            let Some(entry) = self.look_up(digest)? else { return Ok(None) };
            tries += 1;
            let content = match entry.place {
                Place::Pack { id, offset } => {
                    let len = usize::try_from(digest.size).unwrap_or(usize::MAX);
                    self.packs.read(id, offset, len)?
                }
                Place::File => self.read_file(digest)?,
            };
            match content {
                // Hashed on every read: disks spoil what was right before.
                Some(bytes) if hands_tree::hash(digest.function, &bytes) == *digest => {
                    return Ok(Some(bytes.into()));
                }
                Some(_) if tries > 1 => {
                    let _removed = self.report_corrupt(digest)?;
                    return Ok(None);
                }
                None if tries > 3 => {
                    let _removed = self.report_corrupt(digest)?;
                    return Ok(None);
                }
                Some(_) | None => self.index().forget(digest),
            }
        }
    }

    fn read_file(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.layout.blob(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(digest.size).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        Ok(Some(bytes))
    }

    /// The file of a large blob, positioned at its start and known to hold what its digest says.
    pub(crate) fn verified_file(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        self.verified(digest, Linked::is_untouched)
    }

    /// The same for a tree, whose files are read by who knows whom: the file is read here unless this process has written it or has
    /// read it before, and nobody else has touched it since.
    pub(crate) fn watched_file(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        self.verified(digest, Linked::is_as_left)
    }

    fn verified(
        &self,
        digest: &Digest,
        is_untouched: impl FnOnce(&Linked, &File) -> io::Result<bool>,
    ) -> Result<Option<File>, StoreError> {
        let path = self.layout.blob(digest);
        let opened = match open_blob(&path, digest.size, FILE) {
            Ok(opened) => Some(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        if let Some((mut file, intact)) = opened {
            let verified = self.look_up(digest)?.is_some_and(|entry| entry.verified);
            let failed = || StoreError::io("read", &path);
            let untouched = is_untouched(&self.linked, &file).map_err(failed())?;
            if intact && verified && untouched {
                return Ok(Some(file));
            }
            let see = |file: &File| {
                let metadata = file.metadata()?;
                self.linked.seen(&metadata, || file.metadata())
            };
            let mut before = see(&file).map_err(failed())?;
            let actual = digest_of_stream(digest.function, &mut file).map_err(failed())?;
            if actual == *digest {
                io::Seek::rewind(&mut file).map_err(failed())?;
                if !intact {
                    // Written to and yet right: let the next look find it intact again.
                    file.set_permissions(Permissions::from_mode(FILE))
                        .map_err(StoreError::io("set the mode of", &path))?;
                    rustix::fs::futimens(&file, &crate::files::FIXED)
                        .map_err(StoreError::errno("set the time of", &path))?;
                    before = see(&file).map_err(failed())?;
                }
                if !intact || !untouched {
                    self.linked.note(&[before]);
                }
                self.index().set_verified(digest, true);
                return Ok(Some(file));
            }
        } else if self.look_up(digest)?.is_none() {
            // Evicted since it was looked up.
            return Ok(None);
        }
        let _removed = self.report_corrupt(digest)?;
        Ok(None)
    }

    /// Puts a blob into quarantine. False if it is not here any more, or is being written anew.
    pub(crate) fn report_corrupt(&self, digest: &Digest) -> Result<bool, StoreError> {
        let removed = self.remove(digest, true)?;
        if removed {
            self.corrupt.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%digest, dir = %self.layout.quarantine.display(), "a blob is corrupt on disk and was put into quarantine");
        }
        Ok(removed)
    }
}

/// Where the database has a blob, and when it was used.
pub(crate) fn row(
    connection: &Connection,
    digest: &Digest,
) -> rusqlite::Result<Option<(Place, u64)>> {
    let mut statement = connection
        .prepare_cached("SELECT pack, offset, used FROM blobs WHERE key = ?1 AND size = ?2")?;
    statement
        .query_row((key(digest), digest.size.cast_signed()), |row| {
            Ok((place(row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?.cast_unsigned()))
        })
        .optional()
}

pub(crate) const fn place(pack: u32, offset: i64) -> Place {
    if pack == 0 { Place::File } else { Place::Pack { id: pack, offset: offset.cast_unsigned() } }
}
