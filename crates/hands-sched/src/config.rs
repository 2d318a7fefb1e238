//! Numbers that a hub may set.

use std::time::Duration;

use hands_types::limits;

/// Numbers that a hub may set.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Starts that may bring no result before an action fails: lost with their workers, or given up.
    pub max_lost: u32,
    /// No worker comes but those that are there: what none of them can ever take fails at once, unless its client asked
    /// for a time to wait.
    pub alone: bool,
    /// Leases that may be handed back as impossible, before they were started or for want of room at the hub, until an
    /// action fails.
    pub max_rejected: u32,
    /// How long a worker gets nothing new after it handed a lease back as impossible.
    pub pause: Duration,
    /// Most different sets of needs that may be queued at once. Each costs a little in every decision, so that a
    /// hostile client could slow the hub with them.
    pub max_classes: usize,
    /// A cacheable action that runs longer than this many times its history is started a second time on a worker that
    /// has nothing else to do. 0 never does that.
    pub straggler_factor: u32,
    /// No action is called a straggler before it ran this long.
    pub straggler_min: Duration,
}

impl SchedulerConfig {
    /// The values that the documentation promises.
    pub const fn standard() -> Self {
        Self {
            max_lost: limits::MAX_ATTEMPTS,
            alone: false,
            max_rejected: 10,
            pause: Duration::from_secs(1),
            max_classes: 4096,
            straggler_factor: 3,
            straggler_min: Duration::from_secs(10),
        }
    }
}
