//! Which salted digests have an answer in the table, by part of their hash. Almost every Execute asks and almost
//! none has one, so the question must not cost a query.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// May say yes for a digest that has no answer, never no for one that has.
#[derive(Debug, Default)]
pub(super) struct Retained(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// How many answers share the part of the hash.
    parts: BTreeMap<u64, u32>,
    /// The same by the milliseconds since 1970 at which they were finished, so that old ones are dropped.
    order: VecDeque<(i64, u64)>,
}

impl Retained {
    pub(super) fn note(&self, hash: &[u8; 32], finished: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known.parts.entry(part(hash)).or_default() += 1;
        known.order.push_back((finished, part(hash)));
    }

    /// Whether an answer may be there that was finished at `since` or later. Forgets what is older.
    pub(super) fn may_hold(&self, hash: &[u8; 32], since: i64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((finished, old)) = known.order.front().copied()
            && finished < since
        {
            known.order.pop_front();
            if let Some(count) = known.parts.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    known.parts.remove(&old);
                }
            }
        }
        known.parts.contains_key(&part(hash))
    }
}

fn part(hash: &[u8; 32]) -> u64 {
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}
