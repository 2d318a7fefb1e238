//! The files of a walk: found by directory and name, hashed where the cache does not vouch for them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hands_types::{Digest, Mtime};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::listing::{is_gone, join};
use super::{Ingest, LeftOut, Walk, WalkInput};
use crate::error::SnapshotError;
use crate::stat_cache::StatKey;

/// Directory handles that may be open at once, waiting for their files to be read.
const MAX_OPEN: usize = 200;
/// How often a file that changes while it is read is read again.
const TRIES: usize = 4;

/// All files of a walk, by number.
pub(crate) struct Files<'a> {
    inputs: &'a [WalkInput],
    directories: Vec<Directory>,
    files: Vec<Item>,
    /// Files without a digest.
    pending: Vec<usize>,
    open: usize,
    times: bool,
    pub(super) left_out: LeftOut,
    /// One file of each content; made when the first is asked for, once all are read.
    by_digest: OnceLock<HashMap<Digest, usize>>,
}

/// A file as it stands in the tree.
pub(super) struct Seen {
    pub(super) digest: Digest,
    pub(super) executable: bool,
    pub(super) mtime: Option<Mtime>,
}

/// A file's number, and what was read of it.
type Hashed = (usize, Option<(StatKey, Digest)>);

struct Directory {
    input: usize,
    parent: Option<usize>,
    name: String,
    handle: Option<Arc<OwnedFd>>,
    has_pending: bool,
}

struct Item {
    directory: usize,
    name: String,
    key: StatKey,
    executable: bool,
    /// None until it is read, and after it has vanished.
    digest: Option<Digest>,
}

impl<'a> Files<'a> {
    pub(super) fn new(inputs: &'a [WalkInput], times: bool) -> Self {
        Self {
            inputs,
            directories: Vec::new(),
            files: Vec::new(),
            pending: Vec::new(),
            open: 0,
            times,
            left_out: LeftOut::default(),
            by_digest: OnceLock::new(),
        }
    }

    pub(super) fn add_directory(
        &mut self,
        input: usize,
        parent: Option<usize>,
        name: String,
        handle: OwnedFd,
    ) -> usize {
        self.open += 1;
        let handle = Some(Arc::new(handle));
        self.directories.push(Directory { input, parent, name, handle, has_pending: false });
        self.directories.len() - 1
    }

    /// The handle of a directory that is being listed.
    pub(super) fn handle(&self, directory: usize) -> Arc<OwnedFd> {
        Arc::clone(
            self.directories[directory].handle.as_ref().expect("open as long as it is listed"),
        )
    }

    pub(super) fn close_unless_needed(&mut self, directory: usize) {
        if !self.directories[directory].has_pending
            && self.directories[directory].handle.take().is_some()
        {
            self.open -= 1;
        }
    }

    pub(super) fn must_hash(&self) -> bool {
        self.open > MAX_OPEN && !self.pending.is_empty()
    }

    pub(super) fn add(
        &mut self,
        directory: usize,
        name: String,
        key: StatKey,
        executable: bool,
        digest: Option<Digest>,
    ) -> usize {
        let number = self.files.len();
        self.by_digest.take();
        if digest.is_none() {
            self.pending.push(number);
            self.directories[directory].has_pending = true;
        }
        self.files.push(Item { directory, name, key, executable, digest });
        number
    }

    /// What is known of a file once all are hashed; none if it has vanished.
    pub(super) fn get(&self, number: usize) -> Option<Seen> {
        let item = &self.files[number];
        let mtime = self.times.then(|| item.key.mtime());
        item.digest.map(|digest| Seen { digest, executable: item.executable, mtime })
    }

    /// Whether two of them are one file of the machine, named twice.
    pub(super) fn are_one(&self, a: usize, b: usize) -> bool {
        self.files[a].key.is_same_file(&self.files[b].key)
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.files.iter().filter_map(|f| f.digest)
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        let bytes = self.files.iter().map(|f| f.digest.map_or(0, |d| d.size)).sum();
        (self.files.iter().filter(|f| f.digest.is_some()).count() as u64, bytes)
    }

    /// The path of a directory below its input, for messages.
    pub(super) fn directory_path(&self, directory: usize) -> String {
        let here = &self.directories[directory];
        here.parent.map_or(String::new(), |parent| join(&self.directory_path(parent), &here.name))
    }

    fn display(&self, number: usize) -> String {
        let item = &self.files[number];
        let input = &self.inputs[self.directories[item.directory].input];
        join(&input.display, &join(&self.directory_path(item.directory), &item.name))
    }

    /// Reads and hashes all that have no digest yet, and tells the cache.
    pub(super) fn hash_pending(&mut self, walk: &Walk<'_>) -> Result<(), SnapshotError> {
        let pending = std::mem::take(&mut self.pending);
        self.read(walk, &pending)?;
        for directory in &mut self.directories {
            // The ones that are still being listed have another holder of their handle and stay.
            if directory.has_pending
                && directory.handle.as_ref().is_some_and(|h| Arc::strong_count(h) == 1)
            {
                directory.handle = None;
                self.open -= 1;
            }
            directory.has_pending = false;
        }
        Ok(())
    }

    /// Reads again the files with these contents; returns whether one of them is another now.
    pub(super) fn reread(
        &mut self,
        walk: &Walk<'_>,
        missing: &HashSet<Digest>,
    ) -> Result<bool, SnapshotError> {
        let mut seen = HashSet::new();
        let numbers: Vec<usize> = (0..self.files.len())
            .filter(|n| {
                self.files[*n].digest.is_some_and(|d| missing.contains(&d) && seen.insert(d))
            })
            .collect();
        self.read(walk, &numbers)
    }

    /// Opens the file with this content; none if it has vanished.
    pub(super) fn open_by_digest(&self, digest: &Digest) -> Result<Option<File>, SnapshotError> {
        let by_digest = self.by_digest.get_or_init(|| {
            let files = self.files.iter().enumerate();
            files.filter_map(|(number, file)| Some((file.digest?, number))).collect()
        });
        match by_digest.get(digest) {
            Some(number) => Ok(self.open_file(*number)?.map(|(file, _)| file)),
            None => Err(SnapshotError::Protocol("the target misses what was not named")),
        }
    }

    /// Reads and hashes these, and one that is not there once more when all others are done; what is gone then is left
    /// out. Returns whether anything is another than it was.
    fn read(&mut self, walk: &Walk<'_>, numbers: &[usize]) -> Result<bool, SnapshotError> {
        let mut changed = false;
        let mut gone = BTreeSet::new();
        self.by_digest.take();
        let mut hashed = self.hash(walk, numbers)?;
        let missed: Vec<usize> =
            hashed.iter().filter(|(_, read)| read.is_none()).map(|(number, _)| *number).collect();
        hashed.extend(self.hash(walk, &missed)?);
        for (number, read) in hashed {
            if let Some((key, digest)) = read {
                changed |= self.files[number].digest != Some(digest);
                self.files[number].key = key;
                self.files[number].digest = Some(digest);
                gone.remove(&number);
            } else {
                gone.insert(number);
            }
        }
        for number in gone {
            changed = true;
            self.files[number].digest = None;
            let path = self.display(number);
            self.left_out.vanished.add(|| path);
        }
        Ok(changed)
    }

    /// The state and digest of each, or none where it has vanished.
    fn hash(&self, walk: &Walk<'_>, numbers: &[usize]) -> Result<Vec<Hashed>, SnapshotError> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<Hashed>, SnapshotError> {
            let mut done = Vec::new();
            while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                walk.progress.check()?;
                let read = self.hash_one(walk, *number).inspect_err(|_| {
                    // The other threads need not go on.
                    next.store(numbers.len(), Ordering::Relaxed);
                })?;
                done.push((*number, read));
            }
            Ok(done)
        };
        let threads = walk.threads.clamp(1, numbers.len());
        let results = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut results = vec![work()];
            results.extend(others.into_iter().map(|thread| {
                thread.join().unwrap_or(Err(SnapshotError::Protocol("a hashing thread panicked")))
            }));
            results
        });
        let mut all = Vec::with_capacity(numbers.len());
        for result in results {
            all.extend(result?);
        }
        Ok(all)
    }

    fn hash_one(
        &self,
        walk: &Walk<'_>,
        number: usize,
    ) -> Result<Option<(StatKey, Digest)>, SnapshotError> {
        let failed = |source| SnapshotError::Path {
            path: self.display(number),
            what: "can't be read",
            source,
        };
        let Some((mut file, mut before)) = self.open_file(number)? else { return Ok(None) };
        for _ in 0..TRIES {
            let started = walk.clock.now();
            let ingested = walk.sink.ingest(&mut file)?;
            let after = StatKey::of(&rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?);
            let digest = match ingested {
                Ingest::Whole(digest) => Some(digest),
                Ingest::Changed => None,
                Ingest::Failed(error) => return Err(failed(error)),
            };
            if let Some(digest) =
                digest.filter(|digest| after == before && digest.size == after.size)
            {
                walk.progress.bytes_hashed.fetch_add(digest.size, Ordering::Relaxed);
                if walk.sink.stores() {
                    walk.progress.bytes_sent.fetch_add(digest.size, Ordering::Relaxed);
                }
                walk.cache.insert(&after, digest, started);
                return Ok(Some((after, digest)));
            }
            before = after;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
        }
        Err(SnapshotError::Unfit {
            path: self.display(number),
            why: "keeps changing while it is read".to_owned(),
        })
    }

    fn open_file(&self, number: usize) -> Result<Option<(File, StatKey)>, SnapshotError> {
        let item = &self.files[number];
        let failed = |e: rustix::io::Errno| SnapshotError::Path {
            path: self.display(number),
            what: "can't be opened",
            source: e.into(),
        };
        let directory = match self.open_directory(item.directory) {
            Err(errno) if is_gone(errno) => return Ok(None),
            directory => directory.map_err(failed)?,
        };
        // Not to hang on a pipe that has taken the file's place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&*directory, &*item.name, flags, Mode::empty()) {
            Err(errno) if is_gone(errno) && errno != Errno::LOOP => return Ok(None),
            file => file.map_err(failed)?,
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SnapshotError::Unfit {
                path: self.display(number),
                why: "was replaced while it was read".to_owned(),
            });
        }
        Ok(Some((file.into(), StatKey::of(&stat))))
    }

    fn open_directory(&self, directory: usize) -> rustix::io::Result<Arc<OwnedFd>> {
        let here = &self.directories[directory];
        if let Some(handle) = &here.handle {
            return Ok(Arc::clone(handle));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match here.parent {
            Some(parent) => {
                let above = self.open_directory(parent)?;
                rustix::fs::openat(&*above, &*here.name, flags, Mode::empty()).map(Arc::new)
            }
            None => {
                let top = self.inputs[here.input].directory.as_fd();
                rustix::fs::openat(top, ".", flags, Mode::empty()).map(Arc::new)
            }
        }
    }
}
