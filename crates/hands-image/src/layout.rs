//! An OCI image layout: a directory of blobs by their digests, and an index.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::checked::{Checked, Sha256};
use crate::documents::{Descriptor, Index, Manifest, parse};
use crate::error::ImageError;
use crate::image::{Found, ImageLimits, LayerFile, Wanted, few_enough};

/// Indexes that are read for one image: the same one may be named many times.
const MAX_INDEXES: usize = 64;
/// Platforms that an error names.
const SHOWN: usize = 32;
/// Indexes within indexes that are followed.
const DEEPEST: usize = 4;

/// The digest of the manifest of the image that is wanted.
pub(crate) fn manifest(
    directory: &OwnedFd,
    wanted: &Wanted,
    limits: &ImageLimits,
) -> Result<String, ImageError> {
    let manifest = descriptor(directory, wanted, limits)?;
    Ok(Sha256::parse(&manifest.digest)?.hex())
}

/// The manifest of the image that is wanted.
fn descriptor(
    directory: &OwnedFd,
    wanted: &Wanted,
    limits: &ImageLimits,
) -> Result<Descriptor, ImageError> {
    let index = top(directory, limits)?;
    let named: Vec<Descriptor> = match wanted.reference.as_str() {
        "" => {
            let mut there: Vec<String> =
                index.manifests.iter().filter_map(|m| m.tag().map(str::to_owned)).collect();
            there.sort();
            there.dedup();
            if there.len() > 1 {
                return Err(ImageError::WhichTag { there });
            }
            index.manifests
        }
        wanted => {
            let is_it = |m: &&Descriptor| m.tag() == Some(wanted);
            let found: Vec<Descriptor> = index.manifests.iter().filter(is_it).cloned().collect();
            if found.is_empty() {
                let tags = index.manifests.iter().filter_map(Descriptor::tag);
                let there = tags.map(str::to_owned).collect();
                return Err(ImageError::NoTag { wanted: wanted.to_owned(), there });
            }
            found
        }
    };
    let mut there = Vec::new();
    let mut indexes = MAX_INDEXES;
    let search = (DEEPEST, &mut indexes);
    choose(directory, named, wanted, limits, search, &mut there)?
        .ok_or_else(|| ImageError::NoPlatform { wanted: wanted.platform(), there })
}

/// Chooses the image and opens its parts.
pub(crate) fn find(
    directory: &OwnedFd,
    wanted: &Wanted,
    limits: &ImageLimits,
) -> Result<Found, ImageError> {
    let manifest = descriptor(directory, wanted, limits)?;
    let digest = Sha256::parse(&manifest.digest)?.hex();
    let part = name("the manifest", &manifest);
    let manifest: Manifest = parse(&part, &document(directory, &part, &manifest, limits)?)?;
    let part = name("the configuration", &manifest.config);
    let config = document(directory, &part, &manifest.config, limits)?;
    few_enough(manifest.layers.len(), limits)?;
    let layers = manifest.layers.iter().enumerate().map(|(n, layer)| {
        let part = name(&format!("layer {}", n + 1), layer);
        if layer.media_type.contains("encrypted") {
            return Err(ImageError::unsupported(&part, "is encrypted"));
        }
        let hash = Sha256::parse(&layer.digest)?;
        Ok(LayerFile {
            file: open(directory, &part, hash)?,
            offset: 0,
            size: layer.size,
            hash: Some(hash),
            part,
        })
    });
    Ok(Found { manifest: Some(digest), config, layers: layers.collect::<Result<_, _>>()? })
}

fn top(directory: &OwnedFd, limits: &ImageLimits) -> Result<Index, ImageError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(directory, "index.json", flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => {
            let why = "it has no index.json".to_owned();
            return Err(ImageError::NoImage { what: "OCI image layout", why });
        }
        Err(error) => {
            return Err(ImageError::Read { what: "index.json".to_owned(), source: error.into() });
        }
    };
    let mut bytes = Vec::new();
    let read = file.take(limits.document + 1).read_to_end(&mut bytes);
    read.map_err(|source| ImageError::Read { what: "index.json".to_owned(), source })?;
    too_large("index.json", bytes.len() as u64, limits)?;
    parse("index.json", &bytes)
}

/// The first image for the platform, indexes within indexes included.
fn choose(
    directory: &OwnedFd,
    among: Vec<Descriptor>,
    wanted: &Wanted,
    limits: &ImageLimits,
    (depth, left): (usize, &mut usize),
    there: &mut Vec<String>,
) -> Result<Option<Descriptor>, ImageError> {
    for one in among {
        if let Some(platform) = &one.platform
            && !platform.is(&wanted.os, &wanted.architecture)
        {
            // `unknown` is what builders call their notes on an image.
            let name = platform.name();
            if platform.os != "unknown" && there.len() < SHOWN && !there.contains(&name) {
                there.push(name);
            }
            continue;
        }
        if !one.is_index() {
            return Ok(Some(one));
        }
        let part = name("the index", &one);
        let Some(depth) = depth.checked_sub(1) else {
            return Err(ImageError::unsupported(&part, "lies too deep in others"));
        };
        let Some(fewer) = left.checked_sub(1) else {
            return Err(ImageError::TooLarge(format!("it has more than {MAX_INDEXES} indexes")));
        };
        *left = fewer;
        let index: Index = parse(&part, &document(directory, &part, &one, limits)?)?;
        if let Some(found) =
            choose(directory, index.manifests, wanted, limits, (depth, &mut *left), there)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Reads and checks a document.
fn document(
    directory: &OwnedFd,
    part: &str,
    descriptor: &Descriptor,
    limits: &ImageLimits,
) -> Result<Vec<u8>, ImageError> {
    too_large(part, descriptor.size, limits)?;
    let hash = Sha256::parse(&descriptor.digest)?;
    let mut checked = Checked::new(open(directory, part, hash)?, descriptor.size, Some(hash));
    let mut bytes = Vec::new();
    let read = checked.read_to_end(&mut bytes).and_then(|_| checked.finish());
    read.map_err(|error| ImageError::reading(part, error))?;
    Ok(bytes)
}

pub(crate) fn too_large(part: &str, size: u64, limits: &ImageLimits) -> Result<(), ImageError> {
    if size <= limits.document {
        return Ok(());
    }
    Err(ImageError::TooLarge(format!("{part} has more than {} bytes", limits.document)))
}

/// Opens a blob; links are not followed.
fn open(directory: &OwnedFd, part: &str, hash: Sha256) -> Result<File, ImageError> {
    let failed = |error: Errno| match error {
        Errno::NOENT => ImageError::damaged(part, "is missing"),
        error => ImageError::Read { what: part.to_owned(), source: error.into() },
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let path = format!("blobs/sha256/{}", hash.hex());
    let file = rustix::fs::openat(directory.as_fd(), path, flags, Mode::empty()).map_err(failed)?;
    Ok(file.into())
}

fn name(what: &str, descriptor: &Descriptor) -> String {
    let digest = descriptor.digest.strip_prefix("sha256:").unwrap_or(&descriptor.digest);
    let short: String = digest.chars().take(12).collect();
    format!("{what} ({})", crate::error::shown(&short))
}
