//! The decision: which action next for a worker with room, which worker for an action.
//!
//! One invariant keeps it cheap. After a step, a class that has something queued has no worker with room for it; so a
//! new action of such a class need not look for a worker, and a worker that gains room is the only one that has to look
//! for an action.

use std::cmp::Reverse;

use hands_types::Resources;

use crate::effect::Effect;
use crate::scheduler::Scheduler;
use crate::state::{ClassAt, Holder, KindAt, OperationAt, SessionAt};

/// Workers that are compared for an action, and actions for a worker. More would find better fits at a higher cost.
const CANDIDATES: usize = 8;
/// Holders of one tree that are looked at.
const HOLDERS: usize = 16;
/// Actions at the head of an invocation's queue of which the one with the most held bytes is taken.
const WINDOW: usize = 4;
/// How often the head may be passed over for locality's sake.
const MAX_PASSED: u8 = 8;

impl Scheduler {
    /// Hands out all that can be handed out after this step's changes: first what can run at once, everywhere, and only
    /// then what goes ahead, so that nothing waits behind a busy worker while another is idle.
    pub(crate) fn settle(&mut self, out: &mut Vec<Effect>) {
        if self.gained.is_empty() && self.fresh.is_empty() {
            return;
        }
        let gained = std::mem::take(&mut self.gained);
        let fresh = std::mem::take(&mut self.fresh);
        for &session in &gained {
            if self.sessions.get(session).is_some() {
                self.promote(session);
            }
        }
        for idle in [true, false] {
            for &session in &gained {
                if self.sessions.get(session).is_some() {
                    // A busy worker gains and loses as much: it is put in line once, where it mostly stood before.
                    self.pulling = true;
                    self.pull(session, idle, out);
                    self.pulling = false;
                    if !idle || !fresh.is_empty() {
                        self.index(session);
                    }
                }
            }
            for &class in &fresh {
                self.spread(class, idle, out);
            }
        }
        for &session in &gained {
            if self.sessions.get(session).is_some_and(|s| s.is_idle()) {
                self.help(session, out);
            }
        }
        self.gained.clear();
        self.fresh.clear();
    }

    /// Gives a worker actions until nothing fits: to run at once, or ahead.
    fn pull(&mut self, session: SessionAt, idle: bool, out: &mut Vec<Effect>) {
        while self.takes(session, idle) {
            let Some(at) = self.best_action(session, idle) else { return };
            self.dequeue(at);
            self.grant(at, session, idle, out);
        }
    }

    /// Finds workers for a class that had nothing queued before.
    fn spread(&mut self, class: ClassAt, idle: bool, out: &mut Vec<Effect>) {
        while let Some(at) = self.head(class) {
            if !idle && !self.classes.classes[class].rerun {
                return;
            }
            let Some(session) = self.best_worker(at, idle) else { return };
            self.dequeue(at);
            self.grant(at, session, idle, out);
        }
    }

    fn head(&self, class: ClassAt) -> Option<OperationAt> {
        self.classes.classes.get(class)?;
        self.best_line(&[class])?.1.first().map(|(_, _, at)| *at)
    }

    fn takes(&self, session: SessionAt, idle: bool) -> bool {
        let session = &self.sessions[session];
        if idle { session.is_idle() } else { session.has_room() }
    }

    /// The best queued action for a worker, by priority, fairness and length over all classes.
    fn best_action(&mut self, session_at: SessionAt, idle: bool) -> Option<OperationAt> {
        let session = &self.sessions[session_at];
        let kind = &self.classes.kinds[session.kind];
        let fits = |class_at: &ClassAt| {
            let class = &self.classes.classes[*class_at];
            match class.kinds.get(&session.kind) {
                Some(charge) if idle => session.free_holds(charge),
                Some(_) => {
                    class.rerun && kind.profile.unmet(&session.total, &class.needs).is_none()
                }
                None => false,
            }
        };
        let fitting: Vec<ClassAt> = kind.queued.iter().copied().filter(fits).collect();
        let (_, line) = self.best_line(&fitting)?;
        let window: Vec<OperationAt> = line.iter().take(WINDOW).map(|(_, _, at)| *at).collect();
        let first = *window.first()?;
        if self.operations[first].passed >= MAX_PASSED || self.operations[first].inputs.is_empty() {
            return Some(first);
        }
        let held = |at: OperationAt| self.trees.held_bytes(session_at, &self.operations[at].inputs);
        // Of equal ones the first: `max_by_key` returns the last.
        let chosen = window.into_iter().rev().max_by_key(|at| held(*at))?;
        if chosen != first {
            self.operations[first].passed += 1;
        }
        Some(chosen)
    }

    /// The best worker with room for an action: the one that holds most of its inputs, then the least loaded.
    pub(crate) fn best_worker(&mut self, at: OperationAt, idle: bool) -> Option<SessionAt> {
        let op = &self.operations[at];
        let class = &self.classes.classes[op.class];
        let mut best: Option<((u64, Reverse<u32>, Reverse<SessionAt>), SessionAt)> = None;
        let mut consider = |session_at: SessionAt| {
            let held = self.trees.held_bytes(session_at, &op.inputs);
            let load = self.sessions[session_at].load();
            let key = (held, Reverse(load), Reverse(session_at));
            if best.as_ref().is_none_or(|(other, _)| *other < key) {
                best = Some((key, session_at));
            }
        };
        for (kind_at, charge) in &class.kinds {
            let kind = &self.classes.kinds[*kind_at];
            let line = if idle { &kind.idle } else { &kind.room };
            line.iter()
                .map(|(_, session_at)| *session_at)
                .filter(|session_at| self.could_take(*session_at, *kind_at, charge, at, idle))
                .take(if op.inputs.is_empty() { 1 } else { CANDIDATES })
                .for_each(&mut consider);
        }
        for tree in op.inputs.iter().filter(|tree| self.trees.is_held(**tree)).take(WINDOW) {
            for session_at in self.trees.holders(*tree, self.cursor).take(HOLDERS) {
                let kind_at = self.sessions[session_at].kind;
                if self.takes(session_at, idle)
                    && let Some(charge) = class.kinds.get(&kind_at)
                    && self.could_take(session_at, kind_at, charge, at, idle)
                {
                    consider(session_at);
                }
            }
        }
        let chosen = best?.1;
        self.cursor = chosen.wrapping_add(1);
        Some(chosen)
    }

    fn could_take(
        &self,
        session_at: SessionAt,
        kind: KindAt,
        charge: &Resources,
        at: OperationAt,
        idle: bool,
    ) -> bool {
        let session = &self.sessions[session_at];
        let op = &self.operations[at];
        let fits = if idle {
            session.free_holds(charge)
        } else {
            let needs = &self.classes.classes[op.class].needs;
            self.classes.kinds[kind].profile.unmet(&session.total, needs).is_none()
        };
        fits && op.leases.iter().all(|lease| lease.holder != Holder::Session(session_at))
    }

    /// A worker has room and nothing is queued for it: it takes over what others were given ahead, or runs a second
    /// attempt of a straggler.
    fn help(&mut self, session_at: SessionAt, out: &mut Vec<Effect>) {
        let kind = self.sessions[session_at].kind;
        let mut budget =
            self.sessions[session_at].total.cpu_millis - self.sessions[session_at].used.cpu_millis;
        let classes: Vec<ClassAt> = self.classes.kinds[kind].classes.iter().copied().collect();
        for class_at in classes {
            let class = &self.classes.classes[class_at];
            let candidates: Vec<OperationAt> =
                class.ahead.iter().copied().take(CANDIDATES).collect();
            for at in candidates {
                let cpu = self.charge(at, session_at).cpu_millis;
                if cpu > budget || !self.fits_now(at, session_at) {
                    break;
                }
                if self.recall(at, session_at, out) {
                    budget -= cpu;
                }
            }
            let stragglers: Vec<OperationAt> =
                self.classes.classes[class_at].stragglers.iter().copied().collect();
            for at in stragglers {
                let elsewhere = !self.holders(at).contains(&session_at);
                if elsewhere && self.sessions[session_at].is_idle() && self.fits_now(at, session_at)
                {
                    self.grant(at, session_at, true, out);
                }
            }
        }
    }

    /// Asks another worker to hand back what it was given ahead.
    fn recall(&mut self, at: OperationAt, idle: SessionAt, out: &mut Vec<Effect>) -> bool {
        let operation = self.operations[at].id;
        let class = self.operations[at].class;
        for lease in &mut self.operations[at].leases {
            let Holder::Session(session) = lease.holder else { continue };
            if session == idle || lease.active || lease.recalled || lease.started.is_some() {
                continue;
            }
            if !self.sessions[session].connected {
                continue;
            }
            lease.recalled = true;
            self.classes.classes[class].ahead.remove(&at);
            out.push(Effect::Recall {
                session: self.sessions[session].id,
                operation,
                attempt: lease.attempt,
            });
            return true;
        }
        false
    }

    /// A cacheable action runs far beyond its history: if a worker has room, it is started there too.
    pub(crate) fn straggles(&mut self, at: OperationAt, out: &mut Vec<Effect>) {
        let op = &self.operations[at];
        if op.leases.len() != 1 {
            return;
        }
        let class = op.class;
        match self.best_worker(at, true) {
            Some(session) => self.grant(at, session, true, out),
            None => {
                self.classes.classes[class].stragglers.insert(at);
            }
        }
    }

    /// What an action takes of this worker.
    pub(crate) fn charge(&self, at: OperationAt, session: SessionAt) -> Resources {
        let class = &self.classes.classes[self.operations[at].class];
        self.classes.kinds[self.sessions[session].kind].profile.charge(&class.needs.resources)
    }

    pub(crate) fn fits_now(&self, at: OperationAt, session: SessionAt) -> bool {
        self.sessions[session].free_holds(&self.charge(at, session))
    }

    /// What a lease adds to its invocation's share.
    pub(crate) fn weight(&self, at: OperationAt) -> u64 {
        u64::from(self.classes.classes[self.operations[at].class].needs.resources.cpu_millis.max(1))
    }
}
