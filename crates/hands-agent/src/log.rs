//! The agent's log: stderr, kept below a bound by starting a new file and keeping one old one.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes after which a new file is begun.
const BOUND: u64 = 4 << 20;

/// Begins a new file when the log is full, and turns stderr to it. Only where stderr is the log: an agent that was
/// started by hand keeps its terminal.
pub(crate) fn keep_bounded(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let stderr = rustix::fs::fstat(rustix::stdio::stderr())?;
    let is_log = std::os::unix::fs::MetadataExt::ino(&metadata) == stderr.st_ino;
    if !is_log || metadata.len() < BOUND {
        return Ok(());
    }
    fs::rename(path, path.with_extension("log.old"))?;
    let new = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    rustix::stdio::dup2_stderr(new)?;
    Ok(())
}
