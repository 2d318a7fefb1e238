//! Starting an agent.
//!
//! Readiness goes over the started program's stdout, a pipe: one line, [`READY`] when it listens, or [`REFUSED`] with a
//! class and one sentence. So nobody polls, and a refusal reaches the person who typed the command.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::holder::lock;
use super::{READY, REFUSED, find};
use crate::error::class_by_name;
use crate::{AgentSpec, ClientError};

/// How long an agent may take from its start until it listens. It opens its store meanwhile, which after a kill reads
/// what was written last.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Starts an agent unless somebody else has by the time that the lock is ours.
pub(super) async fn start(spec: &AgentSpec) -> Result<(), ClientError> {
    if !spec.start {
        return Err(ClientError::NoAgent);
    }
    for file in [&spec.start_lock, &spec.log] {
        make_parent(file)?;
    }
    let _lock = lock(&spec.start_lock).await?;
    if find::place(spec).await.is_some() {
        return Ok(());
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&spec.log).map_err(
        |source| ClientError::Local {
            what: format!("the agent's log {} can't be opened", spec.log.display()),
            source,
        },
    )?;
    let failed = |why: String, source| ClientError::AgentStart {
        program: spec.program.clone(),
        why,
        log: spec.log.clone(),
        source,
    };
    let mut child = Command::new(&spec.program)
        .args(&spec.arguments)
        // Others will be its callers too: nothing of this one's surroundings decides for them.
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        // Not to keep the caller's directory from being unmounted.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|e| failed("the program can't be executed".to_owned(), Some(e)))?;
    let stdout = child.stdout.take().expect("stdout is piped, three lines above");
    let line = tokio::time::timeout(START_PATIENCE, first_line(stdout.into())).await;
    let line = match line {
        Ok(line) => line.map_err(|e| failed("its answer can't be read".to_owned(), Some(e)))?,
        Err(_) => {
            return Err(failed(
                format!("it does not listen after {} s", START_PATIENCE.as_secs()),
                None,
            ));
        }
    };
    if line == READY {
        return Ok(());
    }
    if let Some((class, message)) =
        line.strip_prefix(REFUSED).and_then(|rest| rest.trim_start().split_once(' '))
    {
        return Err(ClientError::AgentRefused {
            class: class_by_name(class),
            message: crate::printable(message).into_owned(),
        });
    }
    // It closed its stdout without a word: it has ended, or is about to.
    let status = child.wait().map_err(|e| failed("it can't be waited for".to_owned(), Some(e)))?;
    let said =
        last_line(&spec.log).map_or(String::new(), |l| format!(": {}", crate::printable(&l)));
    Err(failed(format!("it ended before it listened ({status}){said}"), None))
}

async fn first_line(stdout: OwnedFd) -> io::Result<String> {
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(stdout)?;
    let mut text = Vec::new();
    loop {
        if let Some(end) = text.iter().position(|b| *b == b'\n') {
            text.truncate(end);
            break;
        }
        // A sentence, not a book: whatever floods the pipe is no agent.
        if text.len() > 8192 || pipe.read_buf(&mut text).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let size = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(size.saturating_sub(2048))).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    // The next step stands below the error.
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("hint: ");
    String::from_utf8_lossy(&text).lines().rev().find(says).map(str::to_owned)
}

fn make_parent(file: &Path) -> Result<(), ClientError> {
    let Some(parent) = file.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|source| {
        ClientError::Local { what: format!("{} can't be made", parent.display()), source }
    })
}
