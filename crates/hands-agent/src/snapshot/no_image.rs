//! In place of container images where the program is built without its feature `oci`.

use std::os::fd::OwnedFd;

use hands_proto::v1::{ImageRequest, SnapshotRequest};
use hands_store::Store;
use hands_types::{DigestFunction, ErrorClass};
use tokio::runtime::Handle;

use super::Taken;
use crate::error::SnapshotError;
use crate::walk::Progress;

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
    _store: &Store,
    _runtime: &Handle,
    _request: &SnapshotRequest,
    source: &ImageSource,
    _function: DigestFunction,
    _progress: &Progress,
) -> Result<Taken, SnapshotError> {
    match *source {}
}
