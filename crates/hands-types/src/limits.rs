//! Bounds that users and peers meet. DESIGN §6 names those that are promises.

use std::time::Duration;

/// Largest gRPC message that we accept, bytes. Above the 4 MiB default, because Buck2 sends whole batches as chunks.
pub const MAX_MESSAGE: usize = 16 << 20;
/// `max_batch_total_size_bytes` that the hub announces: below the 4 MiB that foreign clients decode by default.
pub const MAX_BATCH: u64 = (4 << 20) - (64 << 10);
/// Chunk of a ByteStream read or write, bytes.
pub const CHUNK: usize = 256 << 10;
/// What a person reads of one action in lists: its command as it was typed, its target. Bytes; what is longer is
/// shortened before it travels in a header.
pub const MAX_TITLE: usize = 1024;
/// Longest single argument or variable that Linux takes, bytes, without the NUL at its end (`MAX_ARG_STRLEN`).
pub const MAX_ARGUMENT: usize = (128 << 10) - 1;
/// All arguments and variables of a command that are sent at all, bytes. Linux takes a quarter of the stack's limit, 2 MiB as
/// a rule; a Command of this size still fits a batch of blobs.
pub const MAX_ARGUMENTS: usize = 3 << 20;
/// Largest blob, bytes.
pub const MAX_BLOB: u64 = 64 << 30;
/// Largest Directory or Tree message, bytes.
pub const MAX_PROTO_BLOB: u64 = 64 << 20;
/// Deepest directory below the root of an input tree.
pub const MAX_TREE_DEPTH: usize = 200;
/// Most entries of an input tree, counted as often as they stand there.
pub const MAX_TREE_ENTRIES: u64 = 4_000_000;
/// Largest entry of a directory as it is encoded, bytes: a name of 255, a target of 4,096 and what else is said of it.
pub const MAX_ENTRY: usize = 64 << 10;
/// Most entries of one output directory, over all its levels.
pub const MAX_OUTPUT_ENTRIES: u64 = 1_000_000;
/// Most bytes of the Trees of one result, together.
pub const MAX_TREES: u64 = 256 << 20;
/// Collecting the outputs of one action ends after this time at most.
pub const COLLECT: Duration = Duration::from_secs(30 * 60);
/// What an action with a deadline has for collecting at least, even if it ran to its last second.
pub const COLLECT_LEAST: Duration = Duration::from_secs(60);
/// Largest Action message, bytes: it travels inside leases. Its platform has at most [`MAX_PLATFORM`].
pub const MAX_ACTION: u64 = 128 << 10;
/// Largest Command message, bytes: twice the arguments and variables that a kernel takes.
pub const MAX_COMMAND: u64 = 5 << 20;
/// Largest Command message that a lease carries, bytes. A larger one is fetched by the worker.
pub const LEASED_COMMAND: u64 = 64 << 10;
/// Most that one action may write to stdout or to stderr, bytes.
pub const MAX_STREAM: u64 = 1 << 30;
/// Outputs up to this many bytes travel inside the ActionResult.
pub const INLINE_STREAM: usize = 64 << 10;
/// Attempts of one action that may be lost together with their workers before it is called poisonous.
pub const MAX_ATTEMPTS: u32 = 3;
/// Most slots that a worker may offer.
pub const MAX_SLOTS: u32 = 4096;
/// How long a worker's leases live without a sign of life.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a worker gives a sign of life.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long an action without waiters lives after its client's connection was lost.
pub const ORPHAN: Duration = Duration::from_secs(60);
/// How long the result of an uncached action is kept for a repeated Execute of the same salted digest.
pub const SALTED_RESULT: Duration = Duration::from_secs(3600);
/// How long an idle agent stays.
pub const AGENT_IDLE: Duration = Duration::from_secs(15 * 60);
/// Highest `Action.timeout` that the hub accepts.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Default store quota at most, bytes; a tenth of the disk if that is less.
pub const STORE_QUOTA: u64 = 20 << 30;
/// Most layers of an action's own root. Their names have to fit the one page of options that a mount takes.
pub const MAX_ROOT_LAYERS: usize = 128;
/// Least memory that an action may be limited to, bytes. The kernel's own accounts of a process, its stacks and page tables
/// take one to two MiB before the command does anything: at 1 MiB none starts, at 2 MiB some do.
pub const MIN_MEMORY: u64 = 4 << 20;
/// Disk space that always stays free, bytes.
pub const DISK_RESERVE: u64 = 2 << 30;
/// Longest name of a worker, a property, its value, a counter, an instance or an invocation, bytes.
pub const MAX_NAME: usize = 256;
/// Most properties that a worker offers, and most counters.
pub const MAX_OFFERED: usize = 256;
/// Longest that a worker or a client says to people in one sentence, bytes; the rest is left out.
pub const MAX_SAID: usize = 4096;
/// Actions that wait or run, in all and of one client: a batch of 200,000 is one.
pub const MAX_ACTIONS: usize = 500_000;
/// Of these, those of one member, or of one address without a certificate.
pub const MAX_ACTIONS_OF_ONE: usize = 250_000;
/// Different platforms among them: the scheduler has kinds of actions for four such clients.
pub const MAX_PLATFORMS_OF_ONE: usize = 1000;
/// Bytes of what is kept of actions that wait or run beside their blobs.
pub const MAX_ACTION_BYTES: usize = 512 << 20;
/// Of these, those of one.
pub const MAX_ACTION_BYTES_OF_ONE: usize = 256 << 20;
/// Most properties of an action's platform.
pub const MAX_PROPERTIES: usize = 128;
/// Longest value of such a property, bytes.
pub const MAX_VALUE: usize = 4096;
/// Longest value of a `layer`, and most bytes that all of a platform's properties have together.
pub const MAX_PLATFORM: usize = 32 << 10;
/// Longest path of an output, and longest target of a link, bytes: the kernel's `PATH_MAX`.
pub const MAX_PATH: usize = 4096;
/// Most patterns among the outputs that one command declares.
pub const MAX_PATTERNS: usize = 1000;
/// Longest life of a token.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Bytes that the layers of a container image may expand to, all together.
pub const MAX_IMAGE: u64 = 64 << 30;
/// Most layers of an image.
pub const MAX_IMAGE_LAYERS: usize = 512;
/// Largest index, manifest or configuration of an image, bytes: what the OCI asks registries to take.
pub const MAX_IMAGE_DOCUMENT: u64 = 4 << 20;
