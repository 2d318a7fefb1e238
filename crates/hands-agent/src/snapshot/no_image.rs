//! In place of container images where the program is built without its feature `oci`.

use std::os::fd::OwnedFd;
use std::path::Path;

use hands_proto::v1::ImageRequest;
use hands_types::ErrorClass;

use super::Taken;
use super::stored::To;
use crate::error::SnapshotError;

/// None are.
pub(crate) struct KnownImages;

impl KnownImages {
    pub(crate) const fn new(_cache: &Path) -> Self {
        Self
    }
}

/// There is none.
pub(super) enum ImageSource {}

pub(super) fn source(
    image: &ImageRequest,
    _handle: Option<OwnedFd>,
) -> Result<ImageSource, SnapshotError> {
    Err(SnapshotError::Image {
        display: image.display.clone(),
        message: "this program was built without container images, its feature `oci`".to_owned(),
        class: ErrorClass::User,
    })
}

pub(super) fn take(
    _to: &To<'_>,
    source: &ImageSource,
    _known: &KnownImages,
) -> Result<Taken, SnapshotError> {
    match *source {}
}
