//! What goes wrong in a history, and bugs that are planted to prove that the audit sees them.

use crate::rng::Rng;

/// Rates of one history, in thousandths unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// A message breaks the connection that it travels on.
    pub(crate) break_connection: u64,
    /// A broken connection looks whole to the hub until the lease runs out.
    pub(crate) half_open: u64,
    /// A connection stands still for longer than a lease and then goes on, as with a stopped process.
    pub(crate) stall: u64,
    /// A message arrives twice.
    pub(crate) duplicate: u64,
    /// A command's start kills its worker within moments.
    pub(crate) kill_worker: u64,
    /// Number of times that the hub is killed.
    pub(crate) n_hub_kills: u64,
    /// Number of times that a worker is drained.
    pub(crate) n_drains: u64,
    /// An operation is cancelled by its client.
    pub(crate) cancel: u64,
    /// An operation's inputs were evicted before it was submitted.
    pub(crate) evicted: u64,
    /// A worker can't fetch, for a reason of its own.
    pub(crate) unable: u64,
    /// An operation kills each worker that starts it.
    pub(crate) poison: u64,
    /// Number of times that the hub stands still and goes on.
    pub(crate) n_hub_pauses: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) const NONE: Self = Self {
        break_connection: 0,
        half_open: 0,
        stall: 0,
        duplicate: 0,
        kill_worker: 0,
        n_hub_kills: 0,
        n_drains: 0,
        cancel: 0,
        evicted: 0,
        unable: 0,
        poison: 0,
        n_hub_pauses: 0,
    };

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut some =
            |often: u64, most: u64| if rng.chance(often) { rng.below(most + 1) } else { 0 };
        Self {
            break_connection: some(500, 15),
            half_open: some(500, 500),
            stall: some(300, 8),
            duplicate: some(400, 200),
            kill_worker: some(400, 60),
            n_hub_kills: some(500, 3),
            n_drains: some(300, 3),
            cancel: some(400, 200),
            evicted: some(300, 100),
            unable: some(300, 60),
            poison: some(200, 60),
            n_hub_pauses: some(300, 3),
        }
    }

    /// Whether nothing can disturb the share-out among invocations.
    pub(crate) const fn calm(&self) -> bool {
        self.break_connection == 0
            && self.stall == 0
            && self.kill_worker == 0
            && self.n_hub_kills == 0
            && self.n_hub_pauses == 0
            && self.poison == 0
    }
}

/// A bug in one of the shells. None is in a core: these are the mistakes that a shell can make with a right core, and
/// those that a wrong core would show by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The hub treats a refused result as the result.
    AcceptsRefused,
    /// The hub's table forgets which leases are out.
    ForgetsLeases,
    /// The hub's table forgets what was queued.
    ForgetsQueue,
    /// The hub acknowledges a result before it is durable.
    AcknowledgesEarly,
    /// A worker that was just started says that it goes on from the last session.
    AlwaysResumes,
    /// The hub takes a late result for the current attempt's.
    IgnoresFence,
    /// The hub's clock never wakes the scheduler.
    NeverTicks,
    /// A worker says that a killed command is gone before it is.
    FreesSlotEarly,
    /// The hub submits actions without their needs.
    DropsNeeds,
    /// The hub makes an invocation of every action.
    SplitsInvocations,
    /// The hub drops leases that are handed back.
    DropsHandBacks,
    /// A worker forgets its leases when its connection breaks.
    ForgetsOnReconnect,
    /// The hub does not pass cancellations on to the worker.
    DropsCancels,
    /// The hub keeps a session open that the scheduler has given up.
    KeepsDeadSessions,
    /// The hub does not tell the scheduler that it stood still.
    IgnoresPauses,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AcceptsRefused,
        Self::ForgetsLeases,
        Self::ForgetsQueue,
        Self::AcknowledgesEarly,
        Self::AlwaysResumes,
        Self::IgnoresFence,
        Self::NeverTicks,
        Self::FreesSlotEarly,
        Self::DropsNeeds,
        Self::SplitsInvocations,
        Self::DropsHandBacks,
        Self::ForgetsOnReconnect,
        Self::DropsCancels,
        Self::KeepsDeadSessions,
        Self::IgnoresPauses,
    ];
}
