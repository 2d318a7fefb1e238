//! From a place to one tree.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use hands_tree::{Directory, MergeError, MergeLayer, merge};
use hands_types::limits;
use hands_types::{Digest, DigestFunction};

use crate::checked::Sha256;
use crate::config::ImageConfig;
use crate::documents::{ConfigDocument, parse};
use crate::draft::{Directories, Draft, encode};
use crate::error::ImageError;
use crate::sink::Sink;
use crate::unpack::Unpacking;
use crate::{archive, layout};

/// Where an image is.
#[derive(Debug)]
pub enum Place {
    /// The directory of an OCI layout.
    Layout(OwnedFd),
    /// A docker-archive that is not compressed.
    Archive(File),
}

/// Which image of a place is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name there; empty for the only one.
    pub reference: String,
    /// The operating system, as images call it: `linux`.
    pub os: String,
    /// The instruction set, as images call it: `amd64`, `arm64`.
    pub architecture: String,
}

impl Wanted {
    pub(crate) fn platform(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

/// How large an image may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Bytes that all layers together expand to.
    pub expanded: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Layers.
    pub layers: usize,
    /// Bytes of an index, a manifest or a configuration.
    pub document: u64,
}

/// Each layer is a descriptor, open until its turn comes.
pub(crate) fn few_enough(layers: usize, limits: &ImageLimits) -> Result<(), ImageError> {
    if layers > limits.layers {
        return Err(ImageError::TooLarge(format!("it has more than {} layers", limits.layers)));
    }
    Ok(())
}

impl ImageLimits {
    /// Those that users meet.
    pub const fn standard() -> Self {
        Self {
            expanded: limits::MAX_IMAGE,
            entries: limits::MAX_TREE_ENTRIES,
            layers: limits::MAX_IMAGE_LAYERS,
            document: limits::MAX_IMAGE_DOCUMENT,
        }
    }
}

/// An image that is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its tree's root.
    pub root: Digest,
    /// What was read: the digest of its manifest, as [`identity`] tells it. It is another where the image's name was given to
    /// another one meanwhile. An archive has none.
    pub manifest: Option<String>,
    /// How its programs want to be run.
    pub config: ImageConfig,
    /// Every blob of the tree, each once.
    pub blobs: Vec<Digest>,
    /// Entries of its layers.
    pub entries: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// What the tree can't hold.
    pub lost: Lost,
}

/// What of an image a tree can't hold, counted. Owners are not counted: everything is the action's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Files whose mode says more than whether they are executable: setuid, setgid, sticky.
    pub modes: u64,
    /// Entries with extended attributes, among them capabilities.
    pub attributes: u64,
    /// Devices and pipes.
    pub special: u64,
}

/// The parts of the chosen image.
pub(crate) struct Found {
    pub(crate) manifest: Option<String>,
    pub(crate) config: Vec<u8>,
    /// The lowest first.
    pub(crate) layers: Vec<LayerFile>,
}

/// A layer as it stands in its place.
pub(crate) struct LayerFile {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) hash: Option<Sha256>,
    /// For messages.
    pub(crate) part: String,
}

/// What an image is known by: of a layout the digest of its manifest, by which all of it is named. An archive has none that
/// could be had without reading it.
pub fn identity(
    place: &Place,
    wanted: &Wanted,
    limits: &ImageLimits,
) -> Result<Option<String>, ImageError> {
    match place {
        Place::Layout(directory) => layout::manifest(directory, wanted, limits).map(Some),
        Place::Archive(_) => Ok(None),
    }
}

/// Reads an image into a sink: its files and the directories of its one tree. Blocks. What went into the sink before an error
/// are blobs that nothing names.
pub fn read(
    place: &Place,
    wanted: &Wanted,
    function: DigestFunction,
    limits: &ImageLimits,
    sink: &dyn Sink,
) -> Result<Image, ImageError> {
    let found = match place {
        Place::Layout(directory) => layout::find(directory, wanted, limits)?,
        Place::Archive(file) => archive::find(file, wanted, limits, sink)?,
    };
    let part = "the configuration";
    let document: ConfigDocument = parse(part, &found.config)?;
    if !document.platform.is(&wanted.os, &wanted.architecture) {
        let there = vec![document.platform.name()];
        return Err(ImageError::NoPlatform { wanted: wanted.platform(), there });
    }
    let diff_ids = &document.rootfs.diff_ids;
    if diff_ids.len() != found.layers.len() {
        let why = format!("names {} layers, and there are {}", diff_ids.len(), found.layers.len());
        return Err(ImageError::damaged(part, why));
    }
    let mut unpacking = Unpacking::new(limits, sink);
    let mut drafts: Vec<Draft> = Vec::new();
    for (layer, diff_id) in found.layers.into_iter().zip(diff_ids) {
        let draft = unpacking.layer(layer, Some(Sha256::parse(diff_id)?), &drafts)?;
        drafts.push(draft);
    }
    let mut all = Directories::new();
    let root = flatten(drafts, function, &mut all)?;
    let (directories, blobs) = reachable(root, &mut all)?;
    sink.directories(directories).map_err(|error| ImageError::of_sink("its tree", error))?;
    let Unpacking { lost, entries, bytes, .. } = unpacking;
    let manifest = found.manifest;
    Ok(Image { root, manifest, config: ImageConfig::of(&document), blobs, entries, bytes, lost })
}

/// Merges the layers, lowest first.
pub(crate) fn flatten(
    drafts: Vec<Draft>,
    function: DigestFunction,
    all: &mut Directories,
) -> Result<Digest, ImageError> {
    let layers: Vec<_> = drafts.into_iter().map(|draft| draft.finish(function, all)).collect();
    let layers: Vec<MergeLayer<'_>> =
        layers.iter().map(|(root, marks)| MergeLayer { root: *root, marks }).collect();
    let mut new: Vec<Arc<Directory>> = Vec::new();
    let mut load = |digest: &Digest| match all.get(digest) {
        Some((directory, _)) => Ok(Arc::clone(directory)),
        None => Err("a directory of a layer is not there"),
    };
    let mut put = |directory: &Directory| {
        new.push(Arc::new(directory.clone()));
        encode(directory)
    };
    let merged = merge(function, &layers, &mut load, &mut put).map_err(|error| match error {
        MergeError::TooDeep(_) | MergeError::TooMany => ImageError::TooLarge(error.to_string()),
        MergeError::Load(_) => ImageError::damaged("its tree", error),
    })?;
    for directory in new {
        let bytes = Bytes::from(encode(&directory));
        all.insert(hands_tree::hash(function, &bytes), (directory, bytes));
    }
    Ok(merged.root)
}

/// The directories below a root, and every blob of the tree.
pub(crate) fn reachable(
    root: Digest,
    all: &mut Directories,
) -> Result<(Vec<(Digest, Bytes)>, Vec<Digest>), ImageError> {
    let (mut directories, mut todo) = (Vec::new(), vec![root]);
    // A file may have the bytes of a directory's message: what was seen as one was not seen as the other.
    let (mut files, mut seen) = (BTreeSet::new(), BTreeSet::from([root]));
    while let Some(digest) = todo.pop() {
        let (directory, bytes) = all
            .remove(&digest)
            .ok_or_else(|| ImageError::damaged("its tree", "lacks a directory"))?;
        files.extend(directory.files.iter().map(|file| file.digest));
        let below = directory.directories.iter().map(|below| below.digest);
        todo.extend(below.filter(|d| seen.insert(*d)));
        directories.push((digest, bytes));
    }
    files.extend(seen);
    Ok((directories, files.into_iter().collect()))
}
