//! Large blobs: one read-only file each, put in place by a rename.

use std::fs::{DirEntry, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hands_types::{Digest, Mtime};
use rustix::fs::{Timespec, Timestamps};

use crate::error::StoreError;
use crate::recover::remove_all;

/// The modification time of every blob file, and of whatever in a staged tree has none of its own, seconds since 1970.
/// Late enough for archive formats that begin in 1980. A blob file with another time has been written to.
pub const INPUT_MTIME: i64 = 1_000_000_000;

/// Mode of a file in a tree. Its owner may write: an action then gets a copy of its own from the overlay, and programs
/// that write into what is there (logs, lock files, archives) work as they do at home.
pub(crate) const FILE: u32 = 0o644;
/// Mode of an executable in a tree.
pub(crate) const EXECUTABLE: u32 = 0o755;
/// The times that go with it.
pub(crate) const FIXED: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: INPUT_MTIME, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: INPUT_MTIME, tv_nsec: 0 },
};

/// What to set for something in a tree: its own time, or the fixed one.
pub(crate) fn times(mtime: Option<Mtime>) -> Timestamps {
    mtime.map_or(FIXED, |mtime| {
        let time = Timespec { tv_sec: mtime.seconds(), tv_nsec: mtime.nanos().into() };
        Timestamps { last_access: time, last_modification: time }
    })
}

/// Whether a file has the time that [`times`] has set. A file system may keep less than nanoseconds, and rounds down.
pub(crate) fn has_time(metadata: &Metadata, mtime: Option<Mtime>) -> bool {
    let (seconds, nanos) = mtime.map_or((INPUT_MTIME, 0), |t| (t.seconds(), t.nanos().into()));
    metadata.mtime() == seconds && metadata.mtime_nsec() <= nanos
}

/// The directories of a store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) blobs: PathBuf,
    pub(crate) twins: PathBuf,
    pub(crate) packs: PathBuf,
    pub(crate) temp: PathBuf,
    /// What is to be deleted in the background.
    pub(crate) rubbish: PathBuf,
    pub(crate) trees: PathBuf,
    pub(crate) quarantine: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            blobs: root.join("blobs"),
            twins: root.join("exec"),
            packs: root.join("packs"),
            temp: root.join("tmp"),
            rubbish: root.join("old"),
            trees: root.join("trees"),
            quarantine: root.join("quarantine"),
        }
    }

    pub(crate) fn create(&self) -> Result<(), StoreError> {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        let dirs = [&self.root, &self.blobs, &self.twins, &self.packs, &self.temp, &self.rubbish];
        for dir in dirs.into_iter().chain([&self.quarantine, &self.trees]) {
            builder.create(dir).map_err(StoreError::io("create", dir))?;
        }
        // Workers show staged trees to actions under another uid; what protects them is the store's own directory.
        std::fs::set_permissions(&self.trees, Permissions::from_mode(0o755))
            .map_err(StoreError::io("set the mode of", &self.trees))
    }

    /// Moves a file or directory to where it is deleted in the background.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        // Names there must differ from those of an earlier process, too.
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        loop {
            let to = self.rubbish.join(&name);
            match std::fs::rename(path, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    remove_all(&to)?;
                }
                renamed => return renamed.map_err(StoreError::io("discard", path)),
            }
        }
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        below(&self.blobs, digest)
    }

    pub(crate) fn twin(&self, digest: &Digest) -> PathBuf {
        below(&self.twins, digest)
    }

    /// The directory of a large blob's files that have a time of their own.
    pub(crate) fn timed(&self, digest: &Digest) -> PathBuf {
        let mut path = self.twin(digest).into_os_string();
        path.push(TIMED);
        path.into()
    }

    /// The file that stands for a large blob in trees.
    pub(crate) fn face(&self, face: &Face) -> PathBuf {
        match (face.mtime, face.executable) {
            (None, false) => self.blob(&face.digest),
            (None, true) => self.twin(&face.digest),
            (Some(mtime), executable) => {
                let kind = if executable { 'x' } else { 'f' };
                let name = format!("{kind}{}.{:09}", mtime.seconds(), mtime.nanos());
                self.timed(&face.digest).join(name)
            }
        }
    }
}

/// Ends the names of the directories of [`Layout::timed`].
pub(crate) const TIMED: &str = ".t";

/// How a large blob stands in a tree. Mode and time belong to a file, not to a name of it: each face is a file of its
/// own, which all trees share that show the blob so. The plainest face is the blob's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Face {
    pub(crate) digest: Digest,
    pub(crate) executable: bool,
    pub(crate) mtime: Option<Mtime>,
}

impl Face {
    pub(crate) const fn is_blob(&self) -> bool {
        !self.executable && self.mtime.is_none()
    }
}

fn below(dir: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let mut path = dir.as_os_str().to_owned();
    for part in ["/", digest.function.name(), "/", &hex[..2], "/", &hex] {
        path.push(part);
    }
    path.into()
}

/// What stands in a directory; nothing where there is none.
pub(crate) fn list(dir: &Path) -> Result<Vec<DirEntry>, StoreError> {
    match std::fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        listed => listed.map_err(StoreError::io("list", dir)),
    }
}

/// Bytes that a file of this length takes on disk.
pub(crate) const fn on_disk(len: u64) -> u64 {
    len.div_ceil(4096) * 4096
}

/// Opens a blob's file, and tells whether it is as it was put in place.
pub(crate) fn open_blob(path: &Path, size: u64, mode: u32) -> io::Result<(File, bool)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let intact =
        metadata.len() == size && metadata.mode() & 0o7777 == mode && has_time(&metadata, None);
    Ok((file, intact))
}

/// A file being written; deleted on drop unless it was put in place.
#[derive(Debug)]
pub(crate) struct Temp {
    file: File,
    path: PathBuf,
    /// Bytes on disk of all unfinished files, and this one's share.
    total: Arc<AtomicU64>,
    counted: u64,
    placed: bool,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A path in `tmp/` that nobody else uses; the directory is emptied at start.
pub(crate) fn temp_path(dir: &Path) -> PathBuf {
    dir.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string())
}

impl Temp {
    pub(crate) fn create(dir: &Path, total: &Arc<AtomicU64>) -> Result<Self, StoreError> {
        let path = temp_path(dir);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        Ok(Self { file, path, total: Arc::clone(total), counted: 0, placed: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        io::Write::write_all(&mut self.file, bytes).map_err(StoreError::io("write", &self.path))?;
        self.counted += bytes.len() as u64;
        self.total.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Appends the rest of another file.
    pub(crate) fn copy_from(&mut self, from: &mut File) -> Result<(), StoreError> {
        let copied = io::copy(from, &mut self.file).map_err(StoreError::io("write", &self.path))?;
        self.counted += copied;
        self.total.fetch_add(copied, Ordering::Relaxed);
        Ok(())
    }

    /// Gives it its mode and time.
    pub(crate) fn dress(&self, mode: u32, mtime: Option<Mtime>) -> Result<(), StoreError> {
        let fail = StoreError::io("set the mode of", &self.path);
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(fail)?;
        rustix::fs::futimens(&self.file, &times(mtime))
            .map_err(StoreError::errno("set the time of", &self.path))
    }

    /// What was written.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Where it stands until it is put in place.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it mode and the fixed time, and moves it to its place, over what may stand there.
    pub(crate) fn place(self, to: &Path, mode: u32, sync: bool) -> Result<(), StoreError> {
        self.dress(mode, None)?;
        self.move_to(to, sync)
    }

    /// Moves it to its place, over what may stand there.
    pub(crate) fn move_to(mut self, to: &Path, sync: bool) -> Result<(), StoreError> {
        if sync {
            self.file.sync_all().map_err(StoreError::io("write", &self.path))?;
        }
        let parent = to.parent().unwrap_or(to);
        let renamed = match std::fs::rename(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
                std::fs::rename(&self.path, to)
            }
            renamed => renamed,
        };
        renamed.map_err(StoreError::io("put in place", to))?;
        self.placed = true;
        if sync {
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(StoreError::io("write", parent))?;
        }
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        self.total.fetch_sub(self.counted, Ordering::Relaxed);
        if !self.placed
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "an unfinished file stays until the next start");
        }
    }
}
