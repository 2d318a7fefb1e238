//! Pack files: small blobs one after the other, each behind a header that says what it is.
//!
//! A pack is also the log of the store: a large blob leaves a header without content when it is in place. What was
//! acknowledged and is not in the database yet stands behind the last checkpoint, and is found there after a kill.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hands_tree::Lru;
use hands_types::{Digest, DigestFunction};

use crate::db::lock;
use crate::error::StoreError;

/// Bytes of a header: magic, kind, function, two bytes of zero, size, hash, checksum of all that.
pub(crate) const HEADER: u64 = 56;
const HEADER_LEN: usize = 56;
const MAGIC: [u8; 4] = *b"HSP1";
/// Open packs kept for reading.
const OPEN: u64 = 64;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A small blob; its content follows.
    Blob = 0,
    /// A large blob is in place as a file; nothing follows.
    File = 1,
}

/// The pack files of one store.
#[derive(Debug)]
pub(crate) struct Packs {
    dir: PathBuf,
    /// A pack that has reached this many bytes is sealed.
    limit: u64,
    active: Mutex<Active>,
    open: Mutex<Lru<u32, Arc<File>>>,
}

/// The pack that is appended to. Whoever holds it is alone in changing it.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) id: u32,
    pub(crate) len: u64,
    file: Arc<File>,
    buffer: Vec<u8>,
}

impl Packs {
    /// Goes on with the newest of the packs there are, or makes the first.
    pub(crate) fn open(dir: PathBuf, limit: u64, newest: Option<u32>) -> Result<Self, StoreError> {
        let id = newest.unwrap_or(1);
        let path = pack_path(&dir, id);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let len = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        let active = Active { id, len, file: Arc::new(file), buffer: Vec::new() };
        Ok(Self { dir, limit, active: Mutex::new(active), open: Mutex::new(Lru::new()) })
    }

    /// Ids of the packs on disk, ascending, with their lengths.
    pub(crate) fn list(dir: &Path) -> Result<Vec<(u32, u64)>, StoreError> {
        let fail = || StoreError::io("list", dir);
        let mut packs = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".pack")?.parse().ok());
            if let Some(id) = id {
                packs.push((id, entry.metadata().map_err(fail())?.len()));
            }
        }
        packs.sort_unstable();
        Ok(packs)
    }

    pub(crate) fn active(&self) -> MutexGuard<'_, Active> {
        lock(&self.active)
    }

    /// Appends records in one write where they fit; answers with the pack and the offset of each one's content. After
    /// an error nothing was appended that counts.
    pub(crate) fn append(
        &self,
        active: &mut Active,
        records: &[(Kind, Digest, &[u8])],
        sync: bool,
    ) -> Result<Vec<(u32, u64)>, StoreError> {
        let mut places = Vec::with_capacity(records.len());
        if active.len >= self.limit {
            self.seal(active)?;
        }
        active.buffer.clear();
        for (kind, digest, content) in records {
            active.buffer.extend_from_slice(&header(*kind, digest));
            places.push((active.id, active.len + active.buffer.len() as u64));
            active.buffer.extend_from_slice(content);
        }
        let path = pack_path(&self.dir, active.id);
        let written =
            active.file.write_all_at(&active.buffer, active.len).and_then(|()| match sync {
                true => active.file.sync_data(),
                false => Ok(()),
            });
        if let Err(error) = written {
            // Half a record at the end would hide what is appended after it from the scan that follows a kill; the
            // next append goes to the same offset anyhow.
            if let Err(error) = active.file.set_len(active.len) {
                tracing::warn!(%error, path = %path.display(), "an unfinished record stays at the end of a pack");
            }
            return Err(StoreError::io("write", &path)(error));
        }
        active.len += active.buffer.len() as u64;
        if active.buffer.capacity() > 4 << 20 {
            active.buffer = Vec::new();
        }
        Ok(places)
    }

    /// Bytes at which a pack is sealed.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Begins a new pack.
    pub(crate) fn seal(&self, active: &mut Active) -> Result<(), StoreError> {
        let id = active.id + 1;
        let path = pack_path(&self.dir, id);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        *active =
            Active { id, len: 0, file: Arc::new(file), buffer: std::mem::take(&mut active.buffer) };
        Ok(())
    }

    /// Reads content. `None` if the pack is gone, because it was compacted since its place was looked up.
    pub(crate) fn read(
        &self,
        id: u32,
        offset: u64,
        len: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.file(id)? else { return Ok(None) };
        let mut content = vec![0; len];
        match file.read_exact_at(&mut content, offset) {
            Ok(()) => Ok(Some(content)),
            // A power cut can take the end of a pack that the database has heard of.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(Vec::new())),
            Err(error) => Err(StoreError::io("read", &pack_path(&self.dir, id))(error)),
        }
    }

    fn file(&self, id: u32) -> Result<Option<Arc<File>>, StoreError> {
        let mut open = lock(&self.open);
        if let Some(file) = open.get(&id) {
            return Ok(Some(Arc::clone(file)));
        }
        let path = pack_path(&self.dir, id);
        let file = match File::open(&path) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        open.insert(id, Arc::clone(&file), 1);
        open.shrink(OPEN);
        Ok(Some(file))
    }

    /// Deletes a sealed pack.
    pub(crate) fn remove(&self, id: u32) -> Result<(), StoreError> {
        lock(&self.open).remove(&id);
        let path = pack_path(&self.dir, id);
        std::fs::remove_file(&path).map_err(StoreError::io("delete", &path))
    }

    /// Calls `found` with each whole record from `from` on: kind, digest, offset of the content, and the content.
    /// Answers with where the last whole record ends.
    pub(crate) fn scan(
        dir: &Path,
        id: u32,
        from: u64,
        mut found: impl FnMut(Kind, Digest, u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let path = pack_path(dir, id);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        let len = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        let mut at = from;
        let mut content = Vec::new();
        let mut reader = io::BufReader::with_capacity(1 << 20, file);
        io::Seek::seek(&mut reader, io::SeekFrom::Start(from))
            .map_err(StoreError::io("read", &path))?;
        while at + HEADER <= len {
            let mut bytes = [0; HEADER_LEN];
            io::Read::read_exact(&mut reader, &mut bytes).map_err(StoreError::io("read", &path))?;
            let Some((kind, digest)) = parse_header(&bytes) else { break };
            let size = match kind {
                Kind::Blob => digest.size,
                Kind::File => 0,
            };
            if size > len - at - HEADER {
                break;
            }
            content.resize(usize::try_from(size).unwrap_or(0), 0);
            io::Read::read_exact(&mut reader, &mut content)
                .map_err(StoreError::io("read", &path))?;
            found(kind, digest, at + HEADER, &content)?;
            at += HEADER + size;
        }
        Ok(at)
    }
}

pub(crate) fn pack_path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:08}.pack"))
}

pub(crate) const fn function_byte(function: DigestFunction) -> u8 {
    match function {
        DigestFunction::Sha256 => 1,
        DigestFunction::Blake3 => 2,
    }
}

pub(crate) const fn function_from_byte(byte: u8) -> Option<DigestFunction> {
    match byte {
        1 => Some(DigestFunction::Sha256),
        2 => Some(DigestFunction::Blake3),
        _ => None,
    }
}

fn header(kind: Kind, digest: &Digest) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = kind as u8;
    bytes[5] = function_byte(digest.function);
    bytes[8..16].copy_from_slice(&digest.size.to_le_bytes());
    bytes[16..48].copy_from_slice(&digest.hash);
    let check = checksum(&bytes[..48]);
    bytes[48..].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn parse_header(bytes: &[u8; HEADER_LEN]) -> Option<(Kind, Digest)> {
    let (body, check) = bytes.split_at(48);
    if body[..4] != MAGIC || check != checksum(body).to_le_bytes() {
        return None;
    }
    let kind = match body[4] {
        0 => Kind::Blob,
        1 => Kind::File,
        _ => return None,
    };
    let size = u64::from_le_bytes(body[8..16].try_into().ok()?);
    Some((
        kind,
        Digest {
            function: function_from_byte(body[5])?,
            hash: body[16..48].try_into().ok()?,
            size,
        },
    ))
}

/// FNV-1a: tells a header from other bytes; the content has its own digest.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
