//! What an agent is told once. Filled by `hands-config`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hands_client::{AgentPart, AgentSockets, WorkerPart};
#[cfg(target_os = "linux")]
use hands_worker::IsolationChoice;

/// What an agent is told once.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What must survive: store, hub's table, log. Made with mode 0700.
    pub state_dir: PathBuf,
    /// The stat cache. May be deleted at any time.
    pub cache_dir: PathBuf,
    /// Where it listens. One place that can't be used is done without, and tried again. The directories must be the
    /// user's own.
    pub sockets: Vec<AgentSockets>,
    /// Held as long as the agent lives.
    pub life_lock: PathBuf,
    /// Held by front-ends while they start an agent; the agent takes it to leave, so that none is lost in between.
    pub start_lock: PathBuf,
    /// Its log, to which stderr goes; kept below a bound.
    pub log: PathBuf,
    /// The directory whose directories are the clusters that the user has logged in to: their certificates are kept fresh.
    pub logins: PathBuf,
    /// How long it stays with nothing to do.
    pub idle: Duration,
    /// Bytes that blobs and staged trees may take; None is the store's own default.
    pub store_quota: Option<u64>,
    /// Acknowledged blobs also survive a power cut.
    pub durable_against_power: bool,
    /// What it has of the process that started it and could not lay down, sentences; see [`crate::detach`].
    pub inherited: Vec<String>,
    /// The embedded worker.
    pub worker: AgentWorker,
    /// Where this machine is to be a worker for others too: finds the cluster below `logins` for which. None keeps it
    /// its user's alone.
    pub works_for: Option<FindLogin>,
    /// Parts that front-ends add, beside its own.
    pub parts: Vec<Arc<dyn AgentPart>>,
}

/// Finds the membership that is used where none is named, below the directory of all of them.
pub type FindLogin = fn(&Path) -> Option<Login>;

/// A cluster that the user has logged in to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its name here.
    pub name: String,
    /// Where its identity is kept.
    pub dir: PathBuf,
}

/// The embedded worker of an agent. Only Linux has one.
#[derive(Clone, Debug)]
pub struct AgentWorker {
    /// The program that becomes the sandbox launcher; ordinarily `/proc/self/exe`.
    pub program: PathBuf,
    /// Its name, for people.
    pub name: String,
    /// Actions at once.
    pub slots: u32,
    /// Memory that actions share out, bytes; 0 does not count it.
    pub memory: u64,
    /// Paths of this machine that actions may read.
    pub expose: Vec<PathBuf>,
    /// The user's home, whose toolchains actions may use; none shows none.
    pub toolchains: Option<PathBuf>,
    /// Tags that actions may ask for.
    pub tags: Vec<String>,
    /// Parts that front-ends add to it.
    pub parts: Vec<Arc<dyn WorkerPart>>,
    /// Which isolation level to take.
    #[cfg(target_os = "linux")]
    pub isolation: IsolationChoice,
}
