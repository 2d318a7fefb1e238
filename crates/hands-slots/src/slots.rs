//! The state machine: its leases by age, its slots, and the account of what they take.

mod ending;
mod starting;

use std::collections::BTreeMap;
use std::time::Duration;

use hands_types::{Attempt, OperationId, Resources, Time};

use crate::effect::{Effect, HandBackReason};
use crate::input::{Input, LeaseId, LeaseTerms};
use starting::add;

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
            Input::Late { by } => {
                if let Contact::Lost { until, .. } = &mut self.contact {
                    *until = until.after(by);
                }
            }
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

    fn fetched(&mut self, lease: LeaseId) {
        if let Some(row) = self.leases.get_mut(&lease)
            && row.stage == Stage::Fetching
        {
            row.stage = Stage::Ready;
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
