//! What is always true between two steps.

use std::collections::BTreeMap;

use crate::scheduler::Scheduler;
use crate::state::Holder;

impl Scheduler {
    /// Asserts every invariant. For tests: it costs as much as there are actions, workers and kinds of them.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        self.check_operations();
        self.check_sessions();
        self.check_classes();
        self.trees.check();
        assert!(self.gained.is_empty() && self.fresh.is_empty(), "a step left work undone");
    }

    fn check_operations(&self) {
        assert_eq!(self.by_id.len(), self.operations.len(), "each operation has one row");
        let mut shares: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        for (at, op) in self.operations.iter() {
            assert_eq!(self.at(op.id), Some(at), "{} is found by its id", op.id);
            assert!(op.leases.len() <= 2, "{} has more than two leases", op.id);
            assert!(op.cacheable || op.leases.len() <= 1, "uncached {} has two leases", op.id);
            let alive = op.lost < self.config.max_lost || !op.leases.is_empty();
            assert!(alive, "{} should have been called poisonous", op.id);
            let (share, n) = shares.entry(op.invocation).or_default();
            *n += 1;
            for lease in &op.leases {
                let Holder::Session(session_at) = lease.holder else { continue };
                let session = &self.sessions[session_at];
                *share += self.weight(at);
                assert!(lease.attempt.0 <= op.attempt, "{} has a lease from the future", op.id);
                assert_eq!(
                    session.active.contains(&at),
                    lease.active,
                    "{} is charged as its lease says",
                    op.id
                );
                assert_eq!(
                    session.ahead.contains(&at),
                    !lease.active,
                    "{} is ahead as its lease says",
                    op.id
                );
            }
        }
        let queued = self.operations.iter().filter(|(_, op)| op.leases.is_empty()).count();
        assert_eq!(queued, self.n_queued, "what has no lease is queued");
        assert_eq!(
            self.invocations.len(),
            self.invocation_by_id.len(),
            "each invocation has one row"
        );
        for (at, invocation) in self.invocations.iter() {
            let expected = (invocation.share, invocation.n_operations);
            assert_eq!(
                shares.get(&at),
                Some(&expected),
                "invocation {} has the share of its leases",
                invocation.id
            );
        }
    }

    fn check_sessions(&self) {
        assert_eq!(self.sessions.len(), self.session_by_id.len(), "each session has one row");
        assert_eq!(self.sessions.len(), self.session_by_worker.len(), "a worker has one session");
        assert_eq!(self.sessions.iter().filter(|(_, s)| s.connected).count(), self.n_connected);
        for (at, session) in self.sessions.iter() {
            assert!(
                session.total.holds(&session.used),
                "worker {} is over-committed",
                session.name
            );
            let mut sum = hands_types::Resources::default();
            for op in &session.active {
                let charge = self.charge(*op, at);
                sum.cpu_millis += charge.cpu_millis;
                sum.memory += charge.memory;
            }
            assert_eq!(
                (sum.cpu_millis, sum.memory),
                (session.used.cpu_millis, session.used.memory),
                "the charges add up"
            );
            for op in session.active.iter().chain(&session.ahead) {
                let mine =
                    self.operations[*op].leases.iter().filter(|l| l.holder == Holder::Session(at));
                assert_eq!(mine.count(), 1, "a session has one lease of an operation");
            }
            let kind = &self.classes.kinds[session.kind];
            assert_eq!(
                kind.idle.contains(&(session.load(), at)),
                session.is_idle(),
                "idle workers stand in line"
            );
            assert_eq!(
                kind.room.contains(&(session.load(), at)),
                session.has_room(),
                "roomy workers stand in line"
            );
        }
    }

    /// No class has something queued that a worker has room for; and the indexes agree.
    fn check_classes(&self) {
        let mut n_queued = 0;
        for (class_at, class) in self.classes.classes.iter() {
            n_queued += class.queue.len();
            assert_eq!(
                self.queued_of(class_at).count(),
                class.queue.len(),
                "the queue's length is kept"
            );
            assert_eq!(
                class.unmet_since.is_some(),
                class.kinds.is_empty(),
                "a class without a kind is unmet"
            );
            for (kind_at, charge) in &class.kinds {
                let kind = &self.classes.kinds[*kind_at];
                assert_eq!(
                    kind.queued.contains(&class_at),
                    class.queue.len() > 0,
                    "kinds know what is queued"
                );
                if class.queue.len() == 0 {
                    continue;
                }
                for (_, session) in &kind.idle {
                    let fits = self.sessions[*session].free_holds(charge);
                    assert!(
                        !fits,
                        "an action waits while worker {} is idle",
                        self.sessions[*session].name
                    );
                }
                for (_, session) in kind.room.iter().filter(|_| class.rerun) {
                    let unmet = kind.profile.unmet(&self.sessions[*session].total, &class.needs);
                    assert!(
                        unmet.is_some(),
                        "an action waits while worker {} has room",
                        self.sessions[*session].name
                    );
                }
            }
        }
        let in_line: usize = self.order.values().map(std::collections::BTreeSet::len).sum();
        let priorities = |queued: &BTreeMap<(i32, u32), _>| {
            queued
                .keys()
                .map(|(priority, _)| *priority)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        let expected: usize = self.invocations.iter().map(|(_, i)| priorities(&i.queued)).sum();
        assert_eq!(in_line, expected, "an invocation stands in line once per priority");
        for (priority, line) in &self.order {
            for (share, turn, at) in line {
                assert_eq!(
                    (*share, *turn, *at),
                    self.fairness(*at),
                    "the line at {priority} is in order"
                );
            }
        }
        assert_eq!(n_queued, self.n_queued, "the queues hold what is queued");
        let sizes: usize =
            self.classes.kinds.iter().map(|(_, kind)| kind.sizes.values().sum::<usize>()).sum();
        assert_eq!(
            sizes,
            self.sessions.iter().filter(|(_, s)| !s.draining).count(),
            "each worker's size is counted"
        );
    }
}
