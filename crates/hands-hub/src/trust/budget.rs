//! How often somebody was refused within a minute. The first refusals are logged, for one may be a typing error in a join
//! string; a flood of them does not fill the log.
//!
//! Nobody is refused for what others did: a signature is checked first, and a good one is never turned away. Otherwise
//! whoever knows a member's id, or shares an address with many, could keep them out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hands_link::{Source, TokenId};
use hands_types::MemberId;

const PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Entries that are remembered.
const MAX_ENTRIES: usize = 4096;

/// Whose refusals are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claimed {
    /// A token that there is, under which a signature was bad.
    Token(TokenId),
    /// A member that there is, likewise.
    Member(MemberId),
    /// An address that named neither.
    Nobody(Source),
}

#[derive(Debug, Default)]
pub(crate) struct Budget {
    refusals: Mutex<BTreeMap<Claimed, (u32, Instant)>>,
}

impl Budget {
    /// Notes a refusal. False when there were too many within a minute.
    pub(crate) fn spend(&self, claimed: Claimed, now: Instant) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_ENTRIES {
            refusals.retain(|_, (_, since)| now - *since < WINDOW);
        }
        if refusals.len() >= MAX_ENTRIES {
            // So many at once are one attacker: none of them is worth remembering.
            refusals.clear();
        }
        let (count, since) = refusals.entry(claimed).or_insert((0, now));
        if now - *since >= WINDOW {
            (*count, *since) = (0, now);
        }
        *count = count.saturating_add(1);
        *count <= PER_WINDOW
    }
}
