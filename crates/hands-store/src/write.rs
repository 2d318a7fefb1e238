//! Putting blobs in. Whatever comes in is hashed here, by whichever way it comes.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hands_tree::Hasher;
use hands_types::{Digest, DigestFunction, limits};

use crate::aside::SideHasher;
use crate::error::StoreError;
use crate::files::{FILE, Temp, on_disk};
use crate::index::{Index, Lookup, Place};
use crate::maintain::Request;
use crate::pack::{HEADER, Kind};
use crate::read::CHUNK;
use crate::store::{Inner, SMALL, Store};
use crate::turn::TURN;

/// Files up to this many bytes are read whole when they are ingested, so that nothing is written if they are here.
const WHOLE: u64 = 4 << 20;
/// Bytes that a file takes beyond its content at most: the rest of its last block, and its record in the log.
const ROUNDING: u64 = 4096 + HEADER;
/// Most bytes appended to a pack at once, of so many blobs that others who append hardly wait.
const BATCH: u64 = 1 << 20;
/// Entries not yet in the database beyond which writers wait.
const MOST_PENDING: usize = 200_000;
/// Entries at which writing them down does not wait for more.
const MANY_PENDING: usize = 10_000;

/// A blob arriving in pieces. Takes memory and disk for what has come, not for what was announced; what is not
/// committed is discarded on drop.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    digest: Digest,
    hasher: SideHasher,
    buffer: Vec<u8>,
    temp: Option<Temp>,
    /// Whether it comes from a client, and what is being written together stays within the quota whatever is pinned.
    bounded: bool,
}

impl BlobWriter {
    /// Takes the next piece. Fails at once when there are more bytes than the digest says.
    pub fn write(&mut self, bytes: &Bytes) -> Result<(), StoreError> {
        let actual = self.hasher.size() + bytes.len() as u64;
        if actual > self.digest.size {
            return Err(StoreError::Size { claimed: self.digest, actual });
        }
        if self.bounded {
            let rest = self.digest.size - self.hasher.size();
            ensure_bounded(&self.store.inner, bytes.len() as u64, rest)?;
        }
        self.hasher.update(bytes.clone());
        if self.temp.is_none() {
            if actual <= SMALL {
                self.buffer.extend_from_slice(bytes);
                return Ok(());
            }
            let inner = &self.store.inner;
            inner.ensure_room(actual + ROUNDING).map_err(|e| whole(e, self.digest.size))?;
            let mut temp = inner.temp()?;
            temp.write(&std::mem::take(&mut self.buffer))?;
            temp.write(bytes)?;
            self.temp = Some(temp);
            return Ok(());
        }
        let room = self.store.inner.ensure_room(bytes.len() as u64);
        room.map_err(|e| whole(e, self.digest.size - (actual - bytes.len() as u64)))?;
        match &mut self.temp {
            Some(temp) => temp.write(bytes),
            None => Ok(()),
        }
    }

    /// Bytes taken so far.
    pub const fn written(&self) -> u64 {
        self.hasher.size()
    }

    /// Checks the content against the digest and makes it a blob.
    pub fn commit(self) -> Result<(), StoreError> {
        let Self { store, digest, hasher, buffer, temp, bounded: _ } = self;
        if hasher.size() != digest.size {
            return Err(StoreError::Size { claimed: digest, actual: hasher.size() });
        }
        let actual = hasher.finish();
        if actual != digest {
            return Err(StoreError::Mismatch { claimed: digest, actual });
        }
        match temp {
            Some(temp) => store.inner.place(digest, temp),
            None => store.inner.put_checked(digest, &buffer),
        }
    }
}

/// What is pinned may exceed the quota, and what has not ended is not even a blob. `rest` is what is still to come.
pub(crate) fn ensure_bounded(inner: &Inner, bytes: u64, rest: u64) -> Result<(), StoreError> {
    let unfinished = inner.temp_bytes.load(Ordering::Relaxed);
    if unfinished + bytes > inner.quota {
        // Not for want of disk: that is asked for when it is written.
        return Err(inner.full(rest, inner.usage().total(), u64::MAX));
    }
    Ok(())
}

/// Whoever sends a blob wants to know what the rest of it needs, and not a piece.
fn whole(error: StoreError, rest: u64) -> StoreError {
    match error {
        StoreError::Full { used, quota, pinned, named, free, reserve, needed: _ } => {
            StoreError::Full { needed: rest, used, quota, pinned, named, free, reserve }
        }
        other => other,
    }
}

impl Store {
    /// Stores a blob. It survives the death of every process when this returns.
    pub fn put(&self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        check(&digest, &bytes)?;
        self.inner.put_checked(digest, &bytes)
    }

    /// Stores many blobs, small ones in few writes. One answer for each, in order.
    pub fn put_many(&self, blobs: Vec<(Digest, Bytes)>) -> Vec<Result<(), StoreError>> {
        let mut results: Vec<Result<(), StoreError>> =
            blobs.iter().map(|(digest, bytes)| check(digest, bytes)).collect();
        let mut batch: Vec<usize> = Vec::new();
        let mut size = 0;
        let flush = |batch: &mut Vec<usize>, results: &mut Vec<Result<(), StoreError>>| {
            let records: Vec<(Digest, &[u8])> =
                batch.iter().map(|&i| (blobs[i].0, &blobs[i].1[..])).collect();
            if let Err(error) = self.inner.put_small(&records) {
                for &i in batch.iter() {
                    results[i] = Err(error.clone());
                }
            }
            batch.clear();
        };
        for (i, (digest, bytes)) in blobs.iter().enumerate() {
            if results[i].is_err() {
                continue;
            }
            if digest.size > SMALL {
                results[i] = self.inner.put_checked(*digest, bytes);
                continue;
            }
            if size + digest.size > BATCH || batch.len() >= TURN {
                flush(&mut batch, &mut results);
                size = 0;
            }
            size += digest.size + HEADER;
            batch.push(i);
        }
        flush(&mut batch, &mut results);
        results
    }

    /// Hashes bytes and stores them.
    pub fn put_bytes(&self, function: DigestFunction, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = hands_tree::hash(function, bytes);
        self.inner.put_checked(digest, bytes)?;
        Ok(digest)
    }

    /// Begins a blob that arrives in pieces.
    pub fn writer(&self, digest: Digest) -> Result<BlobWriter, StoreError> {
        if digest.size > limits::MAX_BLOB {
            return Err(StoreError::TooLarge { size: digest.size });
        }
        Ok(BlobWriter {
            store: self.clone(),
            digest,
            hasher: SideHasher::new(digest.function),
            buffer: Vec::new(),
            temp: None,
            bounded: false,
        })
    }

    /// The same for one that a client sends: one that can never be held is refused before its first byte, and what is
    /// being written never has more than the quota together.
    pub fn upload(&self, digest: Digest) -> Result<BlobWriter, StoreError> {
        let writer = self.writer(digest)?;
        self.fits(digest.size)?;
        Ok(BlobWriter { bounded: true, ..writer })
    }

    /// Reads a file from where it stands to its end, hashing, and stores it if it is not here: one pass. Fails if the file
    /// changes its length meanwhile.
    pub fn ingest(&self, function: DigestFunction, file: &mut File) -> Result<Digest, StoreError> {
        self.ingest_while(function, file, &|| true)
    }

    /// The same as long as it is wanted, which is asked after each mebibyte.
    pub fn ingest_while(
        &self,
        function: DigestFunction,
        file: &mut File,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Digest, StoreError> {
        let unnamed = Path::new("an input file");
        let before = length_ahead(file).map_err(StoreError::io("read", unnamed))?;
        self.ingest_stream(function, file, before, is_wanted)
    }

    /// The same of a stream that has so many bytes.
    pub fn ingest_stream(
        &self,
        function: DigestFunction,
        stream: &mut dyn Read,
        before: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Digest, StoreError> {
        let inner = &self.inner;
        if before > limits::MAX_BLOB {
            return Err(StoreError::TooLarge { size: before });
        }
        if before <= WHOLE {
            let mut bytes = Vec::with_capacity(usize::try_from(before).unwrap_or(0) + 1);
            stream.take(before + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            let after = bytes.len() as u64;
            if after != before {
                return Err(StoreError::Changed { before, after });
            }
            let digest = hands_tree::hash(function, &bytes);
            inner.put_checked(digest, &bytes)?;
            return Ok(digest);
        }
        let (digest, temp) = self.take_in(function, stream, before, is_wanted)?;
        if digest.size != before {
            return Err(StoreError::Changed { before, after: digest.size });
        }
        inner.place(digest, temp)?;
        Ok(digest)
    }

    /// The same of a stream of which nobody can tell where it ends.
    pub fn ingest_to_end(
        &self,
        function: DigestFunction,
        stream: &mut dyn Read,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Digest, StoreError> {
        let inner = &self.inner;
        let mut start = Vec::new();
        stream.take(WHOLE + 1).read_to_end(&mut start).map_err(unreadable)?;
        if start.len() as u64 <= WHOLE {
            let digest = hands_tree::hash(function, &start);
            inner.put_checked(digest, &start)?;
            return Ok(digest);
        }
        let mut whole = start.as_slice().chain(stream);
        let taken = self.take_in(function, &mut whole, limits::MAX_BLOB, is_wanted);
        let (digest, temp) = taken.map_err(|error| match error {
            StoreError::Changed { after, .. } => StoreError::TooLarge { size: after },
            error => error,
        })?;
        inner.place(digest, temp)?;
        Ok(digest)
    }

    /// Reads a stream of at most so many bytes into a file of its own.
    fn take_in(
        &self,
        function: DigestFunction,
        stream: &mut dyn Read,
        most: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(Digest, Temp), StoreError> {
        let inner = &self.inner;
        inner.ensure_room(ROUNDING)?;
        let mut temp = inner.temp()?;
        let mut hasher = Hasher::new(function);
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            hasher.update(&buffer[..n]);
            if hasher.size() > most {
                return Err(StoreError::Changed { before: most, after: hasher.size() });
            }
            if !is_wanted() {
                return Err(StoreError::GivenUp);
            }
            inner.ensure_room(n as u64)?;
            temp.write(&buffer[..n])?;
        }
        Ok((hasher.finish(), temp))
    }
}

fn unreadable(source: std::io::Error) -> StoreError {
    StoreError::io("read", Path::new("an input file"))(source)
}

fn length_ahead(file: &mut File) -> std::io::Result<u64> {
    let at = std::io::Seek::stream_position(file)?;
    Ok(file.metadata()?.len().saturating_sub(at))
}

fn check(digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    if digest.size != bytes.len() as u64 {
        return Err(StoreError::Size { claimed: *digest, actual: bytes.len() as u64 });
    }
    if digest.size > limits::MAX_BLOB {
        return Err(StoreError::TooLarge { size: digest.size });
    }
    let actual = hands_tree::hash(digest.function, bytes);
    if actual == *digest { Ok(()) } else { Err(StoreError::Mismatch { claimed: *digest, actual }) }
}

impl Inner {
    /// Stores content whose digest was computed.
    pub(crate) fn put_checked(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if digest.size <= SMALL {
            return self.put_small(&[(digest, bytes)]);
        }
        self.ensure_here()?;
        if self.look_up(&digest)?.is_some() {
            return Ok(());
        }
        self.ensure_room(on_disk(digest.size) + HEADER)?;
        let mut temp = self.temp()?;
        temp.write(bytes)?;
        self.place(digest, temp)
    }

    fn put_small(&self, blobs: &[(Digest, &[u8])]) -> Result<(), StoreError> {
        self.ensure_here()?;
        let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
        // With nothing else in a batch this is most of what happens to blobs that are here already.
        let missing: crate::index::DigestSet = self.missing(&digests)?.into_iter().collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.ensure_room(missing.iter().map(|digest| digest.size + HEADER).sum())?;
        let now = self.now();
        let mut active = self.packs.active();
        let mut taken = crate::index::DigestSet::default();
        let mut records = Vec::with_capacity(missing.len());
        {
            let mut index = self.index();
            for (digest, bytes) in blobs {
                if missing.contains(digest)
                    && !matches!(index.look_up(digest, now), Lookup::Found(_))
                    && taken.insert(*digest)
                {
                    records.push((Kind::Blob, *digest, *bytes));
                }
            }
        }
        let before = (active.id, active.len);
        let places = self.packs.append(&mut active, &records, self.power())?;
        let grown = if active.id == before.0 { active.len - before.1 } else { active.len };
        self.pack_bytes.fetch_add(grown, Ordering::Relaxed);
        // Still under the lock of the pack: a checkpoint must never cover a record that is not in the index.
        let mut index = self.index();
        for ((_, digest, _), (id, offset)) in records.iter().zip(places) {
            index = self.wait_doomed(index, digest);
            index.insert_pending(*digest, Place::Pack { id, offset }, now, true);
        }
        let n = index.n_pending();
        drop(index);
        drop(active);
        self.pending_grew(n)
    }

    /// A file for what comes in. A store that was deleted has no place for one, and says that instead of naming it.
    pub(crate) fn temp(&self) -> Result<Temp, StoreError> {
        self.ensure_here()?;
        Temp::create(&self.layout.temp, &self.temp_bytes)
    }

    /// Makes a finished file a blob.
    pub(crate) fn place(&self, digest: Digest, temp: Temp) -> Result<(), StoreError> {
        self.ensure_here()?;
        if self.look_up(&digest)?.is_some() {
            return Ok(());
        }
        {
            let index = self.index();
            let mut index = self.wait_doomed(index, &digest);
            index.arrive(digest);
        }
        let now = self.now();
        let path = self.layout.blob(&digest);
        let placed = temp.place(&path, FILE, self.power()).inspect(|()| self.linked.made(&path));
        let logged = placed.and_then(|()| {
            let mut active = self.packs.active();
            let before = (active.id, active.len);
            self.packs.append(&mut active, &[(Kind::File, digest, &[])], self.power())?;
            let grown = if active.id == before.0 { active.len - before.1 } else { active.len };
            self.pack_bytes.fetch_add(grown, Ordering::Relaxed);
            let mut index = self.index();
            // Another writer may have been quicker; both have put the same content in the same place.
            if !matches!(index.look_up(&digest, now), Lookup::Found(_)) {
                index.insert_pending(digest, Place::File, now, true);
                self.file_bytes.fetch_add(on_disk(digest.size), Ordering::Relaxed);
            }
            Ok(index.n_pending())
        });
        self.index().arrived(&digest);
        self.index_changed.notify_all();
        self.pending_grew(logged?)
    }

    fn wait_doomed<'a>(
        &self,
        mut index: std::sync::MutexGuard<'a, Index>,
        digest: &Digest,
    ) -> std::sync::MutexGuard<'a, Index> {
        while index.is_doomed(digest) {
            index = self.index_changed.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        index
    }

    fn pending_grew(&self, n: usize) -> Result<(), StoreError> {
        if n == 0 {
            return Ok(());
        }
        if n >= MANY_PENDING {
            self.request(Request::FlushSoon)?;
        } else if !self.flush_asked.swap(true, Ordering::Relaxed) {
            self.request(Request::Flush)?;
        }
        let mut index = self.index();
        while index.n_pending() > MOST_PENDING && !index.flush_fails() {
            index = self.index_changed.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}
