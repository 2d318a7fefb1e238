//! Which program a command's compiler really is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{Reason, elf};

/// Programs that stand before a compiler under its name.
const WRAPPERS: &[&str] =
    &["ccache", "distcc", "icecc", "sccache", "hands", "hands-cc", "buildcache", "fastbuild"];

/// Seconds after which a change is told from the one before.
const SETTLED: i64 = 2;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    /// Looks at a file, links followed.
    pub(crate) fn look(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether it has stood long enough that a change after this look shows in its times.
    pub(crate) fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        now.is_ok_and(|now| {
            let now = i64::try_from(now.as_secs()).unwrap_or(0);
            self.changed.0.max(self.modified.0) + SETTLED < now
        })
    }

    /// Whether it is still the same.
    pub(crate) fn holds(&self) -> bool {
        Self::look(&self.path).is_ok_and(|now| now == *self)
    }
}

/// Finds the compiler that a word means: along a `PATH`, past programs that only stand before it.
pub(crate) fn find(word: &str, path: &str, directory: &Path) -> Result<PathBuf, Reason> {
    let found = match word.contains('/') {
        true => Some(directory.join(word)).filter(|it| is_compiler(it)),
        false => path
            .split(':')
            .map(|place| directory.join(if place.is_empty() { "." } else { place }).join(word))
            .find(|it| is_compiler(it)),
    };
    let found = found.ok_or_else(|| Reason::new("no-compiler", word))?;
    match elf::is_one(&found) {
        Ok(true) => Ok(found),
        Ok(false) => Err(Reason::new("wrapper", found.display())),
        Err(error) => Err(Reason::new("no-compiler", format!("{}: {error}", found.display()))),
    }
}

/// Whether a file is this program under another name: a link of a directory that masquerades.
pub(crate) fn is_ours(path: &Path) -> bool {
    let real = path.canonicalize().ok();
    let name = real.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.is_some_and(|name| matches!(name, "hands" | "hands-cc"))
}

/// Whether a program is there which is none that only stands before a compiler.
pub(crate) fn is_compiler(path: &Path) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let is_program = fs::metadata(&real).is_ok_and(|it| it.is_file() && it.mode() & 0o111 != 0);
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    is_program && !WRAPPERS.contains(&name)
}
