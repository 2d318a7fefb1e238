//! One output stream of one attempt: a little in memory, then a file. Written by the worker's session, read by any number
//! of readers while it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hands_store::{Store, StoreError};
use hands_types::{Digest, DigestFunction};
use tokio::sync::watch;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) length: u64,
    /// Nothing follows in this attempt.
    pub(crate) end: Option<End>,
}

/// Why nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The action has ended with this attempt.
    Whole,
    /// The attempt was lost, or another one's result was taken.
    Lost,
}

/// One output stream of one attempt.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    /// Bytes that are kept in memory before there is a file.
    memory: usize,
    limit: u64,
    content: Mutex<Content>,
    mark: watch::Sender<Mark>,
}

#[derive(Debug)]
enum Content {
    Memory(Vec<u8>),
    File(File),
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("output at {offset} was sent where {length} is the end: a piece is missing")]
    Gap { offset: u64, length: u64 },
    #[error("the stream is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("can't write {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Spool {
    /// An empty spool.
    pub(crate) fn new(path: PathBuf, memory: usize, limit: u64) -> Self {
        Self {
            path,
            memory,
            limit,
            content: Mutex::new(Content::Memory(Vec::new())),
            mark: watch::Sender::default(),
        }
    }

    /// What its file holds if a hub before this one left it; else an empty spool.
    pub(crate) fn open(path: PathBuf, memory: usize, limit: u64) -> io::Result<Self> {
        let (content, length) = match File::options().read(true).write(true).open(&path) {
            Ok(file) => {
                let length = file.metadata()?.len();
                (Content::File(file), length)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::new(path, memory, limit));
            }
            Err(error) => return Err(error),
        };
        let mark = watch::Sender::new(Mark { length, end: None });
        Ok(Self { path, memory, limit, content: Mutex::new(content), mark })
    }

    /// The same as [`Spool::append`] where that touches no file and waits for nobody; else none.
    pub(crate) fn append_in_memory(
        &self,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<u64, SpoolError>> {
        let content = self.content.try_lock().ok()?;
        let fits = match &*content {
            Content::Memory(bytes) => bytes.len() + data.len() <= self.memory,
            Content::File(_) => false,
        };
        fits.then(|| self.append_to(content, offset, data))
    }

    /// Takes a piece; what is there already is skipped. Returns the stream's new length. Blocks.
    pub(crate) fn append(&self, offset: u64, data: &[u8]) -> Result<u64, SpoolError> {
        self.append_to(self.lock(), offset, data)
    }

    fn append_to(
        &self,
        mut content: MutexGuard<'_, Content>,
        offset: u64,
        data: &[u8],
    ) -> Result<u64, SpoolError> {
        let length = self.mark.borrow().length;
        if offset > length {
            return Err(SpoolError::Gap { offset, length });
        }
        let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
        let fresh = data.get(known..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(length);
        }
        let end = length + fresh.len() as u64;
        if end > self.limit {
            return Err(SpoolError::TooLong { limit: self.limit });
        }
        let failed = |source| SpoolError::Io { path: self.path.clone(), source };
        if let Content::Memory(bytes) = &*content
            && bytes.len() + fresh.len() > self.memory
        {
            let file = create(&self.path).map_err(failed)?;
            file.write_all_at(bytes, 0).map_err(failed)?;
            *content = Content::File(file);
        }
        match &mut *content {
            Content::Memory(bytes) => bytes.extend_from_slice(fresh),
            Content::File(file) => file.write_all_at(fresh, length).map_err(failed)?,
        }
        self.mark.send_modify(|mark| mark.length = end);
        Ok(end)
    }

    /// Says whether anything follows.
    pub(crate) fn set_end(&self, end: Option<End>) {
        self.mark.send_if_modified(|mark| std::mem::replace(&mut mark.end, end) != end);
    }

    /// The same as [`Spool::read`] where that touches no file and waits for nobody; else none.
    pub(crate) fn read_in_memory(&self, offset: u64, most: usize) -> Option<Bytes> {
        match &*self.content.try_lock().ok()? {
            Content::Memory(bytes) => Some(part(bytes, offset, most)),
            Content::File(_) => None,
        }
    }

    /// Up to `most` bytes from an offset on; fewer, or none, at the end. Blocks.
    pub(crate) fn read(&self, offset: u64, most: usize) -> io::Result<Bytes> {
        match &*self.lock() {
            Content::Memory(bytes) => Ok(part(bytes, offset, most)),
            Content::File(file) => {
                let left = self.mark.borrow().length.saturating_sub(offset);
                let mut buffer = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(most)];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        *self.mark.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Mark> {
        self.mark.subscribe()
    }

    /// Makes the stream a blob. The empty stream needs no store.
    pub(crate) fn store(
        &self,
        store: &Store,
        function: DigestFunction,
    ) -> Result<Digest, StoreError> {
        let content = self.lock();
        match &*content {
            Content::Memory(bytes) if bytes.is_empty() => Ok(hands_tree::empty(function)),
            Content::Memory(bytes) => store.put_bytes(function, bytes),
            Content::File(_) => {
                drop(content);
                // A handle of its own, so that its position is its own.
                let mut file = File::open(&self.path).map_err(|source| StoreError::Io {
                    what: "open",
                    path: self.path.clone(),
                    source: source.into(),
                })?;
                store.ingest(function, &mut file)
            }
        }
    }

    /// Whether making it a blob may take more than a moment.
    pub(crate) fn is_large(&self) -> bool {
        // Who holds it writes to a file.
        self.content.try_lock().map_or(true, |content| matches!(&*content, Content::File(_)))
    }

    /// Forgets the file. Readers that have the spool open read on.
    pub(crate) fn discard(&self) {
        if self.is_large()
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "can't remove a stream's spool");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(bytes: &[u8], offset: u64, most: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = start.saturating_add(most).min(bytes.len());
    Bytes::copy_from_slice(&bytes[start..end])
}

fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}
