//! The stat cache's file. May be deleted at any time; believed only as a whole.
//!
//! A line with the version, then entries of 74 bytes (device, inode, size, mtime, ctime: 8 bytes each, little-endian;
//! function: 1; hash: 32; a zero), then the BLAKE3 hash of all before it.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU32;

use hands_types::DigestFunction;

use super::{Entry, Name};

const MAGIC: &[u8] = b"hands stat cache, version 1\n";
const ENTRY: usize = 74;
const CHECK: usize = 32;

pub(super) fn read(path: &Path, bound: usize) -> HashMap<Name, Entry> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the stat cache can't be read: starting without");
            }
            return HashMap::new();
        }
    };
    decode(&bytes, bound).unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "the stat cache is damaged or of another version: starting without");
        HashMap::new()
    })
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let open =
        || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    let mut file = match (open(), path.parent()) {
        // People delete caches, the directory included.
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            open()?
        }
        (opened, _) => opened?,
    };
    file.write_all(bytes)?;
    fs::rename(&temporary, path)
}

pub(super) fn encode(entries: &HashMap<Name, Entry>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + entries.len() * ENTRY + CHECK);
    bytes.extend(MAGIC);
    for (name, entry) in entries {
        bytes.extend(name.device.to_le_bytes());
        bytes.extend(name.inode.to_le_bytes());
        bytes.extend(entry.size.to_le_bytes());
        bytes.extend(entry.mtime.to_le_bytes());
        bytes.extend(entry.ctime.to_le_bytes());
        bytes.push(match name.function {
            DigestFunction::Sha256 => 0,
            DigestFunction::Blake3 => 1,
        });
        bytes.extend(entry.hash);
        bytes.push(0);
    }
    let check = hands_tree::hash(DigestFunction::Blake3, &bytes).hash;
    bytes.extend(check);
    bytes
}

fn decode(bytes: &[u8], bound: usize) -> Option<HashMap<Name, Entry>> {
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    let entries = body.strip_prefix(MAGIC)?;
    if hands_tree::hash(DigestFunction::Blake3, body).hash != check
        || !entries.len().is_multiple_of(ENTRY)
    {
        return None;
    }
    let mut found = HashMap::with_capacity(entries.len() / ENTRY);
    for entry in entries.chunks_exact(ENTRY).take(bound) {
        let number = |at: usize| entry[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let signed = |at: usize| entry[at..at + 8].try_into().map(i64::from_le_bytes).ok();
        let function = match entry[40] {
            0 => DigestFunction::Sha256,
            1 => DigestFunction::Blake3,
            _ => return None,
        };
        let name = Name { device: number(0)?, inode: number(8)?, function };
        let value = Entry {
            size: number(16)?,
            mtime: signed(24)?,
            ctime: signed(32)?,
            hash: entry[41..73].try_into().ok()?,
            used: AtomicU32::new(0),
        };
        found.insert(name, value);
    }
    Some(found)
}
