//! Clusters of which somebody is a member: a directory with one identity for each, by the cluster's name, and which of
//! them is used where none is named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hands_link::{Address, Identity};

use crate::ConfigError;

/// Longest name of a cluster.
const MAX_NAME: usize = 64;
const DEFAULT: &str = ".default";

/// The memberships below one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logins {
    dir: PathBuf,
}

impl Logins {
    /// Those in a directory, which need not be there.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a text can name a cluster here: it becomes a directory.
    pub fn is_name(text: &str) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(fits)
            && !text.starts_with(['.', '-'])
            && text != "local"
    }

    /// Where the identity of a cluster is kept, whether or not it is there.
    pub fn place(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where an identity is made before its cluster's name is known.
    pub fn draft(&self, token: &str) -> PathBuf {
        self.dir.join(format!(".joining-{token}"))
    }

    /// The address of a cluster that is here.
    pub fn find(&self, name: &str) -> Option<Address> {
        let dir = self.dir.join(name);
        (Self::is_name(name) && Identity::is_at(&dir)).then_some(Address::Member(dir))
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.find(name).is_some())
            .collect();
        names.sort();
        names
    }

    /// The one that is used where none is named.
    pub fn default_name(&self) -> Option<String> {
        let name = fs::read_to_string(self.dir.join(DEFAULT)).ok()?;
        let name = name.trim();
        self.find(name).map(|_| name.to_owned())
    }

    /// Says which one is used where none is named.
    pub fn set_default(&self, name: &str) -> Result<(), ConfigError> {
        hands_link::write_private(&self.dir, DEFAULT, &format!("{name}\n"))
            .map_err(|error| self.failed("write", DEFAULT, io::Error::other(error)))
    }

    /// Puts an identity that was made as a draft in its place, instead of one that is there.
    pub fn adopt(&self, draft: &Path, name: &str) -> Result<PathBuf, ConfigError> {
        let place = self.place(name);
        if place.exists() {
            fs::remove_dir_all(&place).map_err(|e| self.failed("replace", name, e))?;
        }
        fs::rename(draft, &place).map_err(|e| self.failed("make", name, e))?;
        Ok(place)
    }

    /// Forgets a cluster and its key. False if it is not here.
    pub fn remove(&self, name: &str) -> Result<bool, ConfigError> {
        if self.find(name).is_none() {
            return Ok(false);
        }
        if self.default_name().as_deref() == Some(name) {
            fs::remove_file(self.dir.join(DEFAULT))
                .map_err(|e| self.failed("remove", DEFAULT, e))?;
        }
        fs::remove_dir_all(self.place(name)).map_err(|e| self.failed("remove", name, e))?;
        Ok(true)
    }

    fn failed(&self, what: &'static str, name: &str, source: io::Error) -> ConfigError {
        ConfigError::Membership { what, path: self.dir.join(name), source }
    }
}
