//! Images that were read before: what came of them, by what they are known by. A cache; may be deleted at any time.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hands_image::Wanted;
use hands_proto::v1::SnapshotDone;
use hands_types::{Digest, DigestFunction};
use prost::Message as _;

use super::Taken;
use crate::stat_cache::{Clock as _, StatKey, SystemClock};
use crate::walk::LeftOut;

/// Images that are remembered.
const MOST: usize = 256;
/// A record of an image is a message of ours and smaller.
const LARGEST: u64 = 8 << 20;
/// Begins each record; another version's are passed over.
const VERSION: &str = "hands image 2";

/// Where they are remembered.
pub(crate) struct KnownImages {
    directory: PathBuf,
}

impl KnownImages {
    pub(crate) fn new(cache: &Path) -> Self {
        Self { directory: cache.join("images") }
    }

    /// Where it is remembered what came of an image that is known by something.
    pub(super) fn key(&self, known_by: &str, wanted: &Wanted, function: DigestFunction) -> PathBuf {
        let platform = (&wanted.os, &wanted.architecture, function.name());
        let text = format!("{VERSION} {known_by} {platform:?}");
        self.directory.join(hands_tree::hash(DigestFunction::Sha256, text.as_bytes()).hex())
    }

    /// What came of it.
    pub(super) fn get(&self, key: &Path, function: DigestFunction) -> Option<Taken> {
        if fs::metadata(key).ok()?.len() > LARGEST {
            return None;
        }
        let done = SnapshotDone::decode(&*fs::read(key).ok()?).ok()?;
        let root: Digest = done.root.as_ref()?.to_digest(function).ok()?;
        let (files, bytes, left_out) = (done.files, done.bytes, LeftOut::default());
        Some(Taken { root, files, bytes, left_out, image: Some(done.image?) })
    }

    /// Remembers it. That it can't be is no reason to fail.
    pub(super) fn put(&self, key: &Path, taken: &Taken) {
        let done = SnapshotDone {
            root: Some(taken.root.into()),
            files: taken.files,
            bytes: taken.bytes,
            image: taken.image.clone(),
            ..SnapshotDone::default()
        };
        if let Err(error) = self.write(key, &done.encode_to_vec()) {
            tracing::warn!(%error, "an image is not remembered, and will be read again");
        }
    }

    fn write(&self, key: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.forget_oldest()?;
        let temporary = key.with_extension("new");
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(temporary, key)
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
        all.sort();
        let too_many = (all.len() + 1).saturating_sub(MOST);
        all.iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// The file as it is, if it was left alone for long enough that its times tell when it changes.
pub(super) fn unchanged(file: &File) -> Option<StatKey> {
    let key = StatKey::of(&rustix::fs::fstat(file.as_fd()).ok()?);
    key.is_settled(SystemClock.now()).then_some(key)
}
