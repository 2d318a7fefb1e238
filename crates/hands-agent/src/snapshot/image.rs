//! Container images: into the agent's own store, and from there to a hub elsewhere.

use std::cell::RefCell;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use hands_image::{Image, ImageError, ImageLimits, Place, Sink, SinkError, Wanted, read};
use hands_proto::v1::{ImageConfig, ImageRequest, SnapshotRequest};
use hands_reapi::{Blob, Source};
use hands_store::{Pin, Store, StoreError};
use hands_types::{Digest, DigestFunction};
use tokio::runtime::Handle;

use super::{KEPT, ROUNDS, Taken, remote};
use crate::error::{SnapshotError, sentence};
use crate::walk::{LeftOut, Progress};

/// Blobs that are asked for and sent at once.
const GROUP: usize = 1024;

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

/// Takes an image. Blocks; called on a thread for that.
pub(super) fn take(
    store: &Store,
    runtime: &Handle,
    request: &SnapshotRequest,
    source: &ImageSource,
    function: DigestFunction,
    progress: &Progress,
) -> Result<Taken, SnapshotError> {
    let pin = RefCell::new(store.pin([]));
    let sink = IntoStore { store, function, progress, pin: &pin };
    for _ in 0..ROUNDS {
        let image = read(&source.place, &source.wanted, function, &ImageLimits::standard(), &sink);
        let image = image.map_err(|error| match error {
            ImageError::Cancelled => SnapshotError::Cancelled,
            error => SnapshotError::Image {
                display: source.display.clone(),
                message: sentence(&error),
                class: error.class(),
            },
        })?;
        pin.borrow_mut().add(image.blobs.iter().copied());
        // One that was here may have gone between its writing and its pin.
        if !store.missing(&image.blobs).map_err(|e| store_error(&e))?.is_empty() {
            continue;
        }
        if request.target.is_empty() {
            let name = format!("snapshot/{}", image.root);
            store.pin_named(&name, &image.blobs, Instant::now() + KEPT);
        } else {
            send(store, runtime, request, &image, function, progress)?;
        }
        return Ok(taken(image));
    }
    Err(SnapshotError::Unsteady)
}

/// Sends what the target misses.
fn send(
    store: &Store,
    runtime: &Handle,
    request: &SnapshotRequest,
    image: &Image,
    function: DigestFunction,
    progress: &Progress,
) -> Result<(), SnapshotError> {
    let client = remote::client(runtime, request, function)?;
    let blobs: Vec<Digest> = image.blobs.iter().copied().filter(|d| !d.is_empty()).collect();
    let failed = |error| remote::failed(request, &error);
    let missing = runtime.block_on(client.find_missing(&blobs)).map_err(failed)?;
    for group in missing.chunks(GROUP) {
        progress.check()?;
        let source = || Source::Stored(store.clone());
        let blobs = group.iter().map(|digest| Blob { digest: *digest, source: source() }).collect();
        runtime.block_on(client.upload(blobs)).map_err(failed)?;
        progress.bytes_sent.fetch_add(group.iter().map(|d| d.size).sum(), Ordering::Relaxed);
    }
    Ok(())
}

fn taken(image: Image) -> Taken {
    let Image { root, config, entries, bytes, lost, blobs: _ } = image;
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

struct IntoStore<'a> {
    store: &'a Store,
    function: DigestFunction,
    progress: &'a Progress,
    pin: &'a RefCell<Pin>,
}

impl Sink for IntoStore<'_> {
    fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError> {
        let mut noting = Noting { inner: content, failed: None };
        let is_wanted = || self.is_wanted();
        let stored = self.store.ingest_stream(self.function, &mut noting, size, &is_wanted);
        let digest = match (stored, noting.failed) {
            (Ok(digest), _) => digest,
            (Err(_), Some(error)) => return Err(SinkError::Read(error)),
            (Err(error), None) => return Err(not_stored(&error)),
        };
        self.pin.borrow_mut().add([digest]);
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        self.progress.bytes_hashed.fetch_add(digest.size, Ordering::Relaxed);
        Ok(digest)
    }

    fn directories(&self, directories: Vec<(Digest, Bytes)>) -> Result<(), SinkError> {
        self.pin.borrow_mut().add(directories.iter().map(|(digest, _)| *digest));
        for result in self.store.put_many(directories) {
            result.map_err(|error| not_stored(&error))?;
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        !self.progress.cancelled.load(Ordering::Relaxed)
    }
}

/// Keeps what went wrong with reading, which the store would tell in its own words.
struct Noting<'a> {
    inner: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

fn not_stored(error: &StoreError) -> SinkError {
    SinkError::Store {
        message: format!("the agent's store: {}", sentence(error)),
        class: error.class(),
    }
}

fn store_error(error: &StoreError) -> SnapshotError {
    SnapshotError::Store { message: sentence(error), class: error.class() }
}
