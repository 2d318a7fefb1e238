//! Files of large blobs that differ from the blob's own in mode or time. They stand beside the blobs, so that all trees
//! share them; one that no tree has any more goes when room is wanted, at the latest with its blob.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use hands_types::Digest;

use crate::db::lock;
use crate::error::StoreError;
use crate::files::{Face, TIMED, Temp, list, on_disk};
use crate::recover::add_meta;
use crate::store::Inner;

impl Inner {
    /// Puts a new file of a blob where trees look for it, over one that is damaged, and calls `link` while it can't go.
    /// If another thread was quicker, its file is the one: all trees share it.
    pub(crate) fn place_face<T>(
        &self,
        face: &Face,
        place: &Path,
        temp: Temp,
        link: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _one = lock(&self.trees.placing);
        if !self.is_face_sound(face, place) {
            let existed = place.exists();
            temp.move_to(place, false)?;
            self.trees.face_is_sound(face);
            if !existed {
                self.count_faces(on_disk(face.digest.size).cast_signed());
            }
        }
        link()
    }

    /// Whether a tree holds a file of a large blob, under whatever mode and time.
    pub(crate) fn is_in_tree(&self, digest: &Digest) -> Result<bool, StoreError> {
        let has_names = |path: &Path| {
            std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.nlink() > 1)
        };
        Ok(has_names(&self.layout.blob(digest))
            || has_names(&self.layout.twin(digest))
            || list(&self.layout.timed(digest))?.iter().any(|entry| has_names(&entry.path())))
    }

    /// Deletes all files of a blob but its own. What a tree holds stays and counts until the tree goes.
    pub(crate) fn remove_faces(&self, digest: &Digest) -> Result<(), StoreError> {
        let _one = lock(&self.trees.placing);
        let mut gone = 0;
        let twin = self.layout.twin(digest);
        gone += u64::from(self.remove_face(&twin)?);
        if gone > 0 {
            self.count_faces(-(gone * on_disk(digest.size)).cast_signed());
        }
        let freed = self.remove_unused_in(&self.layout.timed(digest))?;
        if freed > 0 {
            self.count_faces(-freed.cast_signed());
        }
        Ok(())
    }

    /// Deletes the files with a time of their own that no tree has any more; answers with the bytes freed.
    pub(crate) fn remove_unused_faces(&self) -> Result<u64, StoreError> {
        let mut freed = 0;
        for function in list(&self.layout.twins)? {
            for prefix in list(&function.path())? {
                for timed in list(&prefix.path())? {
                    let name = timed.file_name();
                    if name.as_encoded_bytes().ends_with(TIMED.as_bytes()) {
                        freed += self.remove_unused(&timed.path())?;
                    }
                }
            }
        }
        if freed > 0 {
            self.count_faces(-freed.cast_signed());
        }
        Ok(freed)
    }

    fn remove_unused(&self, timed: &Path) -> Result<u64, StoreError> {
        let _one = lock(&self.trees.placing);
        self.remove_unused_in(timed)
    }

    fn remove_unused_in(&self, timed: &Path) -> Result<u64, StoreError> {
        let (mut freed, mut left) = (0, false);
        for entry in list(timed)? {
            let path = entry.path();
            match std::fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.nlink() == 1 => {
                    if self.remove_face(&path)? {
                        freed += on_disk(metadata.len());
                    }
                }
                Ok(_) => left = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("look at", &path)(error)),
            }
        }
        if !left {
            remove_empty(timed);
        }
        Ok(freed)
    }

    /// Whether there was one.
    fn remove_face(&self, path: &Path) -> Result<bool, StoreError> {
        match self.linked.unlink(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("delete", path)(error)),
        }
    }

    /// Counts bytes of such files that came or went.
    fn count_faces(&self, delta: i64) {
        if delta >= 0 {
            self.file_bytes.fetch_add(delta.cast_unsigned(), Ordering::Relaxed);
        } else {
            self.file_bytes.fetch_sub(delta.unsigned_abs(), Ordering::Relaxed);
        }
        self.writer.submit_quietly("count the files that differ from their blob's", move |c| {
            add_meta(c, "twin-bytes", delta)
        });
    }
}

/// A directory that is not empty has got a file meanwhile, and one that is gone was the last's.
fn remove_empty(dir: &Path) {
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::trace!(%error, dir = %dir.display(), "stays");
    }
}
