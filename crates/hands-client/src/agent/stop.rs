//! Ending the agent, and seeing that it has ended.

use std::io;
use std::time::Duration;

use hands_proto::v1::StopRequest;
use hands_proto::v1::agent_client::AgentClient;
#[cfg(not(target_os = "linux"))]
use rustix::process::kill_process;
use rustix::process::{Pid, Signal};

use super::find::{self, Place};
use super::holder::Holder;
use super::{ANSWER_PATIENCE, silent};
use crate::{AgentSpec, ClientError, Code};

/// How long an agent that was told to stop may take to leave.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// As [`ANSWER_PATIENCE`] for the request to stop with `force`, which an agent that stands still is spared. Nothing that was
/// accepted is lost with an agent that is only slow.
const FORCED_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the agent has left.
const LOOK: Duration = Duration::from_millis(20);

/// Ends a running agent and returns when it has gone; false when there was none. Without `force` a busy agent refuses
/// (FAILED_PRECONDITION); with it one that does not answer, or can't be reached, is killed.
pub async fn stop_agent(spec: &AgentSpec, force: bool) -> Result<bool, ClientError> {
    let place = match find::place_of_living(spec).await {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(false),
        Err(error) if force => return kill_unreachable(spec, error).await,
        Err(error) => return Err(error),
    };
    let holder = find::lives(spec)?;
    let process = Process::at(&place).await;
    let mut client = AgentClient::new(place.channel());
    let patience = if force { FORCED_PATIENCE } else { ANSWER_PATIENCE };
    match tokio::time::timeout(patience, client.stop(StopRequest { force })).await {
        Ok(Ok(_)) => {}
        Err(_) if force => {
            process.as_ref().map_err(|error| unkillable(error.kind().into()))?.kill()?;
        }
        Err(_) => return Err(silent(place.peer(), patience)),
        Ok(Err(status)) => match ClientError::rpc("the request to stop", &place.peer(), &status) {
            // It was leaving already, or has died: its end is what counts.
            error if error.is_lost_connection() || left(&error) => {}
            error => return Err(error),
        },
    }
    drop(client);
    let gone = async {
        // An agent of an earlier version held its lock elsewhere.
        if let Ok(process) = &process {
            process.gone().await?;
        }
        no_longer_held(spec, holder).await
    };
    until_gone(gone).await
}

/// Waits until nobody holds the life lock, or another than before does: whoever waited for the agent that ends starts the
/// next one at once, and that may take the lock before we look.
pub(super) async fn no_longer_held(
    spec: &AgentSpec,
    before: Option<Holder>,
) -> Result<(), ClientError> {
    loop {
        match find::lives(spec)? {
            None => return Ok(()),
            // Between a new agent's lock and its signature the holder is unknown.
            Some(now @ Holder::Process(_)) if Some(now) != before => return Ok(()),
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn left(error: &ClientError) -> bool {
    matches!(error, ClientError::Rpc { code: Code::Unavailable | Code::Cancelled, .. })
}

async fn until_gone(
    gone: impl Future<Output = Result<(), ClientError>>,
) -> Result<bool, ClientError> {
    match tokio::time::timeout(STOP_PATIENCE, gone).await {
        Ok(gone) => gone.map(|()| true),
        Err(_) => Err(ClientError::Local {
            what: "the agent was told to stop and has not left".to_owned(),
            source: io::ErrorKind::TimedOut.into(),
        }),
    }
}

/// Ends an agent that lives and listens nowhere, by what its lock says.
async fn kill_unreachable(spec: &AgentSpec, error: ClientError) -> Result<bool, ClientError> {
    let holder = find::lives(spec)?;
    match holder {
        None => return Ok(true),
        Some(Holder::Unknown) => return Err(error),
        Some(Holder::Process(pid)) => {
            let process = Process::open(pid).map_err(unkillable)?;
            // It may have ended, and its number be another's, until it was opened; now it stays the same.
            match find::lives(spec)? {
                Some(Holder::Process(still)) if still == pid => process.kill()?,
                _ => return Err(error),
            }
        }
    }
    until_gone(no_longer_held(spec, holder)).await
}

fn unkillable(source: io::Error) -> ClientError {
    ClientError::Local { what: "the agent does not answer and can't be killed".to_owned(), source }
}

/// The agent's process. What it ran ends with it, and what it had accepted is there for the next one.
struct Process {
    pid: Pid,
    #[cfg(target_os = "linux")]
    handle: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

impl Process {
    /// The process that listens, if it is this user's.
    async fn at(place: &Place<'_>) -> io::Result<Self> {
        let hands_link::Address::Unix(path) = place.address() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let listener = hands_link::connect_unix(&path).await?.peer_cred()?;
        let own = rustix::process::geteuid();
        match listener.pid().filter(|_| listener.uid() == own.as_raw()) {
            Some(pid) => Self::open(pid.cast_unsigned()),
            None => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        #[cfg(target_os = "linux")]
        #[expect(
            deprecated,
            reason = "its successor is unsafe for handles that lie about their descriptor, as an OwnedFd can't"
        )]
        let handle = {
            let flags = rustix::process::PidfdFlags::NONBLOCK;
            tokio::io::unix::AsyncFd::with_interest(
                rustix::process::pidfd_open(pid, flags)?,
                tokio::io::Interest::READABLE,
            )?
        };
        Ok(Self {
            pid,
            #[cfg(target_os = "linux")]
            handle,
        })
    }

    #[cfg(target_os = "linux")]
    fn kill(&self) -> Result<(), ClientError> {
        let _ = self.pid;
        rustix::process::pidfd_send_signal(self.handle.get_ref(), Signal::KILL)
            .map_err(|error| unkillable(error.into()))
    }

    #[cfg(not(target_os = "linux"))]
    fn kill(&self) -> Result<(), ClientError> {
        kill_process(self.pid, Signal::KILL).map_err(|error| unkillable(error.into()))
    }

    /// Waits for its end.
    #[cfg(target_os = "linux")]
    async fn gone(&self) -> Result<(), ClientError> {
        // A handle of a process can be read from when that has ended.
        self.handle.readable().await.map(drop).map_err(unkillable)
    }

    /// Its lock tells.
    #[cfg(not(target_os = "linux"))]
    async fn gone(&self) -> Result<(), ClientError> {
        Ok(())
    }
}
