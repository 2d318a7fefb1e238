//! The state machine: its tables, its one entrance, and what can be read from it.

use std::collections::{BTreeMap, BTreeSet};

use hands_types::{Attempt, InvocationId, OperationId, SessionId, Time, WorkerId};

use crate::classes::Classes;
use crate::config::SchedulerConfig;
use crate::effect::Effect;
use crate::id_table::IdTable;
use crate::input::Input;
use crate::needs::Needs;
use crate::queue::Fairness;
use crate::slab::Slab;
use crate::state::{
    ClassAt, Holder, Invocation, InvocationAt, Operation, OperationAt, Session, SessionAt, Timer,
};
use crate::trees::Trees;
use crate::view::{Counts, OperationView, Place, WorkerView};

/// The hub's queue, leases and account of what each worker has free.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: SchedulerConfig,
    pub(crate) operations: Slab<Operation>,
    pub(crate) by_id: IdTable,
    pub(crate) classes: Classes,
    pub(crate) invocations: Slab<Invocation>,
    pub(crate) invocation_by_id: BTreeMap<InvocationId, InvocationAt>,
    /// By priority, the invocations that have something queued: who has least comes first.
    pub(crate) order: BTreeMap<i32, BTreeSet<Fairness>>,
    pub(crate) sessions: Slab<Session>,
    pub(crate) session_by_id: BTreeMap<SessionId, SessionAt>,
    pub(crate) session_by_worker: BTreeMap<WorkerId, SessionAt>,
    /// Operations whose workers are expected back after a restart of the hub.
    pub(crate) away: BTreeMap<WorkerId, BTreeSet<OperationAt>>,
    pub(crate) trees: Trees,
    pub(crate) timers: BTreeSet<(Time, Timer)>,
    pub(crate) n_queued: usize,
    pub(crate) n_connected: usize,
    /// Counts operations and leases; numbers sequences and turns.
    pub(crate) counter: u64,
    /// Where the search among a tree's holders goes on, so that it does not always meet the same busy ones.
    pub(crate) cursor: SessionAt,
    /// Sessions that gained room in this step.
    pub(crate) gained: BTreeSet<SessionAt>,
    /// Whether a worker is being given actions, after which its place in line is brought up to date.
    pub(crate) pulling: bool,
    /// Classes that had nothing queued before this step.
    pub(crate) fresh: BTreeSet<ClassAt>,
}

impl Scheduler {
    /// Trees that are remembered per worker for locality.
    pub const MAX_HELD: usize = 64;

    /// An empty queue without workers.
    pub const fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            operations: Slab::new(),
            by_id: IdTable::new(),
            classes: Classes::new(),
            invocations: Slab::new(),
            invocation_by_id: BTreeMap::new(),
            order: BTreeMap::new(),
            sessions: Slab::new(),
            session_by_id: BTreeMap::new(),
            session_by_worker: BTreeMap::new(),
            away: BTreeMap::new(),
            trees: Trees::new(),
            timers: BTreeSet::new(),
            n_queued: 0,
            n_connected: 0,
            counter: 0,
            cursor: 0,
            gained: BTreeSet::new(),
            pulling: false,
            fresh: BTreeSet::new(),
        }
    }

    /// Takes one input and appends what is to be done to `out`. `now` never goes back.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::SessionOpened(opening) => self.session_opened(now, *opening, out),
            Input::SessionClosed { session } => self.session_closed(now, session, out),
            Input::Heartbeat { session } => drop(self.hear(now, session, out)),
            Input::Draining { session } => self.draining(now, session, out),
            Input::Holds { session, trees } => self.holds(now, session, trees, out),
            Input::Submit { operation, spec } => self.submit(now, operation, &spec, None, out),
            Input::Restore { operation, spec, attempt, held } => {
                self.restore(now, operation, &spec, (attempt, held), out);
            }
            Input::Cancel { operation } => self.cancel(operation, out),
            Input::RunOnce { operation } => self.run_once(operation),
            Input::Started { session, operation, attempt } => {
                self.started(now, session, operation, attempt, out);
            }
            Input::Finished { session, operation, attempt } => {
                self.finished(now, session, operation, attempt, out);
            }
            Input::Rejected { session, operation, attempt, reason } => {
                self.rejected(now, session, operation, attempt, reason, out);
            }
            Input::Late { by } => self.late(now, by),
            Input::Tick => {}
        }
        self.expire(now, out);
        self.settle(out);
    }

    /// When [`Input::Tick`] is due at the latest; none while there is nothing to wait for.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// One operation; none once it has ended.
    pub fn operation(&self, operation: OperationId) -> Option<OperationView> {
        self.at(operation).map(|at| self.view(&self.operations[at]))
    }

    /// What an operation asks of its worker; none once it has ended.
    pub fn needs(&self, operation: OperationId) -> Option<&Needs> {
        let class = self.operations[self.at(operation)?].class;
        Some(&self.classes.classes[class].needs)
    }

    /// All operations that have not ended, by id, that is by time.
    pub fn operations(&self) -> impl Iterator<Item = OperationView> {
        let mut all: Vec<OperationAt> = self.by_id.all().collect();
        all.sort_unstable_by_key(|at| self.operations[*at].id);
        all.into_iter().map(|at| self.view(&self.operations[at]))
    }

    /// All sessions that are connected or expected back, by worker.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        self.session_by_worker.values().map(|at| {
            let session = &self.sessions[*at];
            WorkerView {
                worker: session.worker,
                session: session.id,
                name: session.name.clone(),
                offered: session.total.clone(),
                used: session.used.clone(),
                n_running: session.active.len(),
                n_ahead: session.ahead.len(),
                draining: session.draining,
                connected: session.connected,
                last_seen: session.last_seen,
            }
        })
    }

    /// How much there is of everything.
    pub const fn counts(&self) -> Counts {
        Counts {
            n_queued: self.n_queued,
            n_leased: self.operations.len() - self.n_queued,
            n_workers: self.n_connected,
        }
    }

    /// Where an operation is.
    pub(crate) fn at(&self, id: OperationId) -> Option<OperationAt> {
        self.by_id.get(id, |at| self.operations[at].id)
    }

    fn view(&self, op: &Operation) -> OperationView {
        let place = match op.leases.first() {
            None => Place::Queued,
            Some(lease) => match lease.holder {
                Holder::Away(worker, _) => Place::Away { worker, attempt: lease.attempt },
                Holder::Session(at) => {
                    let (worker, attempt) = (self.sessions[at].worker, lease.attempt);
                    match lease.started {
                        _ if !self.sessions[at].connected => Place::Away { worker, attempt },
                        Some(since) => Place::Running { worker, attempt, since },
                        None => Place::Leased { worker, attempt },
                    }
                }
            },
        };
        OperationView {
            operation: op.id,
            invocation: self.invocations[op.invocation].id,
            priority: op.priority,
            place,
            attempt: (op.attempt > 0).then_some(Attempt(op.attempt)),
            since: op.since,
        }
    }
}
