//! A file that somebody may delete under the hub.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::HubError;

/// A file of the hub's state that is open for as long as the hub runs.
#[derive(Debug)]
pub(crate) struct Place {
    /// What it is, for the log.
    what: &'static str,
    path: PathBuf,
    file: (u64, u64),
}

impl Place {
    pub(crate) fn of(what: &'static str, path: &Path) -> Result<Self, HubError> {
        let fail = |source| HubError::Io { what: "look at", path: path.to_owned(), source };
        let metadata = std::fs::metadata(path).map_err(fail)?;
        Ok(Self { what, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    /// Whether it is there, and no other.
    pub(crate) fn is_there(&self) -> bool {
        hands_store::still_leads_to(&self.path, self.file)
    }

    /// The same, and says so where it is not: the hub ends then.
    pub(crate) fn is_here(&self) -> bool {
        let here = self.is_there();
        if !here {
            tracing::error!(
                path = %self.path.display(),
                "{} was deleted while it was in use; the hub ends, for what it accepts now would be lost",
                self.what
            );
        }
        here
    }
}
