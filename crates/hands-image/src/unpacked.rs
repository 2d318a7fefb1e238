//! A plain tar as a tree, by the same way as a layer of an image.

use std::fs::File;

use hands_types::{Digest, DigestFunction};

use crate::draft::Directories;
use crate::error::ImageError;
use crate::image::{ImageLimits, LayerFile, Lost, flatten, reachable};
use crate::sink::Sink;
use crate::unpack::Unpacking;

/// The tree of a tar that is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of its root.
    pub root: Digest,
    /// Every blob of the tree, each once.
    pub blobs: Vec<Digest>,
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What the tree can't hold.
    pub lost: Lost,
}

/// Reads a tar into a sink, plain or compressed with gzip or zstd: a file of this machine, from its beginning. Its names
/// mean what they say; none is a whiteout. Blocks.
pub fn unpack(
    file: &File,
    function: DigestFunction,
    limits: &ImageLimits,
    sink: &dyn Sink,
) -> Result<Unpacked, ImageError> {
    const PART: &str = "the tar";
    let failed = |source| ImageError::Read { what: PART.to_owned(), source };
    let size = file.metadata().map_err(failed)?.len();
    let file = file.try_clone().map_err(failed)?;
    let mut unpacking = Unpacking::new(limits, sink);
    unpacking.marks = false;
    let layer = LayerFile { file, offset: 0, size, hash: None, part: PART.to_owned() };
    let draft = unpacking.layer(layer, None, &[])?;
    let mut all = Directories::new();
    let root = flatten(vec![draft], function, &mut all)?;
    let (directories, blobs) = reachable(root, &mut all)?;
    sink.directories(directories).map_err(|error| ImageError::of_sink(PART, error))?;
    let Unpacking { lost, entries, bytes, .. } = unpacking;
    Ok(Unpacked { root, blobs, entries, bytes, lost })
}
