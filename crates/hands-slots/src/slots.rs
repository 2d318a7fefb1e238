//! The state machine: its leases by age, its slots, and the account of what they take.

use std::collections::BTreeMap;
use std::time::Duration;

use hands_types::{Attempt, OperationId, Resources, Time};

use crate::effect::{Effect, HandBackReason};
use crate::input::{Input, LeaseId, LeaseTerms};

/// What the worker has.
#[derive(Clone, Debug)]
pub struct SlotsConfig {
    /// Commands that may run at the same time.
    pub slots: u32,
    /// Cpus, memory (0: not counted) and counters.
    pub resources: Resources,
    /// Leases whose inputs may be fetched at the same time.
    pub fetches: u32,
}

/// Where a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits until its inputs may be fetched.
    Waiting,
    /// Inputs are being fetched.
    Fetching,
    /// Waits for a slot.
    Ready,
    /// The command runs.
    Running {
        /// Where.
        slot: u32,
    },
    /// Outputs are being uploaded.
    Uploading,
    /// The result waits for the hub's acknowledgement.
    Finished,
    /// Cancelled; the command is being killed.
    Killing {
        /// Where.
        slot: u32,
    },
}

/// One lease, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Which.
    pub lease: LeaseId,
    /// Where it is.
    pub stage: Stage,
}

/// A worker's leases and slots.
#[derive(Debug)]
pub struct Slots {
    config: SlotsConfig,
    leases: BTreeMap<LeaseId, Row>,
    /// The leases in the order in which they came, which is the order in which they start.
    line: BTreeMap<u64, LeaseId>,
    next: u64,
    slots: Vec<Option<LeaseId>>,
    used: Resources,
    contact: Contact,
    /// Whether the hub knows of all that was started here and has not ended in a report.
    confirmed: bool,
    drain: Drain,
}

#[derive(Debug)]
struct Row {
    order: u64,
    terms: LeaseTerms,
    /// What it takes, without counters that this worker does not have.
    charge: Resources,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contact {
    /// In a session.
    Open { lease: Duration },
    /// Out of a session; leases run out then.
    Lost { until: Time, lease: Duration },
    /// Out of a session and all leases have run out, or there never was one.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    Wanted,
    Done,
}

impl Slots {
    /// A worker without leases and without a session.
    pub fn new(config: SlotsConfig) -> Self {
        let slots = vec![None; config.slots as usize];
        Self {
            config,
            leases: BTreeMap::new(),
            line: BTreeMap::new(),
            next: 0,
            slots,
            used: Resources::default(),
            contact: Contact::None,
            confirmed: false,
            drain: Drain::No,
        }
    }

    /// Takes one input and appends what is to be done to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::SessionOpened { lease } => self.session_opened(lease, out),
            Input::Welcomed => self.confirmed = true,
            Input::SessionLost => {
                if let Contact::Open { lease } = self.contact {
                    self.contact = Contact::Lost { until: now.after(lease), lease };
                }
            }
            Input::HubAbsent => {
                if let Contact::Lost { lease, .. } = self.contact {
                    self.contact = Contact::Lost { until: now.after(lease), lease };
                }
            }
            Input::Lease { lease, terms } => self.receive_lease(lease, terms, out),
            Input::Cancel { lease } => self.cancel(lease, out),
            Input::Recall { lease } => self.hand_back(lease, HandBackReason::Recalled, out),
            Input::Fetched { lease } => self.fetched(lease),
            Input::Ran { lease } => self.ran(lease, out),
            Input::Uploaded { lease } => self.uploaded(lease, out),
            Input::Concluded { lease } => self.concluded(lease, out),
            Input::Unable { lease, reason } => self.unable(lease, reason, out),
            Input::Acknowledged { lease } => self.acknowledged(lease, out),
            Input::Refused { lease } => self.cancel(lease, out),
            Input::Drain => self.start_drain(out),
            Input::Tick => {}
        }
        self.expire(now, out);
        self.advance(out);
    }

    /// When [`Input::Tick`] is due at the latest.
    pub const fn next_deadline(&self) -> Option<Time> {
        match self.contact {
            Contact::Lost { until, .. } => Some(until),
            Contact::Open { .. } | Contact::None => None,
        }
    }

    /// What the first message of a session names: all leases that are worked on or whose results are not acknowledged.
    pub fn held(&self) -> Vec<(OperationId, Attempt)> {
        let wanted =
            self.leases.iter().filter(|(_, row)| !matches!(row.stage, Stage::Killing { .. }));
        wanted.map(|(lease, _)| (lease.operation, lease.attempt)).collect()
    }

    /// Whether all that was started here since the hub last heard is in [`Slots::held`]: what it does not name was never
    /// received or never started. False for a process that was just started, and after leases have run out.
    pub const fn resumes(&self) -> bool {
        self.confirmed
    }

    /// All leases, by id.
    pub fn leases(&self) -> impl Iterator<Item = LeaseView> {
        self.leases.iter().map(|(lease, row)| LeaseView { lease: *lease, stage: row.stage })
    }

    /// Whether it is being drained.
    pub const fn draining(&self) -> bool {
        !matches!(self.drain, Drain::No)
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        assert_eq!(self.leases.len(), self.line.len(), "each lease stands in line once");
        let mut used = Resources::default();
        let mut n_busy = 0;
        for (lease, row) in &self.leases {
            assert_eq!(self.line.get(&row.order), Some(lease), "a lease is found by its age");
            if let Stage::Running { slot } | Stage::Killing { slot } = row.stage {
                assert_eq!(
                    self.slots[slot as usize],
                    Some(*lease),
                    "a slot belongs to what runs in it"
                );
                add(&mut used, &row.charge);
                n_busy += 1;
            }
        }
        assert_eq!(self.slots.iter().flatten().count(), n_busy, "nothing else has a slot");
        assert_eq!(
            (used.cpu_millis, used.memory),
            (self.used.cpu_millis, self.used.memory),
            "the account is right"
        );
        let total = &self.config.resources;
        let fits = used.cpu_millis <= total.cpu_millis && used.memory <= total.memory;
        assert!(fits && total.holds(&used), "the worker is over-committed");
    }

    fn session_opened(&mut self, lease: Duration, out: &mut Vec<Effect>) {
        self.contact = Contact::Open { lease };
        for (lease, row) in &self.leases {
            match row.stage {
                Stage::Running { .. } | Stage::Uploading => {
                    out.push(Effect::Started { lease: *lease });
                }
                Stage::Finished => out.push(Effect::Report { lease: *lease }),
                Stage::Waiting | Stage::Fetching | Stage::Ready | Stage::Killing { .. } => {}
            }
        }
    }

    const fn in_session(&self) -> bool {
        matches!(self.contact, Contact::Open { .. })
    }

    fn receive_lease(&mut self, lease: LeaseId, terms: LeaseTerms, out: &mut Vec<Effect>) {
        if self.leases.contains_key(&lease) {
            return;
        }
        let charge = self.charge(&terms.resources);
        let refused = if self.draining() {
            Some(HandBackReason::Draining)
        } else if self.slots.is_empty() || !self.config.resources.holds(&charge) {
            Some(HandBackReason::Unable("it needs more than the whole worker has".to_owned()))
        } else {
            None
        };
        if let Some(reason) = refused {
            if self.in_session() {
                out.push(Effect::HandBack { lease, reason });
            }
            out.push(Effect::Forget { lease });
            return;
        }
        let order = self.next;
        self.next += 1;
        self.line.insert(order, lease);
        self.leases.insert(lease, Row { order, terms, charge, stage: Stage::Waiting });
    }

    fn charge(&self, wanted: &Resources) -> Resources {
        let total = &self.config.resources;
        let counted = wanted.custom.iter().filter(|(name, _)| total.custom.contains_key(*name));
        Resources {
            cpu_millis: wanted.cpu_millis,
            memory: if total.memory == 0 { 0 } else { wanted.memory },
            custom: counted.map(|(name, n)| (name.clone(), *n)).collect(),
        }
    }

    fn fetched(&mut self, lease: LeaseId) {
        if let Some(row) = self.leases.get_mut(&lease)
            && row.stage == Stage::Fetching
        {
            row.stage = Stage::Ready;
        }
    }

    fn ran(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
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

    fn uploaded(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.stage(lease) == Some(Stage::Uploading) {
            self.finish(lease, out);
        }
    }

    fn concluded(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
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

    fn unable(&mut self, lease: LeaseId, reason: String, out: &mut Vec<Effect>) {
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
    fn hand_back(&mut self, lease: LeaseId, reason: HandBackReason, out: &mut Vec<Effect>) {
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

    fn cancel(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
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

    fn acknowledged(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
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

    fn start_drain(&mut self, out: &mut Vec<Effect>) {
        if self.drain == Drain::No {
            self.drain = Drain::Wanted;
        }
        for lease in self.line.values().copied().collect::<Vec<_>>() {
            self.hand_back(lease, HandBackReason::Draining, out);
        }
    }

    /// The leases have run out: the hub has given the actions to others. What was not started is dropped, and so is what
    /// may not outlive its lease; a cacheable result may still be the first.
    fn expire(&mut self, now: Time, out: &mut Vec<Effect>) {
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

    /// Starts what can be started, oldest first. A ready lease that does not fit yet holds back the younger ones that take
    /// of what it lacks, or a large action would wait for ever behind small ones; others pass it.
    fn advance(&mut self, out: &mut Vec<Effect>) {
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
    fn free_slot(&mut self, lease: LeaseId) {
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

    fn stage(&self, lease: LeaseId) -> Option<Stage> {
        self.leases.get(&lease).map(|row| row.stage)
    }

    fn set_stage(&mut self, lease: LeaseId, stage: Stage) {
        if let Some(row) = self.leases.get_mut(&lease) {
            row.stage = stage;
        }
    }
}

fn add(sum: &mut Resources, more: &Resources) {
    sum.cpu_millis = sum.cpu_millis.saturating_add(more.cpu_millis);
    sum.memory = sum.memory.saturating_add(more.memory);
    for (name, n) in &more.custom {
        let entry = sum.custom.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*n);
    }
}
