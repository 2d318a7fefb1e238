//! What a worker is told once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hands_exec::{ExposedPath, Isolation};
use hands_link::Way;
use hands_proto::v1;
use hands_store::Store;
use hands_types::{WorkerId, WorkerPart};

/// The versions of the worker session's protocol that this crate speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;

/// What a worker is told once.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The same for the worker's whole life, across sessions.
    pub id: WorkerId,
    /// For people; stands in every result.
    pub name: String,
    /// Exact build and version, for the hub's messages.
    pub build_id: String,
    /// For people: the program's version.
    pub version: String,
    /// The way to the hub: `Way::to(&address)`, or a pipe's `connect()` for a hub in this process.
    pub hub: Way,
    /// The hub's address, for messages.
    pub hub_name: String,
    /// Where inputs are kept and outputs gathered.
    pub store: Store,
    /// The store is the hub's own: nothing is fetched and nothing is uploaded.
    pub same_store: bool,
    /// Directory for streams that do not fit into memory and for actions' own files. Nobody else writes in it.
    pub state_dir: PathBuf,
    /// The program that becomes the sandbox launcher when its first argument says so; ordinarily `/proc/self/exe`.
    pub program: PathBuf,
    /// How much actions are kept apart from the machine.
    pub isolation: IsolationChoice,
    /// Actions at once; at least 1. One slot is one cpu.
    pub slots: u32,
    /// Memory that actions share out among them, bytes; 0 does not count it.
    pub memory: u64,
    /// Counters such as `gpu`.
    pub custom: BTreeMap<String, u32>,
    /// Paths of the machine that actions see beside the usual ones.
    pub expose: Vec<ExposedPath>,
    /// Variables for commands that don't set them; see `hands_exec::toolchains`.
    pub default_env: Vec<(String, String)>,
    /// Tags that actions may ask for.
    pub tags: Vec<String>,
    /// More properties that it offers.
    pub properties: Vec<(String, String)>,
    /// How long its leases live without a sign of life; none takes what fits the way to the hub.
    pub lease: Option<Duration>,
    /// Leases that it takes beyond its slots; none takes what fits the way to the hub: more hides a longer one.
    pub ahead: Option<u32>,
    /// Parts that front-ends add: what they offer is offered beside the rest.
    pub parts: Vec<Arc<dyn WorkerPart>>,
    /// Whether blobs are compressed on the wire, where that leaves this machine.
    pub compress: bool,
}

/// Which isolation level to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationChoice {
    /// The strongest that this machine allows, and say what is missing: the embedded worker.
    Best,
    /// This one, or refuse to start.
    Exactly(Isolation),
}

impl WorkerConfig {
    pub(crate) fn protocol(&self) -> v1::Protocol {
        v1::Protocol {
            low: *PROTOCOL.start(),
            high: *PROTOCOL.end(),
            build_id: self.build_id.clone(),
            version: self.version.clone(),
        }
    }
}
