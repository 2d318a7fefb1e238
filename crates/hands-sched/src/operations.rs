//! Operations come, wait in the queue, and end.

use std::collections::BTreeMap;

use hands_types::{Attempt, OperationId, Time};

use crate::action::{ActionSpec, Held};
use crate::effect::{Effect, FailReason};
use crate::scheduler::Scheduler;
use crate::seldom::Seldom;
use crate::state::{ClassAt, Holder, Invocation, Lease, Operation, OperationAt, Patience, Timer};
use crate::trees::MIN_BYTES;

impl Scheduler {
    pub(crate) fn submit(
        &mut self,
        now: Time,
        id: OperationId,
        spec: &ActionSpec,
        held: Option<Held>,
        out: &mut Vec<Effect>,
    ) {
        if self.at(id).is_some() {
            return;
        }
        let limit = self.config.max_classes;
        let Some(class) = self.classes.acquire_class(now, &spec.needs, spec.rerun, limit) else {
            out.push(Effect::Fail { operation: id, reason: FailReason::TooManyClasses { limit } });
            return;
        };
        let invocation = *self.invocation_by_id.entry(spec.invocation).or_insert_with(|| {
            self.invocations.insert(Invocation {
                id: spec.invocation,
                share: 0,
                turn: 0,
                n_operations: 0,
                queued: BTreeMap::new(),
            })
        });
        self.invocations[invocation].n_operations += 1;
        self.counter += 1;
        let large = spec.inputs.iter().filter(|tree| tree.bytes >= MIN_BYTES);
        let inputs = large.map(|tree| self.trees.acquire(tree.digest, tree.bytes)).collect();
        let expected = spec
            .expected
            .map_or(u32::MAX, |e| u32::try_from(e.as_millis()).unwrap_or(u32::MAX - 1));
        let at = self.operations.insert(Operation {
            id,
            invocation,
            class,
            priority: spec.priority,
            sequence: self.counter,
            expected,
            inputs,
            since: now,
            patience: Patience::new(spec.queue_timeout),
            asked_to_wait: spec.asked_to_wait,
            attempt: 0,
            lost: 0,
            rejected: 0,
            passed: 0,
            cacheable: spec.cacheable,
            once: false,
            given_up: false,
            restored: false,
            leases: Seldom::new(),
            past: Seldom::new(),
        });
        self.by_id.insert(id, at);
        match held {
            None => self.enqueue(now, at, out),
            Some(held) => self.arm_again(now, at, held),
        }
    }

    pub(crate) fn restore(
        &mut self,
        now: Time,
        id: OperationId,
        spec: &ActionSpec,
        (attempt, held): (Option<Attempt>, Option<Held>),
        out: &mut Vec<Effect>,
    ) {
        if self.at(id).is_some() {
            return;
        }
        self.submit(now, id, spec, held, out);
        if let Some(at) = self.at(id) {
            let op = &mut self.operations[at];
            op.restored = true;
            op.attempt = op.attempt.max(attempt.map_or(0, |attempt| attempt.0));
        }
    }

    /// The lease that was out when the hub stopped runs on from now.
    fn arm_again(&mut self, now: Time, at: OperationAt, held: Held) {
        let until = now.after(held.lease);
        let op = &mut self.operations[at];
        op.attempt = held.attempt.0;
        op.leases.push(Lease {
            holder: Holder::Away(held.worker, until),
            attempt: held.attempt,
            started: None,
            active: false,
            brought: false,
            recalled: false,
            straggles: None,
        });
        self.timers.insert((until, Timer::AwayEnds(at, op.sequence)));
        self.away.entry(held.worker).or_default().insert(at);
    }

    pub(crate) fn cancel(&mut self, id: OperationId, out: &mut Vec<Effect>) {
        let Some(at) = self.at(id) else { return };
        if self.operations[at].leases.is_empty() {
            self.dequeue(at);
        }
        self.end(at, out);
        out.push(Effect::Cancelled { operation: id });
    }

    /// Ends an operation that is not queued.
    pub(crate) fn fail(&mut self, at: OperationAt, reason: FailReason, out: &mut Vec<Effect>) {
        let operation = self.operations[at].id;
        self.end(at, out);
        out.push(Effect::Fail { operation, reason });
    }

    /// Takes an operation that is not queued out of all tables; leases that are out are cancelled.
    pub(crate) fn end(&mut self, at: OperationAt, out: &mut Vec<Effect>) {
        while !self.operations[at].leases.is_empty() {
            let lease = self.unlease(at, 0);
            self.tell_cancelled(&lease, self.operations[at].id, out);
        }
        let op = self.operations.remove(at).expect("only live operations end");
        self.by_id.remove(op.id, at);
        for tree in op.inputs {
            self.trees.release(tree);
        }
        let invocation = &mut self.invocations[op.invocation];
        invocation.n_operations -= 1;
        if invocation.n_operations == 0 {
            self.invocation_by_id.remove(&invocation.id);
            self.invocations.remove(op.invocation);
        }
        self.classes.release_class(op.class);
    }

    fn tell_cancelled(&self, lease: &Lease, operation: OperationId, out: &mut Vec<Effect>) {
        if let Holder::Session(session) = lease.holder
            && self.sessions[session].connected
        {
            let session = self.sessions[session].id;
            out.push(Effect::CancelLease { session, operation, attempt: lease.attempt });
        }
    }

    /// Takes back that it may be run again.
    pub(crate) fn run_once(&mut self, id: OperationId) {
        let Some(at) = self.at(id) else { return };
        self.operations[at].once = true;
        // Whether it is one already or becomes one: no second attempt starts beside the first.
        let class = self.operations[at].class;
        self.classes.classes[class].stragglers.remove(&at);
        let sequence = self.operations[at].sequence;
        for lease in &mut self.operations[at].leases {
            if let Some(due) = lease.straggles.take() {
                self.timers.remove(&(due, Timer::Straggles(at, sequence)));
            }
        }
    }

    /// Whether it may be run again after an attempt that was started.
    pub(crate) fn reruns(&self, at: OperationAt) -> bool {
        let op = &self.operations[at];
        self.classes.classes[op.class].rerun && !op.once
    }

    pub(crate) fn enqueue(&mut self, now: Time, at: OperationAt, out: &mut Vec<Effect>) {
        let class_at = self.operations[at].class;
        self.push(at);
        self.n_queued += 1;
        if self.classes.classes[class_at].queue.len() == 1 {
            self.classes.mark_queued(class_at);
            self.fresh.insert(class_at);
        }
        if self.classes.classes[class_at].unmet_since.is_some() {
            self.tell_unmet(now, at, out);
        }
    }

    pub(crate) fn dequeue(&mut self, at: OperationAt) {
        let class_at = self.operations[at].class;
        self.pull_out(at);
        self.n_queued -= 1;
        if self.classes.classes[class_at].queue.len() == 0 {
            self.classes.mark_queued(class_at);
        }
    }

    /// Nobody can take these classes any more: those who wait are told, and their patience is measured.
    pub(crate) fn became_unmet(&mut self, now: Time, classes: Vec<ClassAt>, out: &mut Vec<Effect>) {
        for class in classes {
            let waiting: Vec<OperationAt> = self.queued_of(class).collect();
            for at in waiting {
                self.tell_unmet(now, at, out);
            }
        }
    }

    fn tell_unmet(&mut self, now: Time, at: OperationAt, out: &mut Vec<Effect>) {
        if self.waits_in_vain(at) {
            let sequence = self.operations[at].sequence;
            self.timers.insert((now, Timer::GivesUp(at, sequence)));
            return;
        }
        let explanation = self.unmet_sentence(self.operations[at].class);
        let op = &self.operations[at];
        out.push(Effect::Waiting { operation: op.id, explanation });
        if let Some(timeout) = op.patience.get() {
            self.timers.insert((now.after(timeout), Timer::GivesUp(at, op.sequence)));
        }
    }

    /// The first workers have come where no others will: what waited for them and is not for them has waited enough.
    pub(crate) fn all_have_come(&mut self, now: Time) {
        if !self.config.alone {
            return;
        }
        let unmet = self.classes.classes.iter().filter(|(_, class)| class.unmet_since.is_some());
        let waiting: Vec<OperationAt> = unmet.flat_map(|(at, _)| self.queued_of(at)).collect();
        for at in waiting {
            if self.waits_in_vain(at) {
                let sequence = self.operations[at].sequence;
                self.timers.insert((now, Timer::GivesUp(at, sequence)));
            }
        }
    }

    /// Whether nobody comes for what no connected worker can take. Asked of an operation whose class is unmet.
    fn waits_in_vain(&self, at: OperationAt) -> bool {
        let anybody = || self.classes.kinds.iter().any(|(_, kind)| !kind.sizes.is_empty());
        self.config.alone && !self.operations[at].asked_to_wait && anybody()
    }

    /// A patience may have ended. The timer may be older than the last time that a worker could have taken it.
    pub(crate) fn gives_up(&mut self, now: Time, at: OperationAt, out: &mut Vec<Effect>) {
        let op = &self.operations[at];
        let (Some(since), Some(timeout)) =
            (self.classes.classes[op.class].unmet_since, op.patience.get())
        else {
            return;
        };
        if !op.leases.is_empty() {
            return;
        }
        let due = since.max(op.since).after(timeout);
        if due > now && !self.waits_in_vain(at) {
            self.timers.insert((due, Timer::GivesUp(at, op.sequence)));
            return;
        }
        let sentence = self.unmet_sentence(self.operations[at].class);
        let explanation = sentence.trim_start_matches("waiting: ").to_owned();
        self.dequeue(at);
        self.fail(at, FailReason::NoWorker { explanation }, out);
    }

    /// The operation that a timer was set for, if it still lives.
    pub(crate) fn timed(&self, at: OperationAt, sequence: u64) -> Option<&Operation> {
        self.operations.get(at).filter(|op| op.sequence == sequence)
    }

    /// Which of an operation's leases this session has under this number.
    pub(crate) fn find_lease(
        &self,
        session: u32,
        id: OperationId,
        attempt: Attempt,
    ) -> Option<(OperationAt, usize)> {
        let at = self.at(id)?;
        let mine = |l: &Lease| l.holder == Holder::Session(session) && l.attempt == attempt;
        Some((at, self.operations[at].leases.iter().position(mine)?))
    }
}
