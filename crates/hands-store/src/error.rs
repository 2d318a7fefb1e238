//! What can go wrong in the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hands_types::{Digest, ErrorClass};

/// Why the store could not do what it was asked for. A blob that is absent is never an error but a `None`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("can't {what} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// There is no room, and nothing that may be evicted.
    #[error("the store is full: {}", why_full(*needed, *used, *quota, (*pinned, *named), *free, *reserve))]
    Full {
        /// Bytes that were to be stored.
        needed: u64,
        /// Bytes in the store.
        used: u64,
        /// Bytes that it may have.
        quota: u64,
        /// Blobs that may not be evicted.
        pinned: u64,
        /// Bytes of trees that have names.
        named: u64,
        /// Free bytes on its disk.
        free: u64,
        /// Bytes on its disk that always stay free.
        reserve: u64,
    },
    /// Content that is not what its digest says.
    #[error("the content has the digest {actual}, not {claimed}")]
    Mismatch {
        /// What it was said to be.
        claimed: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Content that is longer or shorter than its digest says.
    #[error("the content of {claimed} has {actual} bytes")]
    Size {
        /// What it was said to be.
        claimed: Digest,
        /// Bytes that came; at least so many if there were too many.
        actual: u64,
    },
    /// A blob beyond `hands_types::limits::MAX_BLOB`.
    #[error("{size} bytes are more than the largest blob may have")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// A file that grew or shrank while it was read.
    #[error("the file changed while it was read: it had {before} bytes, then {after}")]
    Changed {
        /// Bytes at first.
        before: u64,
        /// Bytes in the end.
        after: u64,
    },
    /// State that a later version wrote.
    #[error(
        "the store in {} was written by a newer version of hands (state version {found}, this one knows {known}): \
         use that version, or delete the directory", dir.display()
    )]
    Newer {
        /// Where.
        dir: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Another process has the store open.
    #[error("the store in {} is in use by another process", dir.display())]
    Locked {
        /// Where.
        dir: PathBuf,
    },
    /// Somebody has deleted the store under us.
    #[error(
        "the store's directory {} was deleted while it was in use; nothing can be stored until this program is started again",
        dir.display()
    )]
    Vanished {
        /// Where it was.
        dir: PathBuf,
    },
    /// SQLite said no.
    #[error("can't {what} in the store's index{}", cure(source))]
    Database {
        /// What was tried, as a verb.
        what: &'static str,
        /// SQLite's reason.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Whoever wanted something stored wants it no more.
    #[error("nobody waits for the blob any more")]
    GivenUp,
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// Which bound it is, in amounts that people read.
fn why_full(
    needed: u64,
    used: u64,
    quota: u64,
    (pinned, named): (u64, u64),
    free: u64,
    reserve: u64,
) -> String {
    if free < reserve.saturating_add(needed) {
        return format!(
            "{} are needed, and its disk has {} beside the {} that always stay free; free some space on it, or move the store",
            size(needed),
            size(free.saturating_sub(reserve)),
            size(reserve)
        );
    }
    if needed > quota {
        return format!(
            "{} are needed, and its quota is {} in all; start it with a larger --quota",
            size(needed),
            size(quota)
        );
    }
    let named = match named {
        0 => String::new(),
        bytes => format!(", and so do trees that have names ({})", size(bytes)),
    };
    format!(
        "{} are needed, and of its quota of {} {} are used; what work that has not ended needs stays ({pinned} blobs){named}",
        size(needed),
        size(quota),
        size(used)
    )
}

/// What helps against a damaged index.
fn cure(source: &rusqlite::Error) -> &'static str {
    if crate::db::is_damaged(source) {
        ": it is damaged; end this program, delete index.db, index.db-wal and index.db-shm in the store's directory, and \
         start it again: blobs are found again without them, and only results of actions and names of trees are lost"
    } else {
        ""
    }
}

/// An amount of data, rounded down to a tenth.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest} {}", tenths / 10, UNITS[unit]),
    }
}

impl StoreError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Io { .. } | Self::Full { .. } | Self::Vanished { .. } | Self::Database { .. } => {
                ErrorClass::Environment
            }
            Self::Mismatch { .. }
            | Self::Size { .. }
            | Self::TooLarge { .. }
            | Self::Changed { .. } => ErrorClass::User,
            Self::Newer { .. } | Self::Locked { .. } => ErrorClass::Config,
            Self::GivenUp => ErrorClass::Infra { retry: false },
            Self::Closed => ErrorClass::Infra { retry: true },
        }
    }

    /// So many bytes that belong together are more than a quota, even where nothing else is stored.
    pub const fn beyond_quota(needed: u64, quota: u64) -> Self {
        Self::Full { needed, used: 0, quota, pinned: 0, named: 0, free: u64::MAX, reserve: 0 }
    }

    /// Whether the quota could never hold it, so that to try again is in vain.
    pub const fn is_beyond_quota(&self) -> bool {
        matches!(self, Self::Full { needed, quota, .. } if *needed > *quota)
    }

    /// Whether room is what lacks: the quota, the reserve or the disk itself.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            Self::Mismatch { .. }
            | Self::Size { .. }
            | Self::TooLarge { .. }
            | Self::Changed { .. }
            | Self::Newer { .. }
            | Self::Locked { .. }
            | Self::Vanished { .. }
            | Self::GivenUp
            | Self::Closed => false,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn errno(what: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::io(what, path)(errno.into())
    }

    pub(crate) fn database(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { what, source: Arc::new(source) }
    }
}

/// Why a tree can't be read or staged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StageError {
    /// Blobs that are not in the store: every one that could be found out, each once.
    #[error("{} blobs of the tree are missing", .0.len())]
    Missing(Vec<Digest>),
    /// A directory that is not a canonical `Directory` message, or a tree beyond the bounds.
    #[error("the directory {digest} is invalid: {why}")]
    Invalid {
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StageError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Missing(_) => ErrorClass::Infra { retry: false },
            Self::Invalid { .. } => ErrorClass::User,
            Self::Store(error) => error.class(),
        }
    }
}
