//! How leases end: by themselves, by the hub, by the worker's leaving, or because they have run out.

use hands_types::Time;

use super::{Contact, Drain, Slots, Stage};
use crate::effect::{Effect, HandBackReason};
use crate::input::LeaseId;

impl Slots {
    pub(super) fn ran(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        match self.stage(lease) {
            Some(Stage::Running { .. }) => {
                self.free_slot(lease);
                self.set_stage(lease, Stage::Uploading);
                out.push(Effect::Upload { lease });
            }
            Some(Stage::Killing { .. }) => self.forget(lease, out),
            Some(
                Stage::Waiting
                | Stage::Fetching
                | Stage::Ready
                | Stage::Uploading
                | Stage::Finished,
            )
            | None => {}
        }
    }

    pub(super) fn uploaded(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.stage(lease) == Some(Stage::Uploading) {
            self.finish(lease, out);
        }
    }

    pub(super) fn concluded(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        match self.stage(lease) {
            Some(Stage::Waiting | Stage::Fetching | Stage::Ready | Stage::Uploading) => {
                self.finish(lease, out);
            }
            Some(Stage::Running { .. }) => {
                self.free_slot(lease);
                self.finish(lease, out);
            }
            Some(Stage::Killing { .. }) => self.forget(lease, out),
            Some(Stage::Finished) | None => {}
        }
    }

    fn finish(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        self.set_stage(lease, Stage::Finished);
        if self.in_session() {
            out.push(Effect::Report { lease });
        }
    }

    pub(super) fn unable(&mut self, lease: LeaseId, reason: String, out: &mut Vec<Effect>) {
        match self.stage(lease) {
            Some(Stage::Running { .. }) => {
                self.free_slot(lease);
                self.give_up(lease, HandBackReason::Unable(reason), out);
            }
            Some(Stage::Waiting | Stage::Fetching | Stage::Ready | Stage::Uploading) => {
                self.give_up(lease, HandBackReason::Unable(reason), out);
            }
            Some(Stage::Killing { .. }) => self.forget(lease, out),
            Some(Stage::Finished) | None => {}
        }
    }

    /// Hands a lease back if its command was not started.
    pub(super) fn hand_back(
        &mut self,
        lease: LeaseId,
        reason: HandBackReason,
        out: &mut Vec<Effect>,
    ) {
        match self.stage(lease) {
            Some(Stage::Waiting | Stage::Fetching | Stage::Ready) => {
                self.give_up(lease, reason, out);
            }
            Some(
                Stage::Running { .. } | Stage::Uploading | Stage::Finished | Stage::Killing { .. },
            )
            | None => {}
        }
    }

    /// Without a session nobody can be told; the hub sees in the next one that the lease is not held.
    fn give_up(&mut self, lease: LeaseId, reason: HandBackReason, out: &mut Vec<Effect>) {
        if self.in_session() {
            out.push(Effect::HandBack { lease, reason });
        }
        self.forget(lease, out);
    }

    pub(super) fn cancel(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        match self.stage(lease) {
            Some(Stage::Running { slot }) => {
                self.set_stage(lease, Stage::Killing { slot });
                out.push(Effect::Kill { lease });
            }
            Some(
                Stage::Waiting
                | Stage::Fetching
                | Stage::Ready
                | Stage::Uploading
                | Stage::Finished,
            ) => {
                self.forget(lease, out);
            }
            Some(Stage::Killing { .. }) | None => {}
        }
    }

    pub(super) fn acknowledged(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.stage(lease) == Some(Stage::Finished) {
            self.forget(lease, out);
        }
    }

    fn forget(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        self.free_slot(lease);
        if let Some(row) = self.leases.remove(&lease) {
            self.line.remove(&row.order);
            out.push(Effect::Forget { lease });
        }
    }

    pub(super) fn start_drain(&mut self, out: &mut Vec<Effect>) {
        if self.drain == Drain::No {
            self.drain = Drain::Wanted;
        }
        for lease in self.line.values().copied().collect::<Vec<_>>() {
            self.hand_back(lease, HandBackReason::Draining, out);
        }
    }

    /// The leases have run out: the hub has given the actions to others. What was not started is dropped, and so is what
    /// may not outlive its lease; a cacheable result may still be the first.
    pub(super) fn expire(&mut self, now: Time, out: &mut Vec<Effect>) {
        match self.contact {
            Contact::Lost { until, .. } if until <= now => self.contact = Contact::None,
            Contact::Lost { .. } | Contact::Open { .. } | Contact::None => return,
        }
        for lease in self.line.values().copied().collect::<Vec<_>>() {
            let row = &self.leases[&lease];
            let started =
                matches!(row.stage, Stage::Running { .. } | Stage::Uploading | Stage::Finished);
            if !started || !row.terms.outlives_lease {
                self.confirmed &= !started;
                self.cancel(lease, out);
            }
        }
    }
}
