//! The digest of what actions see of this machine: the property `host-root`, the part that every worker has.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hands_exec::ExposedPath;
use hands_tree::Hasher;
use hands_types::platform::property;
use hands_types::{DigestFunction, WorkerPart};

/// What names the distribution and what is installed: content counts.
const FILES: &[&str] =
    &["/etc/os-release", "/var/lib/dpkg/status", "/lib/apk/db/installed", "/usr/lib/os-release"];
/// Databases that are too large to read or are rewritten without a change: size and time count.
const DATABASES: &[&str] = &[
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/nix/var/nix/db/db.sqlite",
];
/// Directories whose names say what is there: pacman's packages, and what was installed without a package manager.
const LISTS: &[&str] = &[
    "/var/lib/pacman/local",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/lib",
    "/usr/local/include",
    "/opt",
];

/// What the digest is made of, and by what it is seen cheaply that it may have changed.
pub(crate) struct HostRoot {
    expose: Vec<ExposedPath>,
    environment: Vec<(String, String)>,
    stamp: Mutex<Vec<Stamp>>,
}

/// A path and what `stat` says of it; none if it is not there.
type Stamp = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

/// The digest, 64 hexadecimal characters. Reads some megabytes at most.
fn digest(expose: &[ExposedPath], environment: &[(String, String)]) -> String {
    let mut hasher = Hasher::new(DigestFunction::Sha256);
    let mut add = |kind: &str, path: &Path, content: &[u8]| {
        // Each field with its length, so that no two views can read the same.
        for field in [kind.as_bytes(), path.as_os_str().as_encoded_bytes(), content] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
    };
    add("machine", Path::new(""), std::env::consts::ARCH.as_bytes());
    for path in FILES.iter().map(Path::new) {
        // Not there, or not to be read: actions can't tell either.
        if let Ok(content) = fs::read(path) {
            add("file", path, &content);
        }
    }
    for path in DATABASES.iter().map(Path::new) {
        if let Ok(meta) = fs::metadata(path) {
            add("database", path, format!("{} {}", meta.len(), meta.mtime()).as_bytes());
        }
    }
    for path in LISTS.iter().map(Path::new) {
        if let Ok(names) = names(path) {
            add("list", path, names.join(&OsString::from("\0")).as_encoded_bytes());
        }
    }
    for exposed in expose {
        let seen = fs::metadata(&exposed.host)
            .map(|m| format!("{} {} {}", m.ino(), m.mtime(), m.mtime_nsec()));
        add("exposed", &exposed.inside, seen.unwrap_or_default().as_bytes());
        for name in names(&exposed.host).unwrap_or_default() {
            let path = exposed.host.join(&name);
            let seen = fs::symlink_metadata(&path)
                .map(|m| format!("{} {} {}", m.ino(), m.len(), m.mtime()));
            add("entry", Path::new(&name), seen.unwrap_or_default().as_bytes());
        }
    }
    for (name, value) in environment {
        add("variable", Path::new(name), value.as_bytes());
    }
    hasher.finish().hex()
}

impl HostRoot {
    pub(crate) fn new(expose: Vec<ExposedPath>, environment: Vec<(String, String)>) -> Self {
        Self { expose, environment, stamp: Mutex::default() }
    }
}

impl WorkerPart for HostRoot {
    fn name(&self) -> &'static str {
        "what actions see of this machine"
    }

    fn look(&self) -> Vec<(String, String)> {
        // Before the look: what changes during it is seen by the next.
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp(&self.expose);
        vec![(property::HOST_ROOT.to_owned(), digest(&self.expose, &self.environment))]
    }

    /// Some twenty `stat`s.
    fn may_have_changed(&self) -> bool {
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) != stamp(&self.expose)
    }
}

fn stamp(expose: &[ExposedPath]) -> Vec<Stamp> {
    let fixed = FILES.iter().chain(DATABASES).chain(LISTS).map(PathBuf::from);
    fixed
        .chain(expose.iter().map(|e| e.host.clone()))
        .map(|path| {
            let seen = fs::metadata(&path)
                .ok()
                .map(|m| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
            (path, seen)
        })
        .collect()
}

fn names(path: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names =
        fs::read_dir(path)?.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}
