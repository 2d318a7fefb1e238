//! One consent on disk: a file of its own in the state directory, named after the project's path, so that two commands
//! at once never overwrite each other's.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hands_types::{Digest, DigestFunction};

use crate::{ConfigError, Places};

/// Which text of which file the user allowed.
#[derive(Debug)]
pub(super) struct Record {
    /// The project's file, its links resolved.
    pub(super) file: PathBuf,
    /// What it held then.
    pub(super) digest: Digest,
}

impl Record {
    /// What was recorded for a project's file. A record that makes no sense is none: it allows nothing.
    pub(super) fn read(places: &Places, file: &Path) -> Result<Option<Self>, ConfigError> {
        let path = place(places, file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Self::decode(&bytes).filter(|record| record.file == file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// All of them.
    pub(super) fn all(places: &Places) -> Result<Vec<Self>, ConfigError> {
        let path = directory(places);
        let failed = |source| ConfigError::Read { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let bytes = fs::read(entry.path())
                .map_err(|source| ConfigError::Read { path: entry.path(), source })?;
            // What lies under another name is one that is being written, or nothing of ours.
            all.extend(Self::decode(&bytes).filter(|r| place(places, &r.file) == entry.path()));
        }
        Ok(all)
    }

    /// Puts it in place at once.
    pub(super) fn write(&self, places: &Places) -> Result<(), ConfigError> {
        let path = place(places, &self.file);
        let failed = |source| ConfigError::Write { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory(places)).map_err(failed)?;
        let fresh = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        let written = file.write_all(&self.encode()).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|source| {
            // What can't be removed either has no name that anybody reads.
            drop(fs::remove_file(&fresh));
            failed(source)
        })
    }

    /// Removes what was recorded; false when nothing was.
    pub(super) fn remove(places: &Places, file: &Path) -> Result<bool, ConfigError> {
        let path = place(places, file);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(ConfigError::Write { path, source }),
        }
    }

    /// The digest, a line's end, the path as it is.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = format!("{}\n", self.digest).into_bytes();
        bytes.extend_from_slice(self.file.as_os_str().as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let digest = std::str::from_utf8(&bytes[..end]).ok()?;
        let digest = digest.parse().ok()?;
        Some(Self { file: PathBuf::from(OsStr::from_bytes(&bytes[end + 1..])), digest })
    }
}

fn directory(places: &Places) -> PathBuf {
    places.state.join("trust")
}

fn place(places: &Places, file: &Path) -> PathBuf {
    let name = hands_tree::hash(DigestFunction::Sha256, file.as_os_str().as_bytes()).hex();
    directory(places).join(name)
}
