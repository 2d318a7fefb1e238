//! The tables' rows. All references between them are slab places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hands_types::{Attempt, InvocationId, OperationId, Resources, SessionId, Time, WorkerId};

use crate::queue::Position;
use crate::seldom::Seldom;

pub(crate) type OperationAt = u32;
pub(crate) type ClassAt = u32;
pub(crate) type KindAt = u32;
pub(crate) type InvocationAt = u32;
pub(crate) type SessionAt = u32;
pub(crate) type TreeAt = u32;

/// An operation that has not ended. Kept small: there may be a million.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) id: OperationId,
    pub(crate) invocation: InvocationAt,
    pub(crate) class: ClassAt,
    pub(crate) priority: i32,
    /// Position among equals: the order of submission. Never used twice, so it also tells users of one slab place apart.
    pub(crate) sequence: u64,
    /// Milliseconds; the unknown is the largest, because it may be the longest.
    pub(crate) expected: u32,
    pub(crate) inputs: Box<[TreeAt]>,
    pub(crate) since: Time,
    /// How long it may wait while nobody could take it.
    pub(crate) patience: Patience,
    pub(crate) asked_to_wait: bool,
    /// Highest number of a lease so far, 0 before the first.
    pub(crate) attempt: u32,
    pub(crate) lost: u32,
    pub(crate) rejected: u32,
    /// How often another was taken before it for locality's sake.
    pub(crate) passed: u8,
    pub(crate) cacheable: bool,
    /// Must not be run again, whatever its class says.
    pub(crate) once: bool,
    /// Whether an attempt that counts in `lost` was given up by its worker, and not lost with it.
    pub(crate) given_up: bool,
    /// Came from the hub's table: a worker may know of a lease that the table does not.
    pub(crate) restored: bool,
    /// Empty while it is queued; two while a straggler is helped.
    pub(crate) leases: Seldom<Lease>,
    /// Void leases of a cacheable action, whose results are still welcome.
    pub(crate) past: Seldom<Past>,
}

/// How long an operation may wait, in eight bytes. Microseconds, the largest number without an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(u64);

impl Patience {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let micros = timeout.map(|timeout| u64::try_from(timeout.as_micros()));
        Self(micros.and_then(Result::ok).unwrap_or(u64::MAX))
    }

    pub(crate) const fn get(self) -> Option<Duration> {
        match self.0 {
            u64::MAX => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

/// One lease that is out.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) holder: Holder,
    pub(crate) attempt: Attempt,
    pub(crate) started: Option<Time>,
    /// Whether its resources are charged; if not, it was handed out ahead.
    pub(crate) active: bool,
    /// Whether its worker brought it into a later session than the one that it was granted in.
    pub(crate) brought: bool,
    pub(crate) recalled: bool,
    /// When it becomes a straggler, while that timer runs.
    pub(crate) straggles: Option<Time>,
}

/// A void lease of a cacheable action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: Attempt,
    /// Whether it counts towards poison, as long as the worker does not come back.
    pub(crate) blamed: bool,
}

/// Who has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Session(SessionAt),
    /// After a restart of the hub: the worker is expected back until then.
    Away(WorkerId, Time),
}

/// A worker's session, connected or expected back.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) worker: WorkerId,
    pub(crate) name: String,
    pub(crate) kind: KindAt,
    pub(crate) total: Resources,
    pub(crate) used: Resources,
    pub(crate) depth: usize,
    pub(crate) lease: Duration,
    pub(crate) last_seen: Time,
    pub(crate) expires: Time,
    pub(crate) connected: bool,
    pub(crate) draining: bool,
    pub(crate) paused: Option<Time>,
    /// Operations whose leases are charged.
    pub(crate) active: BTreeSet<OperationAt>,
    /// Operations handed out ahead, in the order in which the worker will start them.
    pub(crate) ahead: VecDeque<OperationAt>,
    /// Trees in its store, the latest used last.
    pub(crate) held: VecDeque<TreeAt>,
    /// Where it stands in its kind's `idle` and `room`.
    pub(crate) idle_load: Option<u32>,
    pub(crate) room_load: Option<u32>,
}

impl Session {
    pub(crate) fn free_holds(&self, charge: &Resources) -> bool {
        let fits = |total: u64, used: u64, wanted: u64| total.saturating_sub(used) >= wanted;
        fits(self.total.cpu_millis.into(), self.used.cpu_millis.into(), charge.cpu_millis.into())
            && fits(self.total.memory, self.used.memory, charge.memory)
            && charge.custom.iter().all(|(name, n)| {
                let of = |r: &Resources| r.custom.get(name).copied().unwrap_or(0);
                of(&self.total).saturating_sub(of(&self.used)) >= *n
            })
    }

    pub(crate) fn charge(&mut self, charge: &Resources) {
        self.used.cpu_millis += charge.cpu_millis;
        self.used.memory += charge.memory;
        for (name, n) in &charge.custom {
            *self.used.custom.entry(name.clone()).or_default() += n;
        }
    }

    pub(crate) fn discharge(&mut self, charge: &Resources) {
        self.used.cpu_millis -= charge.cpu_millis;
        self.used.memory -= charge.memory;
        for (name, n) in &charge.custom {
            if let Some(used) = self.used.custom.get_mut(name) {
                *used -= n;
            }
        }
    }

    pub(crate) fn open(&self) -> bool {
        self.connected && !self.draining && self.paused.is_none()
    }

    /// Whether it could start something at once. What was handed out ahead and does not fit yet has a claim on what is
    /// free, or a large action would wait for ever behind small ones.
    pub(crate) fn is_idle(&self) -> bool {
        self.open() && self.ahead.is_empty() && self.used.cpu_millis < self.total.cpu_millis
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open() && self.ahead.len() < self.depth
    }

    pub(crate) fn load(&self) -> u32 {
        let ahead: u64 = self.ahead.len() as u64 * 1000;
        let load = (u64::from(self.used.cpu_millis) + ahead) * 1000
            / u64::from(self.total.cpu_millis.max(1));
        u32::try_from(load).unwrap_or(u32::MAX)
    }
}

/// A group that shares fairly with others.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) id: InvocationId,
    /// Thousandths of a cpu that its leases take.
    pub(crate) share: u64,
    /// When it was last served, as a count of leases: of equal shares the one served longest ago is next.
    pub(crate) turn: u64,
    pub(crate) n_operations: usize,
    /// What it has queued, by priority and class; no set is empty.
    pub(crate) queued: BTreeMap<(i32, ClassAt), BTreeSet<Position>>,
}

/// What is due at a time. Operations are named by place and sequence, sessions by id, so that a late one is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    SessionExpires(SessionKey),
    PauseEnds(SessionKey),
    AwayEnds(OperationAt, u64),
    Straggles(OperationAt, u64),
    GivesUp(OperationAt, u64),
}

/// A session's id as its halves, in the same order. Whole it is aligned to 16 bytes, and each timer takes half as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionKey(u64, u64);

impl From<SessionId> for SessionKey {
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    fn from(id: SessionId) -> Self {
        Self((id.0 >> 64) as u64, id.0 as u64)
    }
}

impl From<SessionKey> for SessionId {
    fn from(SessionKey(high, low): SessionKey) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

/// There may be a million of them.
const _: () = assert!(size_of::<Operation>() <= 112 && size_of::<(Time, Timer)>() <= 32);
