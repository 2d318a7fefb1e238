//! The lock that an agent holds as long as it lives: one agent for a store, wherever its sockets are.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use hands_client::Holder;
use hands_link::Address;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::{AgentConfig, AgentError};

/// How long an agent that is leaving may hold the lock when another starts.
const PREDECESSOR: Duration = Duration::from_secs(30);
/// How often it is looked whether that one listens after all.
const LOOK: Duration = Duration::from_millis(100);

/// Takes the life lock. None when another agent serves already.
pub(super) async fn take(config: &AgentConfig) -> Result<Option<File>, AgentError> {
    for dir in [&config.state_dir, &config.cache_dir] {
        hands_link::private_place(dir).map_err(AgentError::Private)?;
    }
    make_dir(config.life_lock.parent().unwrap_or(Path::new("/")))?;
    let path = config.life_lock.clone();
    let failed = |source: io::Error| AgentError::Place { what: "lock", path: path.clone(), source };
    let file = open(&path).map_err(failed)?;
    let file = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => file,
        Err(Errno::WOULDBLOCK) => match wait(config, file).await {
            Some(locked) => locked.map_err(failed)?,
            None if is_served(config).await => return Ok(None),
            None => return Err(busy(&path)),
        },
        Err(error) => return Err(failed(error.into())),
    };
    hands_client::sign_agent_lock(&file).map_err(failed)?;
    Ok(Some(file))
}

/// Waits for the lock of an agent that is on its way out, or was killed and its last threads are still going. None when it
/// serves, or has not gone in time. It looks again and again: a thread that waits in the kernel could not be called back
/// when the other agent serves after all, because it has made new sockets in place of removed ones.
async fn wait(config: &AgentConfig, file: File) -> Option<io::Result<File>> {
    let deadline = tokio::time::Instant::now() + PREDECESSOR;
    while tokio::time::Instant::now() < deadline {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(Ok(file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Some(Err(error.into())),
        }
        if is_served(config).await {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

async fn is_served(config: &AgentConfig) -> bool {
    for sockets in &config.sockets {
        if hands_link::dial(&Address::Unix(sockets.agent.clone())).await.is_ok() {
            return true;
        }
    }
    false
}

fn busy(path: &Path) -> AgentError {
    let who = match hands_client::agent_holder(path) {
        Ok(Some(Holder::Process(pid))) => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    AgentError::Busy { who, lock: path.to_owned() }
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn make_dir(path: &Path) -> Result<(), AgentError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::Place { what: "make", path: path.to_owned(), source })
}
