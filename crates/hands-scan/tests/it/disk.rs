//! The files of this machine, for the scanner.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use hands_scan::{FileId, Files, Probe};

/// Files on disk. A change is seen in the next epoch.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) epoch: u64,
    /// How often each question was asked.
    pub(crate) n_probes: u64,
    pub(crate) n_reads: u64,
    pub(crate) reads: BTreeMap<Vec<u8>, u64>,
}

impl Files for Disk {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn probe(&mut self, path: &[u8]) -> Probe {
        self.n_probes += 1;
        match fs::metadata(Path::new(OsStr::from_bytes(path))) {
            Ok(data) if data.is_file() => Probe::File(FileId {
                device: data.dev(),
                inode: data.ino(),
                version: data.size().rotate_left(40)
                    ^ data.mtime().cast_unsigned().rotate_left(20)
                    ^ data.mtime_nsec().cast_unsigned(),
            }),
            Ok(data) if data.is_dir() => Probe::Directory,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Probe::Absent
            }
            Ok(_) | Err(_) => Probe::Odd,
        }
    }

    fn contents(&mut self, path: &[u8], _: FileId) -> Option<Arc<[u8]>> {
        self.n_reads += 1;
        *self.reads.entry(path.to_vec()).or_default() += 1;
        fs::read(Path::new(OsStr::from_bytes(path))).ok().map(Arc::from)
    }
}
