//! A large blob, piece by piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hands_proto::bytestream::WriteRequest;
use hands_store::BlobReader;
use hands_types::Digest;
use hands_types::limits::CHUNK;
use tokio::sync::mpsc;

use super::{Blob, Source};
use crate::client::BlobError;
use crate::{BlobName, UploadName, codec};

/// Reads a blob piece by piece into the channel, compressed where the engine takes that and the blob's beginning becomes
/// smaller by it; says which. Ends without an error when nobody listens any more.
pub(super) fn produce(
    blob: &Blob,
    instance: String,
    zstd: bool,
    sender: &mpsc::Sender<WriteRequest>,
) -> Result<bool, BlobError> {
    let digest = blob.digest;
    let reader = Reader::open(&digest, &blob.source)?;
    let sample = usize::try_from(digest.size).unwrap_or(codec::SAMPLE).min(codec::SAMPLE);
    let zstd = zstd && codec::shrinks(&reader.read_at(0, sample)?);
    let mut deflate = zstd.then(codec::Deflate::new);
    let blob_name = BlobName { instance, digest, zstd };
    let mut name = Some(UploadName { uuid: random_uuid(), blob: blob_name }.to_name());
    let (mut at, mut sent) = (0u64, 0u64);
    loop {
        let len = usize::try_from(blob.digest.size - at).unwrap_or(CHUNK).min(CHUNK);
        let raw = reader.read_at(at, len)?;
        at += raw.len() as u64;
        let last = at == blob.digest.size;
        let data = match &mut deflate {
            None => raw,
            Some(deflate) => {
                let mut out = Vec::new();
                deflate.push(&raw, &mut out).map_err(zstd_failed)?;
                if last {
                    deflate.finish(&mut out).map_err(zstd_failed)?;
                }
                Bytes::from(out)
            }
        };
        if data.is_empty() && !last {
            continue;
        }
        let message = WriteRequest {
            resource_name: name.take().unwrap_or_default(),
            write_offset: sent.cast_signed(),
            finish_write: last,
            data: data.clone(),
        };
        sent += data.len() as u64;
        if sender.blocking_send(message).is_err() || last {
            return Ok(zstd);
        }
    }
}

fn zstd_failed(source: io::Error) -> BlobError {
    BlobError::File { what: "compress", path: PathBuf::from("a blob"), source }
}

/// An open source.
pub(super) enum Reader<'a> {
    Bytes(&'a Bytes),
    File(Arc<File>, &'a PathBuf, Digest),
    Stored(BlobReader),
}

impl<'a> Reader<'a> {
    pub(super) fn open(digest: &Digest, source: &'a Source) -> Result<Self, BlobError> {
        match source {
            Source::Bytes(bytes) if bytes.len() as u64 == digest.size => Ok(Self::Bytes(bytes)),
            Source::Bytes(bytes) => Err(BlobError::Corrupt {
                expected: *digest,
                actual: hands_tree::hash(digest.function, bytes),
            }),
            Source::File(file, path) => Ok(Self::File(Arc::clone(file), path, *digest)),
            Source::Path(path) => match File::open(path) {
                Ok(file) => Ok(Self::File(Arc::new(file), path, *digest)),
                Err(source) => Err(BlobError::File { what: "open", path: path.clone(), source }),
            },
            Source::Stored(store) => store
                .reader(digest)?
                .map(Self::Stored)
                .ok_or_else(|| BlobError::Missing(vec![*digest])),
        }
    }

    /// Exactly `len` bytes.
    pub(super) fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(bytes.slice(start..start + len))
            }
            Self::File(file, path, digest) => {
                let mut buffer = vec![0; len];
                match file.read_exact_at(&mut buffer, offset) {
                    Ok(()) => Ok(Bytes::from(buffer)),
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                        Err(BlobError::Changed { path: (*path).clone(), digest: *digest })
                    }
                    Err(source) => {
                        Err(BlobError::File { what: "read", path: (*path).clone(), source })
                    }
                }
            }
            Self::Stored(reader) => Ok(reader.read_at(offset, len)?),
        }
    }
}

/// A version 4 UUID. It only has to differ from those of other uploads under way, so the seeds of the standard
/// library's hash maps are random enough.
fn random_uuid() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (RandomState::new().hash_one(0u8), RandomState::new().hash_one(1u8));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests;
