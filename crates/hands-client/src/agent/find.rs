//! Where the agent is. It listens beside its store, which is the same place for every front-end of its user, whatever
//! runtime directory that has; and among the user's sockets.

use std::time::Duration;

use hands_link::Address;
use tonic::transport::Channel;

use super::holder::{Holder, agent_holder};
use crate::{AgentSockets, AgentSpec, ClientError, SNAPSHOT_PART};

/// How long an agent may live without a socket: it is starting, leaving, or making one that was removed.
const APPEARS_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// A place where somebody listens.
pub(super) struct Place<'a>(&'a AgentSockets);

impl Place<'_> {
    pub(super) fn channel(&self) -> Channel {
        hands_link::connect(&self.address())
    }

    pub(super) fn address(&self) -> Address {
        Address::Unix(self.0.agent.clone())
    }

    /// For messages.
    pub(super) fn peer(&self) -> String {
        format!("the agent at {}", self.0.agent.display())
    }
}

/// Where an agent listens; none when nobody does.
pub(super) async fn place(spec: &AgentSpec) -> Option<Place<'_>> {
    for sockets in &spec.sockets {
        if hands_link::dial(&Address::Unix(sockets.agent.clone())).await.is_ok() {
            return Some(Place(sockets));
        }
    }
    None
}

/// The same, and an error where an agent lives that listens nowhere.
pub(super) async fn place_of_living(spec: &AgentSpec) -> Result<Option<Place<'_>>, ClientError> {
    let deadline = tokio::time::Instant::now() + APPEARS_WITHIN;
    loop {
        if let Some(place) = place(spec).await {
            return Ok(Some(place));
        }
        let Some(holder) = lives(spec)? else { return Ok(None) };
        if tokio::time::Instant::now() >= deadline {
            return Err(unreachable(spec, holder));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether an agent lives, and as which process.
pub(super) fn lives(spec: &AgentSpec) -> Result<Option<Holder>, ClientError> {
    agent_holder(&spec.life_lock).map_err(|source| ClientError::Local {
        what: format!("whether an agent lives can't be told from {}", spec.life_lock.display()),
        source,
    })
}

fn unreachable(spec: &AgentSpec, holder: Holder) -> ClientError {
    let who = match holder {
        Holder::Process(pid) => format!("process {pid}"),
        Holder::Unknown => "a process that can't be seen from here".to_owned(),
    };
    ClientError::AgentUnreachable { who, lock: spec.life_lock.clone() }
}

/// The socket for snapshots where the agent listens.
pub(crate) async fn snapshot_socket(spec: &AgentSpec) -> Result<std::path::PathBuf, ClientError> {
    match place(spec).await {
        Some(Place(sockets)) => Ok(sockets.of_part(SNAPSHOT_PART)),
        None => Err(ClientError::Connect {
            peer: "the agent".to_owned(),
            why: "it is not running".to_owned(),
            retry: true,
        }),
    }
}
