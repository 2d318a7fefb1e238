//! Where a front-end's work goes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use hands_link::Address;

/// Where a front-end's work goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// The user's own agent, with the hub and worker that it embeds. It is started when it does not run.
    Agent(AgentSpec),
    /// A hub, or any other REAPI engine. The agent is used for snapshots only, and only started for them.
    Hub {
        /// The hub's address.
        address: Address,
        /// REAPI's instance name; empty is the default instance.
        instance: String,
        /// How long it is waited for when it can't be reached.
        patience: Duration,
        /// The agent that walks and hashes inputs.
        agent: AgentSpec,
    },
}

/// How to reach the user's agent, and how to start one. `hands-config` fills it from the directories' places.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// The agent's gRPC socket, `agent.sock`.
    pub socket: PathBuf,
    /// The socket that takes directory handles, `snapshot.sock`.
    pub snapshot_socket: PathBuf,
    /// Held by whoever is starting an agent, so that ten front-ends start one agent and not ten.
    pub start_lock: PathBuf,
    /// Held by an agent as long as it lives.
    pub life_lock: PathBuf,
    /// Where a started agent's stderr goes. Its directory must exist.
    pub log: PathBuf,
    /// The program to start; front-ends give their own.
    pub program: PathBuf,
    /// Its arguments, such as `agent --serve`.
    pub arguments: Vec<OsString>,
    /// Whether an agent may be started. Without it, a missing agent is [`crate::ClientError::NoAgent`].
    pub start: bool,
}
