//! zstd with bounds: nothing is allocated for what a peer claims, only for what arrived.

mod deflate;

use std::io;

use bytes::Bytes;
use hands_tree::Hasher;
use hands_types::Digest;
use zstd::stream::raw::{DParameter, InBuffer, OutBuffer};
use zstd::zstd_safe::{DCtx, get_error_name};

pub(crate) use deflate::Deflate;

/// Level for the wire: about 400 MB/s a core.
pub(crate) const LEVEL: i32 = 1;
/// Largest window that a peer's stream may ask for, as a power of two: 8 MiB, what RFC 8878 wants of every decoder, and what
/// encoders use up to level 19.
const WINDOW_LOG: u32 = 23;
const PIECE: usize = 128 << 10;

/// Why bytes could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// More came out than was announced.
    #[error("decompresses to more than the {0} bytes of its digest")]
    TooMuch(u64),
    /// All of it is something else.
    #[error("decompresses to {0}")]
    Another(Digest),
    /// Not zstd.
    #[error("is not valid zstd: {0}")]
    Invalid(io::Error),
    /// Nobody waits for the answer.
    #[error("is not wanted any more")]
    GivenUp,
    /// The stream ends in the middle.
    #[error("ends in the middle of a zstd frame")]
    Cut,
}

/// What of a blob is looked at to see whether it is worth compressing.
pub(crate) const SAMPLE: usize = 128 << 10;

/// Compresses one blob if that makes it smaller by a sixteenth at least.
pub(crate) fn shrink(data: &[u8]) -> Option<Bytes> {
    // A sample that shrinks is compressed twice, which must be little of the whole.
    if data.len() < 512 || data.len() >= 8 * SAMPLE && !shrinks(data) {
        return None;
    }
    let packed = zstd::bulk::compress(data, LEVEL).ok()?;
    is_smaller(packed.len(), data.len()).then(|| Bytes::from(packed))
}

/// Whether the beginning of a blob becomes smaller, so that the rest is worth the try.
pub(crate) fn shrinks(beginning: &[u8]) -> bool {
    let sample = &beginning[..beginning.len().min(SAMPLE)];
    // Without an answer there is nothing to gain either.
    zstd::bulk::compress(sample, LEVEL).is_ok_and(|packed| is_smaller(packed.len(), sample.len()))
}

fn is_smaller(packed: usize, plain: usize) -> bool {
    packed < plain - plain / 16
}

/// Decompresses one blob of a known size.
pub(crate) fn expand(data: &[u8], size: u64) -> Result<Bytes, CodecError> {
    let mut out = Vec::new();
    let mut inflate = Inflate::new(size).map_err(CodecError::Invalid)?;
    inflate.push(data, |piece| {
        out.extend_from_slice(piece);
        Ok(())
    })?;
    inflate.finish()?;
    Ok(Bytes::from(out))
}

/// How many times as large as its compressed form a blob may claim to be before it is looked at twice.
const SUSPICIOUS: u64 = 64;

/// Whether so many compressed bytes stand for so few, as yet, that nothing of what they claim to be is written before they are
/// known to be it. With each that comes more is believed.
pub(crate) fn is_doubtful(claimed: u64, sent: u64) -> bool {
    claimed / SUSPICIOUS > sent.max(PIECE as u64)
}

/// Looks whether a whole blob is what its digest says: decompressed without being kept, so that a bomb costs no disk.
pub(crate) struct Check {
    digest: Digest,
    inflate: Inflate,
    hasher: Hasher,
}

impl Check {
    pub(crate) fn new(digest: Digest) -> Result<Self, CodecError> {
        let inflate = Inflate::new(digest.size).map_err(CodecError::Invalid)?;
        Ok(Self { digest, inflate, hasher: Hasher::new(digest.function) })
    }

    /// Takes compressed bytes. Ends early where it is not wanted any more: a few may stand for very many.
    pub(crate) fn push(
        &mut self,
        data: &[u8],
        is_wanted: impl Fn() -> bool,
    ) -> Result<(), CodecError> {
        let Self { inflate, hasher, .. } = self;
        inflate.push(data, |out| {
            if !is_wanted() {
                return Err(CodecError::GivenUp);
            }
            hasher.update(out);
            Ok(())
        })
    }

    /// That was all of it.
    pub(crate) fn finish(self) -> Result<(), CodecError> {
        self.inflate.finish()?;
        let actual = self.hasher.finish();
        if actual == self.digest { Ok(()) } else { Err(CodecError::Another(actual)) }
    }
}

/// Decompresses a stream that may hold no more than `left` bytes.
pub(crate) struct Inflate {
    decoder: DCtx<'static>,
    limit: u64,
    left: u64,
    in_frame: bool,
    // The decoder filled the last piece and may have more, without further input.
    held_back: bool,
    piece: Vec<u8>,
}

impl Inflate {
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let mut decoder = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(invalid)?;
        let room = usize::try_from(limit.saturating_add(1)).unwrap_or(PIECE).clamp(1, PIECE);
        Ok(Self {
            decoder,
            limit,
            left: limit,
            in_frame: false,
            held_back: false,
            piece: vec![0; room],
        })
    }

    /// Takes compressed bytes and hands out what they hold, piece by piece.
    pub(crate) fn push<E: From<CodecError>>(
        &mut self,
        data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() || self.held_back {
            let mut output = OutBuffer::around(self.piece.as_mut_slice());
            let hint = self
                .decoder
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| CodecError::Invalid(invalid(code)))?;
            let produced = output.pos();
            // The room is one byte larger than the limit where it could be, so there is no way around this check.
            self.left =
                self.left.checked_sub(produced as u64).ok_or(CodecError::TooMuch(self.limit))?;
            if produced > 0 {
                each(&self.piece[..produced])?;
            }
            self.in_frame = hint != 0;
            self.held_back = self.in_frame && produced == self.piece.len();
        }
        Ok(())
    }

    /// Bytes that it takes in memory.
    pub(crate) fn memory(&self) -> usize {
        self.decoder.sizeof() + self.piece.len()
    }

    /// Checks that the stream ended where a frame does.
    pub(crate) fn finish(&self) -> Result<(), CodecError> {
        if self.in_frame { Err(CodecError::Cut) } else { Ok(()) }
    }
}

fn invalid(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

#[cfg(test)]
pub(crate) mod tests;
