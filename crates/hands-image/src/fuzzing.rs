//! What no layer may do, whatever its bytes are: for `fuzz/` and for the tests.

#[cfg(test)]
mod tests;

use std::io::Read;

use bytes::Bytes;
use hands_types::{Digest, DigestFunction};

use crate::draft::Directories;
use crate::entries::Entries;
use crate::image::ImageLimits;
use crate::sink::{Sink, SinkError};
use crate::unpack::Unpacking;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

/// Keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(SinkError::Read)?;
        assert_eq!(bytes.len() as u64, size, "a file has the bytes that its header says");
        Ok(hands_tree::hash(FUNCTION, &bytes))
    }

    fn directories(&self, _: Vec<(Digest, Bytes)>) -> Result<(), SinkError> {
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        true
    }
}

/// Reads bytes as two layers, one upon the other: refused, or a tree of canonical directories.
pub fn layers(data: &[u8]) {
    let limits = ImageLimits { entries: 10_000, ..ImageLimits::standard() };
    let mut unpacking = Unpacking::new(&limits, &Nowhere);
    let middle = data.len() / 1024 * 512;
    let mut drafts = Vec::new();
    for layer in [&data[..middle], &data[middle..]] {
        let Ok(draft) = unpacking.fill("it", &mut Entries::new(layer), &drafts) else { return };
        drafts.push(draft);
    }
    let mut all = Directories::new();
    for draft in drafts {
        draft.finish(FUNCTION, &mut all);
    }
    for (directory, _) in all.values() {
        assert_eq!(directory.check(FUNCTION), Ok(()), "each directory is canonical");
    }
}
