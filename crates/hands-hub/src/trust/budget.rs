//! How many refusals an address gets before it must wait: guessing is hopeless anyway, and this keeps it cheap.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Budget {
    refusals: Mutex<BTreeMap<IpAddr, (u32, Instant)>>,
}

impl Budget {
    /// Whether an address may try now.
    pub(crate) fn allows(&self, from: IpAddr, now: Instant) -> bool {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals
            .get(&from)
            .is_none_or(|(count, since)| *count < PER_WINDOW || now - *since >= WINDOW)
    }

    /// Notes a refusal.
    pub(crate) fn spend(&self, from: IpAddr, now: Instant) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_ADDRESSES {
            refusals.retain(|_, (_, since)| now - *since < WINDOW);
        }
        if refusals.len() >= MAX_ADDRESSES {
            // So many at once are one attacker: none of them is worth remembering.
            refusals.clear();
        }
        let (count, since) = refusals.entry(from).or_insert((0, now));
        if now - *since >= WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }
}
