//! Streams that someone wants as zstd.

use std::io;

use zstd::stream::raw::{Encoder, InBuffer, Operation as _, OutBuffer};

use super::{LEVEL, PIECE, shrinks};

/// Compresses a stream. One whose beginning does not become smaller is packed as it is, which is zstd as well: the reader's
/// decoder copies it, and nobody has spent time on it.
pub(crate) struct Deflate(Form);

enum Form {
    /// Nothing has come yet.
    Unknown,
    Compressed(Encoder<'static>),
    Stored,
}

/// The beginning of a frame without its size and without a checksum: the magic number, no flags, a window of 128 KiB (RFC
/// 8878, 3.1.1).
const HEAD: [u8; 6] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
/// Most that a block of such a frame may hold.
pub(super) const BLOCK: usize = 128 << 10;
/// A last block, of no bytes.
const END: [u8; 3] = [1, 0, 0];

impl Deflate {
    /// Bytes that it takes in memory: `ZSTD_sizeof_CCtx` of zstd 1.5.7 says 1,369,625 at this level.
    pub(crate) const MEMORY: usize = 1_400 << 10;

    pub(crate) fn new() -> Self {
        Self(Form::Unknown)
    }

    /// Takes the next bytes; what comes out of it is appended to `out`. The first bytes decide for all.
    pub(crate) fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if matches!(self.0, Form::Unknown) && !data.is_empty() {
            self.0 = if shrinks(data) {
                Form::Compressed(Encoder::new(LEVEL)?)
            } else {
                out.extend_from_slice(&HEAD);
                Form::Stored
            };
        }
        match &mut self.0 {
            Form::Unknown => {}
            Form::Compressed(encoder) => {
                let mut input = InBuffer::around(data);
                while input.pos() < data.len() {
                    out.reserve(PIECE);
                    let at = out.len();
                    encoder.run(&mut input, &mut OutBuffer::around_pos(out, at))?;
                }
            }
            Form::Stored => {
                let blocks = data.len().div_ceil(BLOCK);
                out.reserve(data.len() + blocks * END.len());
                for block in data.chunks(BLOCK) {
                    // Three bytes: not the last, kind 0 ("raw"), and the size above them.
                    let head = u32::try_from(block.len()).map_err(io::Error::other)? << 3;
                    out.extend_from_slice(&head.to_le_bytes()[..END.len()]);
                    out.extend_from_slice(block);
                }
            }
        }
        Ok(())
    }

    /// Ends the frame.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let encoder = match &mut self.0 {
            Form::Compressed(encoder) => encoder,
            Form::Stored => {
                out.extend_from_slice(&END);
                return Ok(());
            }
            Form::Unknown => {
                out.extend_from_slice(&HEAD);
                out.extend_from_slice(&END);
                return Ok(());
            }
        };
        loop {
            out.reserve(PIECE);
            let at = out.len();
            if encoder.finish(&mut OutBuffer::around_pos(out, at), true)? == 0 {
                return Ok(());
            }
        }
    }
}
