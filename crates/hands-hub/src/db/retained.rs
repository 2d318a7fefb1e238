//! Which salted digests have an answer in the table, by part of their hash. Almost every Execute asks and almost
//! none has one, so the question must not cost a query.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use hands_types::OperationId;

/// May name an operation of another digest, never misses one of this.
#[derive(Debug, Default)]
pub(super) struct Retained(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By part of the hash, then by age. A busy hub has millions: no allocation for each.
    ids: BTreeSet<(u64, OperationId)>,
    /// The same by the milliseconds since 1970 at which they were finished, so that old ones are dropped.
    order: VecDeque<(i64, u64, OperationId)>,
}

impl Retained {
    pub(super) fn note(&self, hash: &[u8; 32], id: OperationId, finished: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.ids.insert((part(hash), id));
        known.order.push_back((finished, part(hash), id));
    }

    /// Operations that may have answered this hash at `since` or later, the latest first. Forgets what is older.
    pub(super) fn candidates(&self, hash: &[u8; 32], since: i64) -> Vec<OperationId> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((finished, old, id)) = known.order.front().copied()
            && finished < since
        {
            known.order.pop_front();
            known.ids.remove(&(old, id));
        }
        let all = (part(hash), OperationId(0))..=(part(hash), OperationId(u128::MAX));
        known.ids.range(all).rev().map(|(_, id)| *id).collect()
    }
}

fn part(hash: &[u8; 32]) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}
