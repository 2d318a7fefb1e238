//! What a store is told, and what it tells.

use std::path::PathBuf;
use std::time::Duration;

use hands_types::limits;

/// Some 64 MB of memory.
const MOST_PINNED: usize = 1 << 22;

/// Where a store is and what it may take.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Its directory; created with mode 0700. Nobody else writes in it.
    pub dir: PathBuf,
    /// Bytes that blobs and staged trees may take; without a number 20 GiB or a tenth of the disk, whichever is less.
    /// Only what is pinned may exceed it.
    pub quota: Option<u64>,
    /// Bytes on the disk that always stay free.
    pub reserve: u64,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How long after a start blobs are kept that were used shortly before it, so that whoever pinned them can pin
    /// them again. Also what "shortly" means.
    pub restart_grace: Duration,
    /// Blobs that open invocations pin by name. Beyond it the largest one pins by time: all that was used since it began.
    pub most_pinned: usize,
    /// Bytes that action results may take.
    pub action_quota: u64,
}

impl StoreConfig {
    /// The defaults, in a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            quota: None,
            reserve: limits::DISK_RESERVE,
            durability: Durability::Second,
            restart_grace: Duration::from_secs(15 * 60),
            most_pinned: MOST_PINNED,
            action_quota: 1 << 30,
        }
    }
}

/// What survives what. In either case everything acknowledged survives the death of every process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut may take the last second, or as long as the disk needs to write it.
    #[default]
    Second,
    /// A power cut takes nothing that was acknowledged.
    Power,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk of small blobs, dead ones not yet compacted included.
    pub pack_bytes: u64,
    /// Bytes on disk of large blobs.
    pub file_bytes: u64,
    /// Bytes on disk of staged trees beyond what they share with large blobs.
    pub tree_bytes: u64,
    /// Bytes on disk of files being written.
    pub temp_bytes: u64,
    /// Bytes that all of these may take.
    pub quota: u64,
    /// Pins of blobs, of all open work together; what an invocation pins by time is not counted.
    pub pinned: u64,
    /// Trees that have names, and stay for that.
    pub named: u64,
    /// Bytes on disk of their blobs, which are among the bytes above.
    pub named_bytes: u64,
    /// Trees staged.
    pub trees: u64,
    /// Blobs that were found corrupt since the start.
    pub corrupt: u64,
    /// How long blobs that were used before the start still stay, whatever the quota.
    pub grace: Duration,
}

impl Usage {
    /// Bytes on disk, the index and action results apart.
    pub const fn total(&self) -> u64 {
        self.pack_bytes + self.file_bytes + self.tree_bytes + self.temp_bytes
    }
}
