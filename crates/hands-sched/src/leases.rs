//! Leases: granted, started, finished, handed back, lost.

use hands_types::{Attempt, OperationId, SessionId, Time, WorkerId};

use crate::effect::{Effect, FailReason, RequeueReason};
use crate::input::RejectReason;
use crate::scheduler::Scheduler;
use crate::state::{Holder, Lease, OperationAt, Past, SessionAt, Timer};

/// How a lease was lost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) reason: RequeueReason,
    /// Whether the action may be to blame, so that it counts towards poison.
    pub(crate) blamed: bool,
    /// Whether the command may have been started, so that it may have had effects.
    pub(crate) started: bool,
}

impl Scheduler {
    /// Gives an operation that is not queued to a worker, to run at once or ahead.
    pub(crate) fn grant(
        &mut self,
        at: OperationAt,
        session_at: SessionAt,
        active: bool,
        out: &mut Vec<Effect>,
    ) {
        let op = &mut self.operations[at];
        op.attempt += 1;
        op.passed = 0;
        let attempt = Attempt(op.attempt);
        let lease = Lease {
            holder: Holder::Session(session_at),
            attempt,
            started: None,
            active,
            brought: false,
            recalled: false,
            straggles: None,
        };
        out.push(Effect::Lease {
            session: self.sessions[session_at].id,
            operation: op.id,
            attempt,
        });
        let inputs = std::mem::take(&mut op.inputs);
        for tree in &inputs {
            self.remember_held(session_at, *tree);
        }
        self.operations[at].inputs = inputs;
        self.attach(at, session_at, lease);
    }

    /// Enters a lease in all accounts.
    pub(crate) fn attach(&mut self, at: OperationAt, session_at: SessionAt, lease: Lease) {
        let (invocation, class) = (self.operations[at].invocation, self.operations[at].class);
        let recallable = !lease.active && lease.started.is_none();
        if lease.active {
            self.activate(at, session_at);
        } else {
            self.sessions[session_at].ahead.push_back(at);
        }
        self.operations[at].leases.push(lease);
        if recallable {
            self.classes.classes[class].ahead.insert(at);
        }
        self.classes.classes[class].stragglers.remove(&at);
        let share = self.invocations[invocation].share + self.weight(at);
        self.reshare(invocation, share, true);
        if !self.pulling {
            self.index(session_at);
        }
    }

    /// Strikes a lease out of all accounts; what it took is free again.
    pub(crate) fn unlease(&mut self, at: OperationAt, i: usize) -> Lease {
        let op = &mut self.operations[at];
        let lease = op.leases.remove(i);
        let (invocation, class, sequence) = (op.invocation, op.class, op.sequence);
        self.classes.classes[class].ahead.remove(&at);
        self.classes.classes[class].stragglers.remove(&at);
        if let Some(due) = lease.straggles {
            self.timers.remove(&(due, Timer::Straggles(at, sequence)));
        }
        match lease.holder {
            Holder::Away(worker, until) => {
                if let Some(away) = self.away.get_mut(&worker) {
                    away.remove(&at);
                }
                self.timers.remove(&(until, Timer::AwayEnds(at, sequence)));
            }
            Holder::Session(session_at) => {
                if lease.active {
                    self.deactivate(at, session_at);
                } else {
                    self.sessions[session_at].ahead.retain(|other| *other != at);
                }
                let share = self.invocations[invocation].share - self.weight(at);
                self.reshare(invocation, share, false);
                // Its place in line is brought up to date when the step settles.
                self.gained.insert(session_at);
            }
        }
        lease
    }

    fn activate(&mut self, at: OperationAt, session_at: SessionAt) {
        let charge = self.charge(at, session_at);
        let session = &mut self.sessions[session_at];
        session.charge(&charge);
        session.active.insert(at);
    }

    fn deactivate(&mut self, at: OperationAt, session_at: SessionAt) {
        let charge = self.charge(at, session_at);
        let session = &mut self.sessions[session_at];
        session.discharge(&charge);
        session.active.remove(&at);
    }

    /// Moves what was handed out ahead into the room that has become free, in the order in which it was handed out.
    pub(crate) fn promote(&mut self, session_at: SessionAt) {
        while let Some(&at) = self.sessions[session_at].ahead.front() {
            if !self.fits_now(at, session_at) {
                break;
            }
            self.sessions[session_at].ahead.pop_front();
            self.set_active(at, session_at, true);
        }
    }

    fn set_active(&mut self, at: OperationAt, session_at: SessionAt, active: bool) {
        if active {
            self.activate(at, session_at);
        } else {
            self.deactivate(at, session_at);
        }
        let op = &mut self.operations[at];
        let class = op.class;
        if let Some(lease) = op.leases.iter_mut().find(|l| l.holder == Holder::Session(session_at))
        {
            lease.active = active;
            if active || lease.recalled {
                self.classes.classes[class].ahead.remove(&at);
            } else {
                self.classes.classes[class].ahead.insert(at);
            }
        }
    }

    pub(crate) fn started(
        &mut self,
        now: Time,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        out: &mut Vec<Effect>,
    ) {
        let Some(session_at) = self.hear(now, session, out) else { return };
        let Some((at, i)) = self.find_lease(session_at, id, attempt) else { return };
        let op = &mut self.operations[at];
        let class = op.class;
        let lease = &mut op.leases[i];
        if lease.started.is_some() {
            return;
        }
        lease.started = Some(now);
        let active = lease.active;
        let straggles = self.straggles_at(at, now);
        self.operations[at].leases[i].straggles = straggles;
        self.classes.classes[class].ahead.remove(&at);
        if !active {
            self.overtake(at, session_at);
        }
    }

    /// Has a timer look at an action that started then once it has run far beyond its history; gives when that is.
    pub(crate) fn straggles_at(&mut self, at: OperationAt, started: Time) -> Option<Time> {
        let (factor, least) = (self.config.straggler_factor, self.config.straggler_min);
        let op = &self.operations[at];
        // A second attempt beside the first is one more, too.
        if !op.cacheable || !self.reruns(at) || factor == 0 || op.expected == u32::MAX {
            return None;
        }
        let usual = std::time::Duration::from_millis(op.expected.into()).saturating_mul(factor);
        let due = started.after(usual.max(least));
        self.timers.insert((due, Timer::Straggles(at, op.sequence)));
        Some(due)
    }

    /// The worker started something that was handed out ahead before something that was to run at once. What has not
    /// started takes its place in the line. A worker that says so without having the room is not believed.
    fn overtake(&mut self, at: OperationAt, session_at: SessionAt) {
        self.sessions[session_at].ahead.retain(|other| *other != at);
        let mut demoted = Vec::new();
        while !self.fits_now(at, session_at) {
            let not_started = |other: &&OperationAt| {
                let mut leases = self.operations[**other].leases.iter();
                leases.any(|l| l.holder == Holder::Session(session_at) && l.started.is_none())
            };
            let Some(&last) = self.sessions[session_at].active.iter().rev().find(not_started)
            else {
                break;
            };
            self.set_active(last, session_at, false);
            demoted.push(last);
        }
        if self.fits_now(at, session_at) {
            self.set_active(at, session_at, true);
            for other in demoted {
                self.sessions[session_at].ahead.push_front(other);
            }
        } else {
            for other in demoted {
                self.set_active(other, session_at, true);
            }
            self.sessions[session_at].ahead.push_front(at);
        }
        self.gained.insert(session_at);
        self.index(session_at);
    }

    pub(crate) fn finished(
        &mut self,
        now: Time,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        out: &mut Vec<Effect>,
    ) {
        let Some(session_at) = self.hear(now, session, out) else { return };
        let Some((at, i)) = self.find_lease(session_at, id, attempt) else {
            out.push(Effect::Refuse { session, operation: id, attempt });
            return;
        };
        self.unlease(at, i);
        out.push(Effect::Accept { session, operation: id, attempt });
        self.end(at, out);
    }

    pub(crate) fn rejected(
        &mut self,
        now: Time,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        reason: RejectReason,
        out: &mut Vec<Effect>,
    ) {
        let Some(session_at) = self.hear(now, session, out) else { return };
        let no_room = matches!(reason, RejectReason::NoRoom(_));
        let unable = match &reason {
            RejectReason::Unable(why) | RejectReason::NoRoom(why) => Some(why.clone()),
            RejectReason::Draining | RejectReason::Recalled => None,
        };
        if unable.is_some() {
            self.pause(now, session_at);
        }
        let Some((at, i)) = self.find_lease(session_at, id, attempt) else { return };
        let op = &mut self.operations[at];
        let lease = &op.leases[i];
        // A lease that its worker brought along may have been started long ago. Who hands it back as recalled or because
        // of a drain says that it was not; who was unable may have been so afterwards.
        let started = lease.started.is_some() || (lease.brought && unable.is_some());
        // What was started and brought no result is a lost start, however it came to that; but for the hub's own want of
        // room, which does not last and still must not start an action without end.
        let blamed = started && unable.is_some() && !no_room;
        op.given_up |= blamed;
        if let Some(last) = unable
            && !blamed
        {
            op.rejected += 1;
            let times = op.rejected;
            if times >= self.config.max_rejected {
                return self.fail(at, FailReason::Rejected { times, last }, out);
            }
        }
        let worker = self.sessions[session_at].worker;
        let reason = RequeueReason::HandedBack { worker, reason };
        self.lose(now, at, i, Loss { reason, blamed, started }, out);
    }

    /// A lease is void. The operation is queued again unless another lease of it runs, or it must not be.
    pub(crate) fn lose(
        &mut self,
        now: Time,
        at: OperationAt,
        i: usize,
        loss: Loss,
        out: &mut Vec<Effect>,
    ) {
        let lease = self.unlease(at, i);
        let worker = self.holder_worker(lease.holder);
        let op = &mut self.operations[at];
        let handed_back = matches!(loss.reason, RequeueReason::HandedBack { .. });
        if op.cacheable && !handed_back {
            op.past.push(Past { worker, attempt: lease.attempt, blamed: loss.blamed });
        }
        op.lost += u32::from(loss.blamed);
        let (operation, lost, given_up) = (op.id, op.lost, op.given_up);
        let rerun = self.reruns(at);
        let Loss { reason, started, blamed: _ } = loss;
        if !self.operations[at].leases.is_empty() {
            out.push(Effect::Lost { operation, attempt: lease.attempt, reason, started });
            return;
        }
        if started && !rerun {
            let why = said(reason);
            let reason = FailReason::NotRerunnable { attempt: lease.attempt, worker, why };
            return self.fail(at, reason, out);
        }
        if lost >= self.config.max_lost {
            let reason = if given_up {
                FailReason::NoResult { starts: lost, last: said(reason) }
            } else {
                FailReason::Poisonous { attempts: lost }
            };
            return self.fail(at, reason, out);
        }
        out.push(Effect::Requeued { operation, attempt: lease.attempt, reason, started });
        self.enqueue(now, at, out);
    }

    pub(crate) fn holder_worker(&self, holder: Holder) -> WorkerId {
        match holder {
            Holder::Session(at) => self.sessions[at].worker,
            Holder::Away(worker, _) => worker,
        }
    }
}

/// What a worker said when it gave an attempt up; none where it was lost.
fn said(reason: RequeueReason) -> Option<String> {
    match reason {
        RequeueReason::HandedBack {
            reason: RejectReason::Unable(why) | RejectReason::NoRoom(why),
            ..
        } => Some(why),
        RequeueReason::HandedBack { .. }
        | RequeueReason::LeaseExpired { .. }
        | RequeueReason::NotHeld { .. } => None,
    }
}
