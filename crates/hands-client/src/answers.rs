//! What clusters answer, as plain data. The messages behind it stay within this crate; `from` has all conversions.

mod from;

use std::time::SystemTime;

use hands_types::{Digest, TreeName};

use crate::{Code, LostAttempt};
pub(crate) use from::moment;

/// Which actions a list is to have.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only those that are not done.
    pub active_only: bool,
    /// At most so many; 0 is what the hub has as usual.
    pub limit: u32,
    /// Only those of this invocation; empty for all.
    pub invocation: String,
}

/// What an action is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// The hub has a word for it that this version has not.
    #[default]
    Unknown,
    /// It waits.
    Queued,
    /// A worker has it.
    Running,
    /// It is over.
    Done,
}

/// An action, as lists have it. All texts are the cluster's own, and not made printable.
#[derive(Clone, Debug, Default)]
pub struct JobInfo {
    /// Its id, 26 characters.
    pub id: String,
    /// REAPI's instance name.
    pub instance: String,
    /// `hash/size`, with `blake3/` before it for BLAKE3.
    pub action_digest: String,
    /// The command as it was typed.
    pub title: String,
    /// What it is doing.
    pub state: JobState,
    /// Why it waits, in one sentence; empty where there is nothing to say.
    pub waiting: String,
    /// The worker's name.
    pub worker: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When it was submitted.
    pub created: Option<SystemTime>,
    /// When its command began.
    pub started: Option<SystemTime>,
    /// When it was over.
    pub finished: Option<SystemTime>,
    /// Its invocation.
    pub invocation: String,
    /// The program that submitted it.
    pub tool: String,
    /// What kind of action it is, as its client says.
    pub mnemonic: String,
    /// What it is for, as its client says.
    pub target: String,
    /// It goes on when nobody waits for it.
    pub detached: bool,
    /// The action cache had its result.
    pub cached: bool,
    /// Of its command, where it is done.
    pub exit_code: i32,
    /// Why it has no whole result.
    pub failure: Option<JobFailure>,
    /// What the hub has to say about it.
    pub message: String,
    /// What it used.
    pub usage: Option<Usage>,
    /// Lower runs earlier.
    pub priority: i32,
    /// It was given a terminal.
    pub has_terminal: bool,
    /// The attempts that were lost, oldest first; their texts are printable.
    pub lost: Vec<LostAttempt>,
}

/// Why an action that is over has no whole result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// Which kind of failure it is.
    pub code: Code,
    /// The hub's words.
    pub message: String,
}

/// What an attempt used, from workers of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time outside of the kernel, microseconds.
    pub user_us: u64,
    /// Processor time within the kernel, microseconds.
    pub system_us: u64,
    /// Most memory, bytes.
    pub peak_memory: u64,
    /// `full`, `no-netns` or `process`.
    pub isolation: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// It was killed for want of memory.
    pub oom_killed: bool,
    /// It tried to reach beyond its loopback, and ended badly.
    pub network_attempted: bool,
    /// The signal that ended the command; 0 where it ended by itself.
    pub signal: u32,
    /// From its slot to its start, microseconds.
    pub staging_us: u64,
    /// One of its streams was closed while it ran.
    pub output_closed: bool,
}

/// What stood among an action's outputs and could not be brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The first of them.
    pub entries: Vec<LeftOutEntry>,
    /// The number of all.
    pub total: u64,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOutEntry {
    /// Its path, printable.
    pub path: String,
    /// The end of the sentence "the output PATH …", printable.
    pub why: String,
}

/// A worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it offers, by name.
    pub properties: Vec<(String, String)>,
    /// Actions that it runs at once.
    pub slots: u32,
    /// How many of them have one.
    pub busy: u32,
    /// Thousandths of processors.
    pub cpu_millis: u32,
    /// Bytes.
    pub memory: u64,
    /// What else it has, by name.
    pub custom: Vec<(String, u32)>,
    /// It takes nothing new.
    pub draining: bool,
    /// Since when it is connected.
    pub connected: Option<SystemTime>,
    /// When it was last heard of.
    pub last_seen: Option<SystemTime>,
    /// Its program's version, where it says that.
    pub version: Option<String>,
}

/// A hub.
#[derive(Clone, Debug, Default)]
pub struct HubInfo {
    /// Its program's version.
    pub version: String,
    /// Its id.
    pub hub_id: String,
    /// When it began.
    pub started: Option<SystemTime>,
    /// Workers that are connected.
    pub workers: u32,
    /// Digests of the host roots that they offer, the most offered first.
    pub host_roots: Vec<String>,
    /// Bytes in its store.
    pub store_bytes: u64,
    /// Bytes that it may hold.
    pub store_quota: u64,
    /// Actions that wait.
    pub queued: u32,
    /// Actions that run.
    pub running: u32,
}

/// The actions of one use of a front-end.
#[derive(Clone, Debug, Default)]
pub struct InvocationInfo {
    /// Its id.
    pub id: String,
    /// The program.
    pub tool: String,
    /// Actions that wait.
    pub queued: u32,
    /// Actions that run.
    pub running: u32,
    /// Those that succeeded since the hub began.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Of the succeeded ones, those that the action cache answered.
    pub cached: u64,
    /// When its oldest action that is known was submitted.
    pub created: Option<SystemTime>,
    /// When the last of its actions ended.
    pub ended: Option<SystemTime>,
}

/// What goes on in a cluster.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The hub.
    pub hub: HubInfo,
    /// Its workers, or the first of them.
    pub workers: Vec<WorkerInfo>,
    /// Those with work first.
    pub invocations: Vec<InvocationInfo>,
    /// What runs, longest first.
    pub running: Vec<JobInfo>,
    /// What waits, oldest first.
    pub queued: Vec<JobInfo>,
    /// What failed, newest first.
    pub failures: Vec<JobInfo>,
    /// The hub's clock.
    pub now: Option<SystemTime>,
    /// Of all workers.
    pub slots: u64,
    /// How many of these are taken.
    pub busy: u64,
}

/// The user's agent.
#[derive(Clone, Debug, Default)]
pub struct AgentStatus {
    /// Its program's version.
    pub version: String,
    /// Its build.
    pub build_id: String,
    /// The lowest and the highest protocol version that it speaks.
    pub protocol: (u32, u32),
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started: Option<SystemTime>,
    /// Seconds until it leaves if nothing happens.
    pub idle_left_s: u64,
    /// Something keeps it here.
    pub busy: bool,
    /// Where its state is.
    pub state_dir: String,
    /// Isolation level of its own worker.
    pub isolation: String,
    /// What would give more.
    pub isolation_note: String,
    /// Where its log is.
    pub log: String,
    /// The cluster for which this machine is a worker; empty where it works for its user alone.
    pub works_for: String,
    /// Why it does not, though it is configured to; or how it does.
    pub works_for_note: String,
    /// What it has of the process that started it and could not undo: sentences.
    pub inherited: Vec<String>,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotProgress {
    /// Files that were looked at.
    pub files: u64,
    /// Bytes that were read.
    pub bytes_hashed: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
}

/// How full a store is.
#[derive(Clone, Debug, Default)]
pub struct StoreUsage {
    /// Its directory, on the machine that answers.
    pub directory: String,
    /// Bytes of small blobs.
    pub pack_bytes: u64,
    /// Bytes of large blobs.
    pub file_bytes: u64,
    /// Bytes of staged trees, beyond what they share with large blobs.
    pub tree_bytes: u64,
    /// Bytes of what is being written.
    pub temp_bytes: u64,
    /// Bytes that all of these may take.
    pub quota: u64,
    /// Blobs that open work keeps.
    pub pinned: u64,
    /// Trees that have names, and stay for that.
    pub named: u64,
    /// Bytes of these, which are among the bytes above.
    pub named_bytes: u64,
    /// Staged trees.
    pub trees: u64,
    /// Blobs found corrupt since its process began.
    pub corrupt: u64,
    /// Seconds for which blobs from before the process began are still kept.
    pub grace_s: u64,
}

/// A tree that stays in a store by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTree {
    /// Its name.
    pub name: TreeName,
    /// Its root.
    pub tree: Digest,
    /// Blobs that it is made of, each once.
    pub blobs: u64,
    /// Bytes that these take on the disk.
    pub bytes: u64,
    /// When it got the name.
    pub since: Option<SystemTime>,
}

/// How far the reading of a store has come.
#[derive(Clone, Debug, Default)]
pub struct VerifyProgress {
    /// Blobs so far.
    pub blobs: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Digests of corrupt blobs since the last word.
    pub corrupt: Vec<String>,
}

/// A token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// What those who come by it may do.
    pub roles: Vec<String>,
    /// Enrolments; 0 is one.
    pub uses: u32,
    /// How long it is good for, seconds; 0 is the hub's usual time.
    pub ttl_s: u64,
    /// It goes into a header instead of an enrolment.
    pub bearer: bool,
}

/// A token that was made.
#[derive(Clone, Debug, Default)]
pub struct MadeToken {
    /// What it is.
    pub token: Token,
    /// A join string, or a bearer token. It is said this once.
    pub secret: String,
}

/// A token.
#[derive(Clone, Debug, Default)]
pub struct Token {
    /// Its id, 16 hex digits.
    pub id: String,
    /// What those who come by it may do.
    pub roles: Vec<String>,
    /// It goes into a header.
    pub bearer: bool,
    /// Enrolments that it is good for.
    pub uses: u32,
    /// Enrolments that it was used for.
    pub used: u32,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it is good no more.
    pub expires: Option<SystemTime>,
    /// It was ended.
    pub revoked: bool,
}

/// A member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// The token by which it came.
    pub token_id: String,
    /// When it came.
    pub joined: Option<SystemTime>,
    /// When its certificate was renewed last.
    pub renewed: Option<SystemTime>,
    /// It was removed.
    pub removed: bool,
}

/// Members that were removed.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// The first of them.
    pub members: Vec<Member>,
    /// How many there are besides.
    pub more: u32,
}

/// A terminal that an action is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Lines.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// The value of TERM.
    pub term: String,
}
