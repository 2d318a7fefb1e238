//! What has ended since the hub started: sums, and the last failures. In memory only, and bounded: a hub that stays for
//! a year keeps no more of it than one that stays for an hour.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hands_proto::{reapi, v1};

use crate::db::{Done, Record};
use crate::jobs::job_of;

/// Invocations that are remembered; beyond it the one that was quiet for the longest is forgotten.
const INVOCATIONS: usize = 512;
/// Failures that are remembered.
const FAILURES: usize = 100;
/// `google.rpc.Code.CANCELLED`.
const CANCELLED: i32 = 1;

/// What an invocation is one of: `bazel`, `hands batch`.
pub(crate) fn tool(metadata: &reapi::RequestMetadata) -> String {
    let name = metadata.tool_details.as_ref().map_or("", |tool| &tool.tool_name);
    match (name, metadata.action_mnemonic.as_str()) {
        // Our front-ends name themselves there.
        ("hands", mnemonic) if !mnemonic.is_empty() => format!("hands {mnemonic}"),
        (name, _) => name.to_owned(),
    }
}

/// How an action ended, as figures tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its command ended with 0.
    Succeeded,
    /// Its command ended otherwise, or ran into its deadline.
    Failed,
    /// There is no result.
    Error,
    /// Somebody cancelled it, or nobody waited any more.
    Cancelled,
}

impl Outcome {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Error, Self::Cancelled];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    fn of(done: &Done) -> Self {
        let code = done.response.status.as_ref().map_or(0, |status| status.code);
        match (&done.response.result, code) {
            (_, CANCELLED) => Self::Cancelled,
            (None, _) => Self::Error,
            (Some(result), 0) if result.exit_code == 0 => Self::Succeeded,
            (Some(_), _) => Self::Failed,
        }
    }
}

/// What ended of one invocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) tool: String,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) cached: u64,
    /// Milliseconds since 1970.
    pub(crate) created: i64,
    pub(crate) ended: i64,
}

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    lost: AtomicU64,
    requeued: AtomicU64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    invocations: HashMap<String, Tally>,
    failures: VecDeque<v1::Job>,
}

impl Ledger {
    /// An action ended, or was answered from the cache.
    pub(crate) fn ended(&self, record: &Record, done: &Done) {
        let outcome = Outcome::of(done);
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent();
        if matches!(outcome, Outcome::Failed | Outcome::Error) {
            recent.failures.truncate(FAILURES - 1);
            recent.failures.push_front(job_of(record, Some(done)));
        }
        let tally = recent.tally(&record.metadata, record.created);
        match outcome {
            Outcome::Succeeded => tally.succeeded += 1,
            Outcome::Failed | Outcome::Error => tally.failed += 1,
            // Somebody's wish is no failure.
            Outcome::Cancelled => {}
        }
        tally.cached += u64::from(record.cached);
        tally.created = tally.created.min(record.created);
        tally.ended = tally.ended.max(done.finished);
    }

    /// So many actions of an invocation were answered from the action cache, without a row.
    pub(crate) fn answered(&self, metadata: &reapi::RequestMetadata, n: u64, now: i64) {
        self.outcomes[Outcome::Succeeded as usize].fetch_add(n, Ordering::Relaxed);
        let mut recent = self.recent();
        let tally = recent.tally(metadata, now);
        tally.succeeded += n;
        tally.cached += n;
        tally.ended = tally.ended.max(now);
    }

    /// An attempt brought no result and its action is queued again; `started` if its command had been started.
    pub(crate) fn requeued(&self, started: bool) {
        self.requeued.fetch_add(1, Ordering::Relaxed);
        self.lost.fetch_add(u64::from(started), Ordering::Relaxed);
    }

    /// How many actions have ended since the hub began.
    pub(crate) fn ended_so_far(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.load(Ordering::Relaxed)).sum()
    }

    /// How many actions ended so.
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// Attempts that were started and lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Leases that ended without a result, started or not.
    pub(crate) fn n_requeued(&self) -> u64 {
        self.requeued.load(Ordering::Relaxed)
    }

    /// The last failures, newest first.
    pub(crate) fn failures(&self, n: usize) -> Vec<v1::Job> {
        self.recent().failures.iter().take(n).cloned().collect()
    }

    /// The remembered invocations.
    pub(crate) fn invocations(&self) -> HashMap<String, Tally> {
        self.recent().invocations.clone()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// The sums of an invocation, begun where it is new.
    fn tally(&mut self, metadata: &reapi::RequestMetadata, created: i64) -> &mut Tally {
        let name = &metadata.tool_invocation_id;
        if !self.invocations.contains_key(name) {
            self.make_room();
        }
        self.invocations.entry(name.clone()).or_insert_with(|| Tally {
            tool: tool(metadata),
            created,
            ..Tally::default()
        })
    }

    fn make_room(&mut self) {
        if self.invocations.len() < INVOCATIONS {
            return;
        }
        let quiet = self.invocations.iter().min_by_key(|(_, tally)| tally.ended);
        if let Some(name) = quiet.map(|(name, _)| name.clone()) {
            self.invocations.remove(&name);
        }
    }
}
