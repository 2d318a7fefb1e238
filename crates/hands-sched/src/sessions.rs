//! Workers come, are heard of, fall silent, come back, and leave.

use std::collections::{BTreeSet, VecDeque};

use hands_types::{Attempt, Digest, OperationId, Resources, SessionId, Time, WorkerId};

use crate::effect::{Effect, RequeueReason};
use crate::input::Opening;
use crate::leases::Loss;
use crate::scheduler::Scheduler;
use crate::state::{Holder, Lease, OperationAt, Session, SessionAt, Timer, TreeAt};

impl Scheduler {
    pub(crate) fn session_opened(&mut self, now: Time, opening: Opening, out: &mut Vec<Effect>) {
        let Opening { session, worker, offer, lease, resumes, holds } = opening;
        if self.session_by_id.contains_key(&session) {
            return;
        }
        let old = self.session_by_worker.get(&worker).copied();
        let kind = self.classes.acquire_kind(&offer);
        self.classes.add_size(kind, &offer.resources);
        let at = self.sessions.insert(Session {
            id: session,
            worker,
            name: offer.name,
            kind,
            total: offer.resources,
            used: Resources::default(),
            depth: offer.ahead as usize,
            lease,
            last_seen: now,
            expires: now.after(lease),
            connected: true,
            draining: false,
            paused: None,
            active: BTreeSet::new(),
            ahead: VecDeque::new(),
            held: VecDeque::new(),
            idle_load: None,
            room_load: None,
        });
        self.n_connected += 1;
        self.session_by_id.insert(session, at);
        self.session_by_worker.insert(worker, at);
        self.timers.insert((now.after(lease), Timer::SessionExpires(session.into())));
        for (operation, attempt) in holds {
            out.push(if self.adopt(at, old, operation, attempt) {
                Effect::Adopted { session, operation, attempt }
            } else {
                Effect::CancelLease { session, operation, attempt }
            });
        }
        self.not_brought_back(now, worker, resumes, out);
        if let Some(old) = old {
            if self.sessions[old].connected {
                out.push(Effect::CloseSession { session: self.sessions[old].id });
            }
            let reason = RequeueReason::NotHeld { worker };
            self.drop_session(now, old, &reason, !resumes, out);
        }
        self.gained.insert(at);
        self.index(at);
        self.all_have_come(now);
    }

    /// Makes an attempt that a worker brings a lease of its new session, if its result may still count.
    fn adopt(
        &mut self,
        new: SessionAt,
        old: Option<SessionAt>,
        id: OperationId,
        attempt: Attempt,
    ) -> bool {
        let Some(at) = self.at(id) else { return false };
        let worker = self.sessions[new].worker;
        let op = &self.operations[at];
        let same = |lease: &Lease| {
            let holder = match lease.holder {
                Holder::Session(session) => Some(session) == old,
                Holder::Away(other, _) => other == worker,
            };
            holder && lease.attempt == attempt
        };
        let mut started = None;
        if let Some(i) = op.leases.iter().position(same) {
            started = self.unlease(at, i).started;
        } else {
            if op.leases.iter().any(|lease| lease.holder == Holder::Session(new)) {
                return false;
            }
            // A hub that was killed may have granted what its table does not know.
            let unknown = op.restored && op.leases.is_empty() && attempt.0 > op.attempt;
            let past = op.past.iter().any(|p| p.worker == worker && p.attempt == attempt);
            let welcome = op.cacheable && op.leases.len() < 2 && past;
            if !unknown && !welcome {
                return false;
            }
            if op.leases.is_empty() {
                self.dequeue(at);
            }
        }
        let op = &mut self.operations[at];
        op.attempt = op.attempt.max(attempt.0);
        if let Some(i) = op.past.iter().position(|p| p.worker == worker && p.attempt == attempt) {
            // It was not lost with its worker after all.
            op.lost -= u32::from(op.past.remove(i).blamed);
        }
        let holder = Holder::Session(new);
        let active = self.fits_now(at, new);
        // Its worker was away for a moment: that makes it no faster.
        let straggles = started.and_then(|since| self.straggles_at(at, since));
        self.attach(
            at,
            new,
            Lease { holder, attempt, started, active, brought: true, recalled: false, straggles },
        );
        true
    }

    /// What this worker had when the hub stopped, and does not name now.
    fn not_brought_back(
        &mut self,
        now: Time,
        worker: WorkerId,
        resumes: bool,
        out: &mut Vec<Effect>,
    ) {
        let away =
            |lease: &Lease| matches!(lease.holder, Holder::Away(other, _) if other == worker);
        let lost = self.away.remove(&worker).unwrap_or_default();
        for at in lost {
            if let Some(i) = self.operations[at].leases.iter().position(away) {
                let reason = RequeueReason::NotHeld { worker };
                self.lose(now, at, i, Loss { reason, blamed: !resumes, started: !resumes }, out);
            }
        }
    }

    pub(crate) fn session_closed(&mut self, now: Time, session: SessionId, out: &mut Vec<Effect>) {
        let Some(&at) = self.session_by_id.get(&session) else { return };
        if !self.sessions[at].connected {
            return;
        }
        self.disconnect(at);
        if self.sessions[at].active.is_empty() && self.sessions[at].ahead.is_empty() {
            let reason = RequeueReason::LeaseExpired { worker: self.sessions[at].worker };
            self.drop_session(now, at, &reason, true, out);
        }
    }

    fn disconnect(&mut self, at: SessionAt) {
        if std::mem::replace(&mut self.sessions[at].connected, false) {
            self.n_connected -= 1;
        }
        self.index(at);
    }

    pub(crate) fn draining(&mut self, now: Time, session: SessionId, out: &mut Vec<Effect>) {
        let Some(at) = self.hear(now, session, out) else { return };
        if std::mem::replace(&mut self.sessions[at].draining, true) {
            return;
        }
        self.index(at);
        let (kind, size) = (self.sessions[at].kind, self.sessions[at].total.clone());
        let unmet = self.classes.remove_size(now, kind, &size);
        self.became_unmet(now, unmet, out);
    }

    pub(crate) fn holds(
        &mut self,
        now: Time,
        session: SessionId,
        mut trees: Vec<Digest>,
        out: &mut Vec<Effect>,
    ) {
        let Some(at) = self.hear(now, session, out) else { return };
        trees.truncate(Self::MAX_HELD);
        let old = std::mem::take(&mut self.sessions[at].held);
        let new: VecDeque<TreeAt> =
            trees.into_iter().rev().map(|digest| self.trees.hold(at, digest)).collect();
        for tree in old {
            if !new.contains(&tree) {
                self.trees.unhold(at, tree);
            }
        }
        self.sessions[at].held = new;
    }

    /// The worker will have this tree when it runs what it was given.
    pub(crate) fn remember_held(&mut self, at: SessionAt, tree: TreeAt) {
        let held = &mut self.sessions[at].held;
        if !self.trees.hold_at(at, tree)
            && let Some(i) = held.iter().position(|other| *other == tree)
        {
            held.remove(i);
        }
        held.push_back(tree);
        if held.len() > Self::MAX_HELD
            && let Some(oldest) = held.pop_front()
        {
            self.trees.unhold(at, oldest);
        }
    }

    /// A sign of life. An unknown session is told to go; a closed one is heard but not alive.
    pub(crate) fn hear(
        &mut self,
        now: Time,
        session: SessionId,
        out: &mut Vec<Effect>,
    ) -> Option<SessionAt> {
        let Some(&at) = self.session_by_id.get(&session) else {
            out.push(Effect::CloseSession { session });
            return None;
        };
        let row = &mut self.sessions[at];
        if row.connected {
            row.last_seen = now;
        }
        Some(at)
    }

    pub(crate) fn pause(&mut self, now: Time, at: SessionAt) {
        let until = now.after(self.config.pause);
        let session = &mut self.sessions[at];
        let id = session.id;
        if let Some(old) = session.paused.replace(until) {
            self.timers.remove(&(old, Timer::PauseEnds(id.into())));
        }
        self.timers.insert((until, Timer::PauseEnds(id.into())));
        self.index(at);
    }

    /// Does all that is due.
    pub(crate) fn expire(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some(&(due, timer)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::SessionExpires(id) => self.session_due(now, id.into(), out),
                Timer::PauseEnds(id) => {
                    if let Some(&at) = self.session_by_id.get(&id.into()) {
                        self.sessions[at].paused = None;
                        self.index(at);
                        self.gained.insert(at);
                    }
                }
                Timer::AwayEnds(at, sequence) => self.away_ends(now, at, sequence, out),
                Timer::Straggles(at, sequence) => {
                    if self.timed(at, sequence).is_some() {
                        for lease in &mut self.operations[at].leases {
                            if lease.straggles == Some(due) {
                                lease.straggles = None;
                            }
                        }
                        self.straggles(at, out);
                    }
                }
                Timer::GivesUp(at, sequence) => {
                    if self.timed(at, sequence).is_some() {
                        self.gives_up(now, at, out);
                    }
                }
            }
        }
    }

    fn away_ends(&mut self, now: Time, at: OperationAt, sequence: u64, out: &mut Vec<Effect>) {
        let Some(op) = self.timed(at, sequence) else { return };
        let ended = |lease: &Lease| match lease.holder {
            Holder::Away(worker, until) if until <= now => Some(worker),
            Holder::Away(..) | Holder::Session(_) => None,
        };
        if let Some((i, worker)) =
            op.leases.iter().enumerate().find_map(|(i, lease)| Some((i, ended(lease)?)))
        {
            let reason = RequeueReason::LeaseExpired { worker };
            self.lose(now, at, i, Loss { reason, blamed: true, started: true }, out);
        }
    }

    /// Signs of life move `last_seen` only; the timer is moved here, so that a heartbeat costs next to nothing.
    fn session_due(&mut self, now: Time, id: SessionId, out: &mut Vec<Effect>) {
        let Some(&at) = self.session_by_id.get(&id) else { return };
        let session = &mut self.sessions[at];
        let due = session.last_seen.after(session.lease);
        if due > now {
            session.expires = due;
            self.timers.insert((due, Timer::SessionExpires(id.into())));
            return;
        }
        if session.connected {
            out.push(Effect::CloseSession { session: id });
        }
        let reason = RequeueReason::LeaseExpired { worker: session.worker };
        self.drop_session(now, at, &reason, true, out);
    }

    /// Takes a session out of all tables; what it still has is lost. `died` says that the process may have started it and
    /// is not there any more, or out of reach.
    fn drop_session(
        &mut self,
        now: Time,
        at: SessionAt,
        reason: &RequeueReason,
        died: bool,
        out: &mut Vec<Effect>,
    ) {
        self.disconnect(at);
        let session = &self.sessions[at];
        let lost: Vec<OperationAt> = session.active.iter().chain(&session.ahead).copied().collect();
        for op_at in lost {
            let mine = |lease: &Lease| lease.holder == Holder::Session(at);
            if let Some(i) = self.operations[op_at].leases.iter().position(mine) {
                let lease = &self.operations[op_at].leases[i];
                let started = lease.started.is_some() || died;
                let blamed = died && (lease.active || lease.started.is_some());
                self.lose(now, op_at, i, Loss { reason: reason.clone(), blamed, started }, out);
            }
        }
        for tree in std::mem::take(&mut self.sessions[at].held) {
            self.trees.unhold(at, tree);
        }
        let session = self.sessions.remove(at).expect("only live sessions are dropped");
        self.gained.remove(&at);
        self.session_by_id.remove(&session.id);
        if self.session_by_worker.get(&session.worker) == Some(&at) {
            self.session_by_worker.remove(&session.worker);
        }
        self.timers.remove(&(session.expires, Timer::SessionExpires(session.id.into())));
        if let Some(until) = session.paused {
            self.timers.remove(&(until, Timer::PauseEnds(session.id.into())));
        }
        if !session.draining {
            let unmet = self.classes.remove_size(now, session.kind, &session.total);
            self.became_unmet(now, unmet, out);
        }
        self.classes.release_kind(session.kind);
    }

    /// Brings a session's places in its kind's lines up to date.
    pub(crate) fn index(&mut self, at: SessionAt) {
        let session = &mut self.sessions[at];
        let load = session.load();
        let idle = session.is_idle().then_some(load);
        let room = session.has_room().then_some(load);
        let kind = &mut self.classes.kinds[session.kind];
        for (line, was, is) in [
            (&mut kind.idle, &mut session.idle_load, idle),
            (&mut kind.room, &mut session.room_load, room),
        ] {
            if *was == is {
                continue;
            }
            if let Some(load) = *was {
                line.remove(&(load, at));
            }
            if let Some(load) = is {
                line.insert((load, at));
            }
            *was = is;
        }
    }
}
