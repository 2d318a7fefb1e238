//! A docker-archive, as `docker save` writes it: a tar of layers, with a list of the images in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::checked::{Checked, Sha256};
use crate::documents::{ArchiveManifest, parse};
use crate::entries::{Entries, Kind};
use crate::error::{ImageError, shown};
use crate::image::{Found, ImageLimits, LayerFile, Wanted, few_enough};
use crate::layout::too_large;
use crate::sink::Sink;

const WHAT: &str = "the archive";
/// Links within an archive that are followed.
const MOST_LINKS: usize = 8;

/// What stands at a path of the archive.
enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// As old archives name a layer that stands in them twice.
    Link(String),
}

struct Archive {
    file: File,
    members: BTreeMap<String, Member>,
}

/// Chooses the image and opens its parts.
pub(crate) fn find(
    file: &File,
    wanted: &Wanted,
    limits: &ImageLimits,
    sink: &dyn Sink,
) -> Result<Found, ImageError> {
    let archive = Archive::list(file, limits, sink)?;
    if !archive.members.contains_key("manifest.json") {
        let why = "it has no manifest.json".to_owned();
        return Err(ImageError::NoImage { what: "docker-archive", why });
    }
    let bytes = archive.document("manifest.json", None, limits)?;
    let images: Vec<ArchiveManifest> = parse("manifest.json", &bytes)?;
    let tags = |image: &ArchiveManifest| image.repo_tags.clone().unwrap_or_default();
    let there: Vec<String> = images.iter().flat_map(tags).collect();
    let image = match wanted.reference.as_str() {
        "" if images.len() > 1 => return Err(ImageError::WhichTag { there }),
        "" => images.first(),
        wanted => {
            let is_it = |tag: &String| familiar(tag) == familiar(wanted);
            images.iter().find(|image| tags(image).iter().any(is_it))
        }
    };
    let Some(image) = image else {
        return Err(ImageError::NoTag { wanted: wanted.reference.clone(), there });
    };
    // Its name is its digest, in both forms that there are.
    let last = image.config.rsplit('/').next().unwrap_or_default();
    let hash = Sha256::from_hex(last.strip_suffix(".json").unwrap_or(last));
    let config = archive.document(&image.config, hash, limits)?;
    few_enough(image.layers.len(), limits)?;
    let layers = image.layers.iter().enumerate().map(|(n, path)| {
        let part = format!("layer {} ({})", n + 1, shown(path));
        let (offset, size) = archive.find(&part, path)?;
        let file = archive.file.try_clone();
        let file = file.map_err(|source| ImageError::Read { what: WHAT.to_owned(), source })?;
        // What it expands to is checked in any case; of itself nothing is told.
        Ok(LayerFile { file, offset, size, hash: None, part })
    });
    Ok(Found { manifest: None, config, layers: layers.collect::<Result<_, _>>()? })
}

impl Archive {
    /// Goes through the whole archive once, passing over contents.
    fn list(file: &File, limits: &ImageLimits, sink: &dyn Sink) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Read { what: WHAT.to_owned(), source };
        let mut file = file.try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut magic = [0; 4];
        let n = file.read(&mut magic).map_err(failed)?;
        if matches!(magic[..n], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]) {
            let why = "is compressed: unpack it with `gunzip` or `unzstd` first";
            return Err(ImageError::unsupported(WHAT, why));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut entries = Entries::new(BufReader::with_capacity(4096, &file));
        let mut members = BTreeMap::new();
        while let Some(entry) = entries.next(WHAT)? {
            if !sink.is_wanted() {
                return Err(ImageError::Cancelled);
            }
            let path = plain(&entry.path);
            let member = match entry.kind {
                Kind::File => Member::File { offset: entries.offset(), size: entry.size },
                Kind::Symlink | Kind::HardLink => {
                    let target = String::from_utf8_lossy(&entry.link).into_owned();
                    let up = path.rsplit_once('/').map_or("", |(up, _)| up);
                    let relative = matches!(entry.kind, Kind::Symlink);
                    Member::Link(if relative { format!("{up}/{target}") } else { target })
                }
                Kind::Directory | Kind::Special => continue,
            };
            members.insert(path, member);
            if members.len() as u64 > limits.entries {
                return Err(ImageError::TooLarge(format!(
                    "the archive has more than {} entries",
                    limits.entries
                )));
            }
        }
        let file = file.try_clone().map_err(failed)?;
        Ok(Self { file, members })
    }

    fn find(&self, part: &str, path: &str) -> Result<(u64, u64), ImageError> {
        let mut path = plain(path.as_bytes());
        for _ in 0..MOST_LINKS {
            match self.members.get(&path) {
                None => return Err(ImageError::damaged(part, "is missing")),
                Some(Member::File { offset, size }) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => path = plain(target.as_bytes()),
            }
        }
        Err(ImageError::damaged(part, "is a link that leads to no file"))
    }

    fn document(
        &self,
        path: &str,
        hash: Option<Sha256>,
        limits: &ImageLimits,
    ) -> Result<Vec<u8>, ImageError> {
        let part = shown(path);
        let (offset, size) = self.find(&part, path)?;
        too_large(&part, size, limits)?;
        let mut file = &self.file;
        let mut bytes = Vec::new();
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| {
            let mut checked = Checked::new(file, size, hash);
            checked.read_to_end(&mut bytes)?;
            checked.finish()
        });
        read.map_err(|error| ImageError::reading(&part, error))?;
        Ok(bytes)
    }
}

/// A name as people type it, without the registry that is meant where none is named.
fn familiar(tag: &str) -> &str {
    let tag = tag.strip_prefix("docker.io/").unwrap_or(tag);
    tag.strip_prefix("library/").unwrap_or(tag)
}

/// A path without `.` and `..`, as the names within an archive mean it.
fn plain(path: &[u8]) -> String {
    let mut names: Vec<&str> = Vec::new();
    let path = String::from_utf8_lossy(path);
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}
