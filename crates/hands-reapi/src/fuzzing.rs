//! What no resource name and no compressed stream may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use std::fmt::Debug;

use crate::codec::{CodecError, Inflate, expand};
use crate::{BlobName, LogName, UploadName};

/// Reads bytes as each kind of resource name.
pub fn resource_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    stays(BlobName::parse(&text).ok(), BlobName::to_name, |name| BlobName::parse(name).ok());
    stays(UploadName::parse(&text).ok(), UploadName::to_name, |name| UploadName::parse(name).ok());
    stays(LogName::parse(&text), LogName::to_string, LogName::parse);
}

/// What was read is written, and read again as the same.
fn stays<N: PartialEq + Debug>(
    read: Option<N>,
    write: impl Fn(&N) -> String,
    parse: impl Fn(&str) -> Option<N>,
) {
    if let Some(name) = read {
        let written = write(&name);
        assert_eq!(parse(&written), Some(name), "{written}");
    }
}

/// Expands bytes, the first two of which say to how many, at once and piece by piece.
pub fn compressed_streams(data: &[u8]) {
    let Some((size, stream)) = data.split_first_chunk::<2>() else { return };
    let size = u64::from(u16::from_le_bytes(*size)) * 16;
    let whole = expand(stream, size);
    if let Ok(bytes) = &whole {
        assert!(bytes.len() as u64 <= size, "more than was announced");
    }
    let step = usize::from(data[0] % 7) + 1;
    let mut pieces = Vec::new();
    let inflated = Inflate::new(size).map_err(CodecError::Invalid).and_then(|mut inflate| {
        for piece in stream.chunks(step) {
            inflate.push(piece, |bytes| {
                pieces.extend_from_slice(bytes);
                Ok::<(), CodecError>(())
            })?;
        }
        inflate.finish()
    });
    assert!(pieces.len() as u64 <= size, "more than was announced, in pieces");
    // Not the other way round: libzstd looks less closely at an empty frame that comes in pieces.
    if let Ok(whole) = whole {
        assert!(inflated.is_ok(), "{inflated:?}, and is well in one piece");
        assert_eq!(pieces, whole, "pieces make another whole");
    }
}
