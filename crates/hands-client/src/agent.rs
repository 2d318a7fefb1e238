//! The user's agent: finding it, starting it, agreeing on a version with it.
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

use hands_link::Address;
use hands_proto::v1::agent_client::AgentClient;
use hands_proto::v1::{HelloReply, HelloRequest, Protocol, StopRequest};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::error::class_by_name;
use crate::{AgentSpec, ClientError, build_id, protocol};

/// What an agent writes on its stdout when it listens, a line.
pub const READY: &str = "ready";
/// How the line begins that an agent writes instead when it can't serve: the class's name and one sentence follow.
pub const REFUSED: &str = "refused";

/// How long an agent may take from its start until it listens. It opens its store meanwhile, which after a kill reads
/// what was written last.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long an agent that was told to stop may take to leave.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How long an agent that is there may take to answer. One that stands still has its socket, and never does.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// When somebody who waits for that is told.
const UNTIL_TOLD: Duration = Duration::from_secs(2);
/// The same for the request to stop with `force`, which such an agent is spared.
const STOP_ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// What `hands agent status` shows.
pub type AgentStatus = HelloReply;

/// Asks a running agent for its state, without starting one. None when there is none.
pub async fn agent_status(spec: &AgentSpec) -> Result<Option<AgentStatus>, ClientError> {
    match hello(spec, &channel(spec), &mut |_| {}).await {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.is_lost_connection() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The state of the agent, which is started where it does not run.
pub async fn greet_agent(spec: &AgentSpec) -> Result<AgentStatus, ClientError> {
    ensure(spec, &mut |_| {}).await.map(|(_, reply)| reply)
}

/// Ends a running agent and returns when it has gone; false when there was none. Without `force` a busy agent refuses
/// (FAILED_PRECONDITION); with it one that does not answer is killed.
pub async fn stop_agent(spec: &AgentSpec, force: bool) -> Result<bool, ClientError> {
    let mut client = AgentClient::new(channel(spec));
    let patience = if force { STOP_ANSWER_PATIENCE } else { ANSWER_PATIENCE };
    match tokio::time::timeout(patience, client.stop(StopRequest { force })).await {
        Ok(Ok(_)) => {}
        Err(_) if force => kill(spec).await?,
        Err(_) => return Err(silent(spec, patience)),
        Ok(Err(status)) => {
            return match ClientError::rpc("the request to stop", &peer(spec), &status) {
                error if error.is_lost_connection() => Ok(false),
                error => Err(error),
            };
        }
    }
    drop(client);
    wait_until_gone(spec).await?;
    Ok(true)
}

/// Ends an agent that does not answer: the process that listens on its socket, if it is this user's. What it ran ends with
/// it, and what it had accepted is there for the next one.
async fn kill(spec: &AgentSpec) -> Result<(), ClientError> {
    let failed = |source: io::Error| ClientError::Local {
        what: "the agent does not answer and can't be killed".to_owned(),
        source,
    };
    let listener = UnixStream::connect(&spec.socket).await.and_then(|socket| socket.peer_cred());
    let listener = listener.map_err(failed)?;
    let own = rustix::process::geteuid();
    let pid = listener.pid().and_then(Pid::from_raw);
    match pid.filter(|_| listener.uid() == own.as_raw()) {
        Some(pid) => kill_process(pid, Signal::KILL).map_err(|error| failed(error.into())),
        None => Err(failed(io::ErrorKind::PermissionDenied.into())),
    }
}

/// A connection to the agent, started first where needed, and what it said. `waiting` is told if that takes long.
pub(crate) async fn ensure(
    spec: &AgentSpec,
    waiting: &mut impl FnMut(String),
) -> Result<(Channel, HelloReply), ClientError> {
    let mut channel = channel(spec);
    let mut replaced = false;
    // A second round is needed when an agent leaves between our look and our call; a third when it was replaced.
    for _ in 0..4 {
        let reply = match hello(spec, &channel, waiting).await {
            Ok(reply) => reply,
            Err(error) if error.is_lost_connection() => {
                start(spec).await?;
                channel = self::channel(spec);
                continue;
            }
            Err(error) => return Err(error),
        };
        let theirs = reply.protocol.clone().unwrap_or_default();
        let fits = check_version("agent", &theirs);
        if !is_older(&theirs) || replaced || !spec.start || reply.busy {
            fits?;
            return Ok((channel, reply));
        }
        replaced = true;
        match stop_agent(spec, false).await {
            Ok(_) => start(spec).await?,
            // It got work meanwhile: use it if it fits.
            Err(ClientError::Rpc { code: Code::FailedPrecondition, .. }) => {}
            Err(error) => return Err(error),
        }
        channel = self::channel(spec);
    }
    Err(ClientError::AgentStart {
        program: spec.program.clone(),
        why: "it ends as soon as it has started".to_owned(),
        log: spec.log.clone(),
        source: None,
    })
}

fn channel(spec: &AgentSpec) -> Channel {
    hands_link::connect(&Address::Unix(spec.socket.clone()))
}

fn peer(spec: &AgentSpec) -> String {
    format!("the agent at {}", spec.socket.display())
}

fn silent(spec: &AgentSpec, waited: Duration) -> ClientError {
    ClientError::AgentSilent { peer: peer(spec), waited }
}

async fn hello(
    spec: &AgentSpec,
    channel: &Channel,
    waiting: &mut impl FnMut(String),
) -> Result<HelloReply, ClientError> {
    let mut client = AgentClient::new(channel.clone());
    let mut asking = std::pin::pin!(client.hello(HelloRequest { protocol: Some(protocol()) }));
    let reply = match tokio::time::timeout(UNTIL_TOLD, &mut asking).await {
        Ok(reply) => reply,
        Err(_) => {
            let seconds = ANSWER_PATIENCE.as_secs();
            waiting(format!("{} does not answer; waiting for {seconds} s", peer(spec)));
            tokio::time::timeout(ANSWER_PATIENCE - UNTIL_TOLD, asking)
                .await
                .map_err(|_| silent(spec, ANSWER_PATIENCE))?
        }
    };
    Ok(reply.map_err(|status| ClientError::rpc("the greeting", &peer(spec), &status))?.into_inner())
}

/// Whether their range overlaps ours.
pub(crate) fn check_version(peer: &'static str, theirs: &Protocol) -> Result<(), ClientError> {
    let (low, high) = crate::PROTOCOL;
    if theirs.low <= high && low <= theirs.high {
        return Ok(());
    }
    Err(ClientError::Version {
        peer,
        theirs_low: theirs.low,
        theirs_high: theirs.high,
        theirs: crate::printable(&theirs.version).into_owned(),
        ours_low: low,
        ours_high: high,
        ours: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the agent should make room for this program's own when it is idle: another build that is not a later version.
fn is_older(theirs: &Protocol) -> bool {
    let parts = |version: &str| -> Vec<u64> {
        version.split(['.', '-']).map_while(|p| p.parse().ok()).collect()
    };
    theirs.build_id != build_id() && parts(&theirs.version) <= parts(env!("CARGO_PKG_VERSION"))
}

/// Starts an agent unless somebody else has by the time that the lock is ours.
async fn start(spec: &AgentSpec) -> Result<(), ClientError> {
    if !spec.start {
        return Err(ClientError::NoAgent);
    }
    for file in [&spec.start_lock, &spec.log] {
        make_parent(file)?;
    }
    let _lock = lock(&spec.start_lock, FlockOperation::LockExclusive).await?;
    if hands_link::dial(&Address::Unix(spec.socket.clone())).await.is_ok() {
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
    String::from_utf8_lossy(&text).lines().rev().find(|l| !l.trim().is_empty()).map(str::to_owned)
}

/// An agent holds `agent.lock`, beside the start lock, as long as it lives.
async fn wait_until_gone(spec: &AgentSpec) -> Result<(), ClientError> {
    let wait = lock(&spec.life_lock, FlockOperation::LockShared);
    match tokio::time::timeout(STOP_PATIENCE, wait).await {
        Ok(lock) => lock.map(drop),
        Err(_) => Err(ClientError::Local {
            what: "the agent was told to stop and has not left".to_owned(),
            source: io::ErrorKind::TimedOut.into(),
        }),
    }
}

async fn lock(path: &Path, how: FlockOperation) -> Result<File, ClientError> {
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
        while let Err(error) = flock(&file, how) {
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

fn make_parent(file: &Path) -> Result<(), ClientError> {
    let Some(parent) = file.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|source| {
        ClientError::Local { what: format!("{} can't be made", parent.display()), source }
    })
}

#[cfg(test)]
mod tests;
