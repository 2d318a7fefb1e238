//! SplitBlob and SpliceBlob: large blobs in pieces whose borders follow the content (FastCDC of 2020), so that of a blob
//! that changed a little only the pieces around the change travel.

use std::io::{self, Read};

use fastcdc::v2020::{Normalization, StreamCDC};
use hands_proto::reapi::FastCdc2020Params;
use hands_store::{BlobReader, Store};
use hands_types::Digest;
use tonic::{Code, Status};

use super::Wanted;
use crate::{Invocation, missing_blobs, store_status};

/// Bytes of a piece, on average: what REAPI recommends. The least is a quarter of it, the most four times as much.
const AVERAGE: usize = 512 << 10;
const LEAST: usize = AVERAGE / 4;
const MOST: usize = AVERAGE * 4;
/// Of a blob read at once.
const READ: usize = 1 << 20;

/// What the capabilities say of our pieces, so that clients can cut alike.
pub(super) const fn parameters() -> FastCdc2020Params {
    FastCdc2020Params { avg_chunk_size_bytes: AVERAGE as u64, seed: 0 }
}

/// Cuts a blob and stores the pieces; they and the blob stay for as long as the invocation is open. Blocks.
pub(super) fn split(
    store: &Store,
    blob: Digest,
    invocation: &Invocation,
    wanted: &Wanted,
) -> Result<Vec<Digest>, Status> {
    let mut pin = store.pin([blob]);
    let reader = store.reader(&blob).map_err(|e| store_status(&e))?;
    let reader = reader.ok_or_else(|| missing_blobs(Code::NotFound, &[blob]))?;
    invocation.keep(store, &[blob]);
    if blob.size <= MOST as u64 {
        // Nothing is won by cutting what travels in one message.
        return Ok(vec![blob]);
    }
    let source = Content { reader, at: 0 };
    let cutter = StreamCDC::with_level(source, LEAST, AVERAGE, MOST, Normalization::Level2);
    let mut pieces = Vec::new();
    for piece in cutter {
        wanted.check()?;
        let piece = piece.map_err(|error| {
            tracing::error!(%blob, %error, "a blob can't be read to its end");
            Status::internal(format!("the blob {blob} can't be read: {error}"))
        })?;
        let digest = store.put_bytes(blob.function, &piece.data).map_err(|e| store_status(&e))?;
        pin.add([digest]);
        pieces.push(digest);
    }
    invocation.keep(store, &pieces);
    Ok(pieces)
}

/// Puts a blob together from pieces that are here, and checks it as any other. Blocks.
pub(super) fn splice(
    store: &Store,
    blob: Digest,
    pieces: &[Digest],
    invocation: &Invocation,
    wanted: &Wanted,
) -> Result<(), Status> {
    let bytes = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.size));
    if bytes != Some(blob.size) {
        return Err(Status::invalid_argument(format!(
            "the chunks of {blob} have {} bytes together",
            bytes.map_or("too many".to_owned(), |bytes| bytes.to_string())
        )));
    }
    invocation.keep(store, &[blob]);
    if store.contains(&blob).map_err(|e| store_status(&e))? {
        return Ok(());
    }
    let _pin = store.pin(pieces.iter().copied());
    let missing = store.missing(pieces).map_err(|e| store_status(&e))?;
    if !missing.is_empty() {
        return Err(missing_blobs(Code::NotFound, &missing));
    }
    let mut writer = store.upload(blob).map_err(|e| store_status(&e))?;
    for piece in pieces {
        let reader = store.reader(piece).map_err(|e| store_status(&e))?;
        let reader = reader.ok_or_else(|| missing_blobs(Code::NotFound, &[*piece]))?;
        let mut at = 0;
        wanted.check()?;
        while at < piece.size {
            wanted.check()?;
            let bytes = reader.read_at(at, READ).map_err(|e| store_status(&e))?;
            writer.write(&bytes).map_err(|e| store_status(&e))?;
            at += bytes.len() as u64;
        }
    }
    writer.commit().map_err(|e| store_status(&e))
}

/// A blob as something that is read from front to back.
struct Content {
    reader: BlobReader,
    at: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read_at(self.at, buffer.len()).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
