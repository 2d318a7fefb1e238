//! The hub itself was away: it stood still, or its machine did not let it run.

use std::time::Duration;

use hands_types::Time;
use hands_types::limits::LEASE;

use crate::scheduler::Scheduler;
use crate::state::{Holder, Timer};

impl Scheduler {
    /// Nobody's silence meanwhile counts: all times are as much longer as the hub was away. After a long absence every worker
    /// has a whole lease from now on, for it may have to connect again; not after a short one, or a hub on a machine that
    /// is always too busy would never miss anybody.
    pub(crate) fn late(&mut self, now: Time, by: Duration) {
        for session in self.sessions.iter_mut() {
            let is_long = by.saturating_mul(2) >= session.lease;
            session.last_seen = if is_long { now } else { session.last_seen.after(by).min(now) };
        }
        // Likewise for a worker that could take what no other can.
        let is_long = by.saturating_mul(2) >= LEASE;
        for class in self.classes.classes.iter_mut() {
            if let Some(since) = &mut class.unmet_since {
                *since = if is_long { now } else { since.after(by).min(now) };
            }
        }
        for (due, timer) in std::mem::take(&mut self.timers) {
            let later = due.after(by);
            let due = match timer {
                // The first two look at what was set above when they are due. A worker's pause is over all the same.
                Timer::SessionExpires(_) | Timer::GivesUp(..) | Timer::PauseEnds(_) => due,
                Timer::AwayEnds(at, sequence) => {
                    if self.timed(at, sequence).is_some() {
                        for lease in &mut self.operations[at].leases {
                            if let Holder::Away(_, until) = &mut lease.holder
                                && *until == due
                            {
                                *until = later;
                            }
                        }
                    }
                    later
                }
                Timer::Straggles(at, sequence) => {
                    if self.timed(at, sequence).is_some() {
                        for lease in &mut self.operations[at].leases {
                            if lease.straggles == Some(due) {
                                lease.straggles = Some(later);
                            }
                        }
                    }
                    later
                }
            };
            self.timers.insert((due, timer));
        }
    }
}
