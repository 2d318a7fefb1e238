//! Container images.

use std::os::fd::OwnedFd;

use hands_image::{Image, ImageLimits, Place, Wanted, identity, read};
use hands_proto::v1::{ImageConfig, ImageRequest};

use super::Taken;
pub(crate) use super::known::KnownImages;
use super::known::unchanged;
use super::sink::image_error;
use super::stored::{self, To};
use crate::error::SnapshotError;
use crate::walk::LeftOut;

/// An image of this machine, opened by the front-end.
pub(super) struct ImageSource {
    place: Place,
    wanted: Wanted,
    display: String,
}

/// Reads what a request says of its image. It comes with one handle, which is taken as the last.
pub(super) fn source(
    image: &ImageRequest,
    handle: Option<OwnedFd>,
) -> Result<ImageSource, SnapshotError> {
    let handle = handle.ok_or(SnapshotError::Protocol("an image without a handle of its own"))?;
    let place = if image.archive { Place::Archive(handle.into()) } else { Place::Layout(handle) };
    let wanted = Wanted {
        reference: image.reference.clone(),
        os: image.os.clone(),
        architecture: image.architecture.clone(),
    };
    Ok(ImageSource { place, wanted, display: image.display.clone() })
}

/// Takes an image. One that was taken before is not read again while all of it is in the store. Blocks; called on a thread for
/// that.
pub(super) fn take(
    to: &To<'_>,
    source: &ImageSource,
    known: &KnownImages,
) -> Result<Taken, SnapshotError> {
    let function = to.function;
    let before = known_by(source)?;
    let key = before.as_ref().map(|by| known.key(by, &source.wanted, function));
    if let Some(taken) = key.and_then(|key| known.get(&key, function))
        && stored::is_there(to, &taken.root)?
    {
        return Ok(taken);
    }
    let mut manifest = None;
    let taken = stored::take(to, |sink| {
        let limits = ImageLimits::standard();
        let image = read(&source.place, &source.wanted, function, &limits, sink);
        let mut image = image.map_err(|error| image_error(&source.display, &error))?;
        manifest = image.manifest.take();
        let blobs = std::mem::take(&mut image.blobs);
        Ok((taken(image), blobs))
    })?;
    // A name may have been given to another image since it was looked at, and an archive may have changed.
    let read = match manifest {
        Some(manifest) => Some(manifest),
        None => known_by(source)?.filter(|now| Some(now) == before.as_ref()),
    };
    if let Some(by) = read {
        known.put(&known.key(&by, &source.wanted, function), &taken);
    }
    Ok(taken)
}

/// What the image is known by; none where that can't be told from what it was before.
fn known_by(source: &ImageSource) -> Result<Option<String>, SnapshotError> {
    let ImageSource { place, wanted, display } = source;
    let manifest = identity(place, wanted, &ImageLimits::standard());
    let manifest = manifest.map_err(|error| image_error(display, &error))?;
    Ok(match (manifest, place) {
        (Some(manifest), _) => Some(manifest),
        (None, Place::Archive(file)) => {
            unchanged(file).map(|key| format!("{key:?} {}", wanted.reference))
        }
        (None, Place::Layout(_)) => None,
    })
}

fn taken(image: Image) -> Taken {
    let Image { root, config, entries, bytes, lost, blobs: _, manifest: _ } = image;
    let env = config.env.into_iter().map(|(name, value)| format!("{name}={value}"));
    let config = ImageConfig {
        env: env.collect(),
        working_directory: config.working_directory,
        entrypoint: config.entrypoint,
        command: config.command,
        user: config.user,
        lost_modes: lost.modes,
        lost_attributes: lost.attributes,
        lost_special: lost.special,
    };
    Taken { root, files: entries, bytes, left_out: LeftOut::default(), image: Some(config) }
}
