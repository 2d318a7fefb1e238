//! Parts of an input root that are no paths: a stream that is read to its end, and a tar.

use std::fs::File;
use std::os::fd::OwnedFd;

use hands_proto::v1::{StreamRequest, TarRequest};
use hands_tree::{Entry, Leaf, build};
use hands_types::{Digest, RelPath};

use super::Taken;
use super::pouring::Pouring;
use super::stored::{self, To};
use crate::error::SnapshotError;
use crate::walk::LeftOut;

/// A part, opened by the front-end.
pub(super) enum Part {
    Stream {
        from: File,
        place: RelPath,
        /// The connection to the front-end.
        asker: OwnedFd,
    },
    #[cfg(feature = "oci")]
    Tar { file: File, display: String },
}

impl Part {
    pub(super) fn stream(
        request: &StreamRequest,
        handle: Option<OwnedFd>,
        asker: OwnedFd,
    ) -> Result<Self, SnapshotError> {
        let from = handle.ok_or(SnapshotError::Protocol("a stream without a handle"))?.into();
        let place = RelPath::new(&request.place).ok().filter(|place| !place.as_str().is_empty());
        let place = place.ok_or(SnapshotError::Protocol("a stream without a place"))?;
        Ok(Self::Stream { from, place, asker })
    }

    #[cfg(not(feature = "oci"))]
    pub(super) fn tar(
        request: &TarRequest,
        _handle: Option<OwnedFd>,
    ) -> Result<Self, SnapshotError> {
        Err(SnapshotError::Image {
            display: request.display.clone(),
            message: "this program was built without tars and images, its feature `oci`".to_owned(),
            class: hands_types::ErrorClass::User,
        })
    }

    #[cfg(feature = "oci")]
    pub(super) fn tar(
        request: &TarRequest,
        handle: Option<OwnedFd>,
    ) -> Result<Self, SnapshotError> {
        let file = handle.ok_or(SnapshotError::Protocol("a tar without a handle"))?.into();
        Ok(Self::Tar { file, display: request.display.clone() })
    }

    /// Takes it. Blocks; called on a thread for that.
    pub(super) fn take(&self, to: &To<'_>) -> Result<Taken, SnapshotError> {
        match self {
            Self::Stream { from, place, asker } => {
                // It can be read once, so that it is kept for a second look.
                let mut read: Option<Digest> = None;
                let cancelled = &to.progress.cancelled;
                stored::take(to, |sink| {
                    let digest = match read {
                        Some(digest) => digest,
                        None => sink.stream(&mut Pouring { from, asker, cancelled })?,
                    };
                    read = Some(digest);
                    one_file(to, sink, digest, place)
                })
            }
            #[cfg(feature = "oci")]
            Self::Tar { file, display } => stored::take(to, |sink| {
                let limits = hands_image::ImageLimits::standard();
                let tree = hands_image::unpack(file, to.function, &limits, sink);
                let tree = tree.map_err(|error| super::sink::image_error(display, &error))?;
                let left_out = LeftOut::default();
                let (files, bytes) = (tree.entries, tree.bytes);
                let taken = Taken { root: tree.root, files, bytes, left_out, image: None };
                Ok((taken, tree.blobs))
            }),
        }
    }
}

/// A tree of one file.
fn one_file(
    to: &To<'_>,
    sink: &stored::IntoStore<'_>,
    digest: Digest,
    place: &RelPath,
) -> Result<(Taken, Vec<Digest>), SnapshotError> {
    let entry = Entry { path: place.clone(), leaf: Leaf::File { digest, executable: false } };
    let built = build(to.function, [entry], hands_store::encode_directory)
        .map_err(|_| SnapshotError::Protocol("a stream without a place"))?;
    let root = built.last().map(|directory| directory.digest);
    let root = root.ok_or(SnapshotError::Protocol("a stream without a place"))?;
    let blobs = built.iter().map(|directory| directory.digest).chain([digest]).collect();
    let directories = built.into_iter().map(|built| (built.digest, built.bytes.into())).collect();
    sink.put_directories(directories).map_err(|error| stored::store_error(&error))?;
    let taken =
        Taken { root, files: 1, bytes: digest.size, left_out: LeftOut::default(), image: None };
    Ok((taken, blobs))
}
