//! Where a front-end's work goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
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

/// The part of the agent that takes snapshots: its socket takes directory handles.
pub const SNAPSHOT_PART: &str = "snapshot";

/// One place at which an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSockets {
    /// The gRPC socket.
    pub agent: PathBuf,
}

impl AgentSockets {
    /// The sockets in a directory.
    pub fn at(directory: &Path) -> Self {
        Self { agent: directory.join("agent.sock") }
    }

    /// The socket of a part of the agent, by the part's name.
    pub fn of_part(&self, name: &str) -> PathBuf {
        self.agent.with_file_name(format!("{name}.sock"))
    }
}

/// How to reach the user's agent, and how to start one. `hands-config` fills it from the directories' places.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// Where an agent listens, best first: beside its store, where every front-end finds it whatever its surroundings, and
    /// among this user's sockets, for a store on a file system that has none.
    pub sockets: Vec<AgentSockets>,
    /// Held by whoever is starting an agent, so that ten front-ends start one agent and not ten.
    pub start_lock: PathBuf,
    /// Held by an agent as long as it lives; says which process that is.
    pub life_lock: PathBuf,
    /// Where a started agent's stderr goes. Its directory must exist.
    pub log: PathBuf,
    /// The program to start; front-ends give their own.
    pub program: PathBuf,
    /// The whole environment that it gets: where its places and settings are, and nothing else of this caller's.
    pub environment: Vec<(OsString, OsString)>,
    /// Its arguments, such as `agent --serve`.
    pub arguments: Vec<OsString>,
    /// Whether an agent may be started. Without it, a missing agent is [`crate::ClientError::NoAgent`].
    pub start: bool,
}
