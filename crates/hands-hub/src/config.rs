//! What a hub must be told. Filled by `hands-config`; nothing here reads a file or the environment.

use std::path::PathBuf;
use std::time::Duration;

use hands_sched::SchedulerConfig;
use hands_store::Store;
use hands_types::limits;

/// What a hub must be told.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Directory of `hub.db` and of the streams' spools. Made if it is not there; one hub at a time.
    pub state_dir: PathBuf,
    /// Blobs and the action cache. May be shared with an embedded worker.
    pub store: Store,
    /// How long a worker's leases live without a sign of life, where it asks for nothing else.
    pub lease: Duration,
    /// How long an action lives after the last connection that waited for it was lost.
    pub orphan: Duration,
    /// How long the result of a salted action is kept for a repeated Execute.
    pub salted_result: Duration,
    /// How long finished actions are listed.
    pub history_age: Duration,
    /// How many bytes of finished actions are kept.
    pub history_bytes: u64,
    /// How long an action of our own clients waits for a worker that could take it, unless it says otherwise.
    pub queue_timeout: Duration,
    /// The same for clients that can't show why they wait.
    pub queue_timeout_foreign: Duration,
    /// How often a stream of operations says that it is alive. Proxies cut streams that are silent for minutes.
    pub keepalive: Duration,
    /// Most that one action may write to one stream, bytes; beyond it the action fails and says so.
    pub stream_limit: u64,
    /// Output that a stream's spool holds in memory before it becomes a file, bytes.
    pub stream_memory: usize,
    /// How long the inputs of an invocation's actions stay pinned after they were last named.
    pub pin_inputs: Duration,
    /// Highest `Action.timeout` that is accepted.
    pub max_timeout: Duration,
    /// Numbers of the scheduler.
    pub scheduler: SchedulerConfig,
    /// Gives memory that was freed back to the kernel, where the allocator keeps it; called when many or large messages are over.
    pub give_back: Option<fn()>,
    /// The program's version, for people.
    pub version: String,
    /// Identifies the build exactly.
    pub build_id: String,
}

impl HubConfig {
    /// The values that the documentation promises.
    pub fn new(state_dir: impl Into<PathBuf>, store: Store) -> Self {
        Self {
            state_dir: state_dir.into(),
            store,
            lease: limits::LEASE,
            orphan: limits::ORPHAN,
            salted_result: limits::SALTED_RESULT,
            history_age: Duration::from_secs(7 * 24 * 3600),
            history_bytes: 2 << 30,
            queue_timeout: Duration::from_secs(600),
            queue_timeout_foreign: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            stream_limit: limits::MAX_STREAM,
            stream_memory: 64 << 10,
            pin_inputs: Duration::from_secs(15 * 60),
            max_timeout: limits::MAX_TIMEOUT,
            scheduler: SchedulerConfig::standard(),
            give_back: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build_id: String::new(),
        }
    }
}
