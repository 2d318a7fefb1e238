//! Whether what is in use still stands where it was opened.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whether a path still leads to the file of this device and inode. Only what is not there, or is another, is a no: an error
/// that says nothing of that is logged, and whoever asks looks again.
pub fn still_leads_to(path: &Path, file: (u64, u64)) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) => (metadata.dev(), metadata.ino()) == file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            false
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "can't see whether it is still there");
            true
        }
    }
}
