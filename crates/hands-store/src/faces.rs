//! Files of large blobs that differ from the blob's own in mode or time. They stand beside the blobs, so that all trees
//! share them; one that no tree has any more goes when room is wanted, at the latest with its blob.

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use hands_types::Digest;

use crate::db::lock;
use crate::error::StoreError;
use crate::files::{Face, TIMED, Temp, on_disk};
use crate::linked::Link;
use crate::recover::add_meta;
use crate::store::Inner;

impl Inner {
    /// Puts a new file of a blob where the next tree looks for it, over one that is damaged.
    pub(crate) fn place_face(
        &self,
        face: &Face,
        place: &Path,
        temp: Temp,
    ) -> Result<(), StoreError> {
        let _one = lock(&self.trees.placing);
        let existed = place.exists();
        temp.move_to(place, false)?;
        // A new name is a change of the inode.
        if let Ok(metadata) = std::fs::symlink_metadata(place) {
            self.linked.note(&[Link::of(&metadata)]);
        }
        self.trees.face_is_sound(face);
        if !existed {
            self.count_faces(on_disk(face.digest.size).cast_signed());
        }
        Ok(())
    }

    /// Deletes all files of a blob but its own.
    pub(crate) fn remove_faces(&self, digest: &Digest) -> Result<(), StoreError> {
        let _one = lock(&self.trees.placing);
        let mut gone = 0;
        let twin = self.layout.twin(digest);
        gone += u64::from(self.remove_face(&twin)?);
        let timed = self.layout.timed(digest);
        for entry in list(&timed)? {
            gone += u64::from(self.remove_face(&entry.path())?);
        }
        if gone > 0 {
            remove_empty(&timed);
            self.count_faces(-(gone * on_disk(digest.size)).cast_signed());
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

/// What stands in a directory; nothing where there is none.
fn list(dir: &Path) -> Result<Vec<DirEntry>, StoreError> {
    match std::fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        listed => listed.map_err(StoreError::io("list", dir)),
    }
}

/// A directory that is not empty has got a file meanwhile, and one that is gone was the last's.
fn remove_empty(dir: &Path) {
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::trace!(%error, dir = %dir.display(), "stays");
    }
}
