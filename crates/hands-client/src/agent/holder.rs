//! The lock that an agent holds as long as it lives, and who that is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ClientError;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process of this machine.
    Process(u32),
    /// Somebody whose process is not to be seen here: it may be in another container.
    Unknown,
}

/// Who holds the lock of a living agent; none where nobody does, nor has the file.
pub fn agent_holder(path: &Path) -> io::Result<Option<Holder>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => {}
        Err(error) => return Err(error.into()),
    }
    let text = io::read_to_string(&file)?;
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    let start = words.next().and_then(|word| word.parse().ok());
    let is_it = |pid: &u32| start.is_none() || start_time(*pid) == start;
    Ok(Some(pid.filter(is_it).map_or(Holder::Unknown, Holder::Process)))
}

/// Writes into a locked file who holds it: the process's id and when it started, which together are never used twice.
pub fn sign_agent_lock(file: &File) -> io::Result<()> {
    let pid = std::process::id();
    let start = start_time(pid).map_or_else(String::new, |start| start.to_string());
    file.set_len(0)?;
    file.write_all_at(format!("{pid} {start}\n").as_bytes(), 0)
}

/// Clock ticks from boot to the process's start; none where the kernel does not tell.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Waits for a lock, and has it alone until the file is dropped.
pub(super) async fn lock(path: &Path) -> Result<File, ClientError> {
    let path = path.to_owned();
    let failed = {
        let path = path.clone();
        move |source: io::Error| ClientError::Local {
            what: format!("{} can't be locked", path.display()),
            source,
        }
    };
    let task = tokio::task::spawn_blocking(move || -> io::Result<File> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        while let Err(error) = flock(&file, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(file)
    });
    match task.await {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(failed(io::Error::other(error))),
    }
}
