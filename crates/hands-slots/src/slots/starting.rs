//! Which leases start, and the account of what they take.

use hands_types::Resources;

use super::{Drain, Slots, Stage};
use crate::effect::Effect;
use crate::input::LeaseId;

impl Slots {
    pub(super) fn charge(&self, wanted: &Resources) -> Resources {
        let total = &self.config.resources;
        let counted = wanted.custom.iter().filter(|(name, _)| total.custom.contains_key(*name));
        Resources {
            cpu_millis: wanted.cpu_millis,
            memory: if total.memory == 0 { 0 } else { wanted.memory },
            custom: counted.map(|(name, n)| (name.clone(), *n)).collect(),
        }
    }

    /// Starts what can be started, oldest first. A ready lease that does not fit yet holds back the younger ones that take
    /// of what it lacks, or a large action would wait for ever behind small ones; others pass it.
    pub(super) fn advance(&mut self, out: &mut Vec<Effect>) {
        let mut n_fetching =
            self.leases.values().filter(|row| row.stage == Stage::Fetching).count();
        let mut awaited = Resources::default();
        for lease in self.line.values().copied().collect::<Vec<_>>() {
            match self.stage(lease) {
                Some(Stage::Waiting) if n_fetching < self.config.fetches as usize => {
                    n_fetching += 1;
                    self.set_stage(lease, Stage::Fetching);
                    out.push(Effect::Fetch { lease });
                }
                Some(Stage::Ready) => self.run(lease, &mut awaited, out),
                Some(
                    Stage::Waiting
                    | Stage::Fetching
                    | Stage::Running { .. }
                    | Stage::Uploading
                    | Stage::Finished
                    | Stage::Killing { .. },
                )
                | None => {}
            }
        }
        if self.drain == Drain::Wanted && self.leases.is_empty() {
            self.drain = Drain::Done;
            out.push(Effect::Drained);
        }
    }

    /// Runs a lease unless it does not fit, or takes of what older ones wait for: then what it lacks is `awaited`, too.
    fn run(&mut self, lease: LeaseId, awaited: &mut Resources, out: &mut Vec<Effect>) {
        let Some(slot) = self.slots.iter().position(Option::is_none) else { return };
        let charge = self.leases[&lease].charge.clone();
        let mut after = self.used.clone();
        add(&mut after, &charge);
        let lacks = self.config.resources.lacks(&after);
        add(awaited, &lacks);
        if lacks != Resources::default() || charge.shares(awaited) {
            return;
        }
        self.used = after;
        self.slots[slot] = Some(lease);
        let slot = u32::try_from(slot).expect("slots were counted by a u32");
        self.set_stage(lease, Stage::Running { slot });
        out.push(Effect::Run { lease, slot });
        if self.in_session() {
            out.push(Effect::Started { lease });
        }
    }

    /// Frees the slot of what runs or is killed in one.
    pub(super) fn free_slot(&mut self, lease: LeaseId) {
        let Some(row) = self.leases.get(&lease) else { return };
        if let Stage::Running { slot } | Stage::Killing { slot } = row.stage {
            self.slots[slot as usize] = None;
            self.used.cpu_millis -= row.charge.cpu_millis;
            self.used.memory -= row.charge.memory;
            for (name, n) in &row.charge.custom {
                if let Some(used) = self.used.custom.get_mut(name) {
                    *used -= n;
                }
            }
        }
    }
}

pub(super) fn add(sum: &mut Resources, more: &Resources) {
    sum.cpu_millis = sum.cpu_millis.saturating_add(more.cpu_millis);
    sum.memory = sum.memory.saturating_add(more.memory);
    for (name, n) in &more.custom {
        let entry = sum.custom.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*n);
    }
}
