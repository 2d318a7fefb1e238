//! A model of the hub's shell: the durable table, sessions, and what it does with the scheduler's effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hands_sched::{Effect, Held, Input, Needs, Place, Scheduler, SchedulerConfig};
use hands_slots::Input as WorkerInput;
use hands_slots::{LeaseId, LeaseTerms};
use hands_types::{Attempt, InvocationId, OperationId, SessionId, Time, WorkerId};

use crate::audit::{Audit, End, Verdict};
use crate::faults::Bug;
use crate::pause::Pause;
use crate::work::SECOND;
use crate::world::{Event, World};

pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// The hub: a process that may be gone, and a table that is not.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) sched: Option<Scheduler>,
    pub(crate) life: u64,
    pub(crate) pause: Pause,
    tick_at: Option<u64>,
    table: BTreeMap<OperationId, Row>,
    durable: BTreeSet<OperationId>,
    pub(crate) cancelled_at: BTreeMap<OperationId, u64>,
}

/// What the table says of an operation that has not ended.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    attempt: Option<Attempt>,
    held: Option<(WorkerId, Attempt)>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            sched: Some(Scheduler::new(SchedulerConfig::standard())),
            life: 0,
            pause: Pause::default(),
            tick_at: None,
            table: BTreeMap::new(),
            durable: BTreeSet::new(),
            cancelled_at: BTreeMap::new(),
        }
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    pub(crate) fn keep(&mut self, event: Event) {
        self.pause.keep(event);
    }
}

impl World {
    pub(crate) fn hub_submit(&mut self, work: usize) -> Verdict {
        if self.hub.sched.is_none() {
            self.after(SECOND, Event::Submit { work });
            return Ok(());
        }
        let operation = self.work[work].id;
        self.hub.table.insert(operation, Row::default());
        let spec = self.spec(work);
        self.hub_step(Input::Submit { operation, spec })
    }

    fn spec(&self, work: usize) -> hands_sched::ActionSpec {
        let mut spec = self.work[work].spec.clone();
        match self.bug {
            Some(Bug::DropsNeeds) => spec.needs = Arc::new(Needs::new()),
            Some(Bug::SplitsInvocations) => spec.invocation = InvocationId(self.work[work].id.0),
            Some(_) | None => {}
        }
        spec
    }

    pub(crate) fn hub_cancel(&mut self, work: usize) -> Verdict {
        if self.hub.sched.is_none() {
            self.after(SECOND, Event::Cancel { work });
            return Ok(());
        }
        self.hub_step(Input::Cancel { operation: self.work[work].id })
    }

    pub(crate) fn hub_step(&mut self, input: Input) -> Verdict {
        let input = match (self.bug, input) {
            (Some(Bug::DropsHandBacks), Input::Rejected { session, .. }) => {
                Input::Heartbeat { session }
            }
            (Some(Bug::IgnoresFence), Input::Finished { session, operation, attempt }) => {
                self.unfenced(session, operation, attempt)
            }
            (_, input) => input,
        };
        let opened = match &input {
            Input::SessionOpened(opening) => self.conn_of(opening.session),
            _ => None,
        };
        let Some(sched) = &mut self.hub.sched else { return Ok(()) };
        let is_back = self.hub.pause.ended == Some(self.now);
        if !is_back && sched.next_deadline().is_some_and(|Time(due)| due + SECOND < self.now) {
            return Err("the hub slept through a deadline".to_owned());
        }
        let mut out = Vec::new();
        sched.step(Time(self.now), input, &mut out);
        sched.check();
        let deadline = sched.next_deadline();
        if let Some(conn) = opened {
            self.send_to_worker(conn, WorkerInput::Welcomed);
        }
        for effect in &out {
            self.say(|_| format!("    {effect:?}"));
            self.hub_performs(effect)?;
        }
        self.check_fairness(&out)?;
        if let Some(Time(at)) = deadline
            && self.hub.tick_at.is_none_or(|earlier| at < earlier)
            && self.bug != Some(Bug::NeverTicks)
        {
            self.hub.tick_at = Some(at);
            self.after(at.saturating_sub(self.now), Event::HubTick { life: self.hub.life });
        }
        Ok(())
    }

    /// The bug of a hub that looks at the operation only.
    fn unfenced(&self, session: SessionId, operation: OperationId, attempt: Attempt) -> Input {
        let place =
            self.hub.sched.as_ref().and_then(|s| s.operation(operation)).map(|view| view.place);
        if let Some(Place::Running { worker, attempt, .. } | Place::Leased { worker, attempt }) =
            place
            && let Some(sched) = &self.hub.sched
            && let Some(view) = sched.workers().find(|view| view.worker == worker)
        {
            return Input::Finished { session: view.session, operation, attempt };
        }
        Input::Finished { session, operation, attempt }
    }

    fn hub_performs(&mut self, effect: &Effect) -> Verdict {
        match *effect {
            Effect::Lease { session, operation, attempt } => {
                let Some(conn) = self.conn_of(session) else {
                    return Err(format!("lease to unknown {session}"));
                };
                let worker = self.conns[conn].worker;
                let work = self.find(operation)?;
                Audit::leased(&self.work[work], &self.workers[worker].machine, session)?;
                self.record(operation, self.workers[worker].id, attempt);
                let spec = &self.work[work].spec;
                let terms = LeaseTerms {
                    resources: spec.needs.resources.clone(),
                    outlives_lease: spec.cacheable,
                };
                self.send_to_worker(
                    conn,
                    WorkerInput::Lease { lease: LeaseId { operation, attempt }, terms },
                );
            }
            Effect::Adopted { session, operation, attempt } => {
                self.outcome.n_adopted += 1;
                if let Some(conn) = self.conn_of(session) {
                    self.record(operation, self.workers[self.conns[conn].worker].id, attempt);
                }
            }
            Effect::CancelLease { session, operation, attempt } => {
                if self.bug != Some(Bug::DropsCancels) {
                    self.tell(
                        session,
                        WorkerInput::Cancel { lease: LeaseId { operation, attempt } },
                    );
                }
            }
            Effect::Recall { session, operation, attempt } => {
                self.tell(session, WorkerInput::Recall { lease: LeaseId { operation, attempt } });
            }
            Effect::Requeued { operation, attempt, ref reason, .. } => {
                self.check_requeued(reason)?;
                self.outcome.n_requeued += 1;
                self.audit.voided(operation, attempt);
                if let Some(row) = self.hub.table.get_mut(&operation) {
                    row.held = None;
                }
            }
            Effect::Lost { operation, attempt, .. } => self.audit.voided(operation, attempt),
            Effect::Accept { session, operation, attempt } => {
                self.accept(session, operation, attempt)?;
            }
            Effect::Refuse { session, operation, attempt } => {
                self.outcome.n_refused += 1;
                if self.bug == Some(Bug::AcceptsRefused) {
                    return self.accept(session, operation, attempt);
                }
                self.tell(session, WorkerInput::Refused { lease: LeaseId { operation, attempt } });
            }
            Effect::Fail { operation, .. } => self.hub_ends(operation, End::Failed)?,
            Effect::Cancelled { operation } => {
                self.hub.cancelled_at.insert(operation, self.now);
                self.hub_ends(operation, End::Cancelled)?;
            }
            Effect::Waiting { .. } => {}
            Effect::CloseSession { session } => {
                if self.bug != Some(Bug::KeepsDeadSessions)
                    && let Some(conn) = self.conn_of(session)
                {
                    self.break_conn(conn);
                }
            }
        }
        Ok(())
    }

    fn find(&self, operation: OperationId) -> Result<usize, String> {
        let found = self.work.iter().position(|work| work.id == operation);
        found.ok_or_else(|| format!("an effect names {operation}, which nobody submitted"))
    }

    fn record(&mut self, operation: OperationId, worker: WorkerId, attempt: Attempt) {
        if let Some(row) = self.hub.table.get_mut(&operation) {
            row.attempt = row.attempt.max(Some(attempt));
            row.held = Some((worker, attempt));
        }
    }

    fn tell(&mut self, session: SessionId, input: WorkerInput) {
        if let Some(conn) = self.conn_of(session) {
            self.send_to_worker(conn, input);
        }
    }

    fn accept(&mut self, session: SessionId, operation: OperationId, attempt: Attempt) -> Verdict {
        let work = self.find(operation)?;
        let worker = self.conn_of(session).map(|conn| self.workers[self.conns[conn].worker].id);
        let Some(worker) = worker else {
            return Err(format!("a result of unknown {session} was accepted"));
        };
        self.audit.accepted(&self.work[work], worker, attempt)?;
        self.hub.table.remove(&operation);
        if self.bug != Some(Bug::AcknowledgesEarly) || self.rng.chance(500) {
            self.hub.durable.insert(operation);
        }
        self.audit.acknowledged(operation, self.hub.durable.contains(&operation))?;
        self.tell(session, WorkerInput::Acknowledged { lease: LeaseId { operation, attempt } });
        Ok(())
    }

    fn hub_ends(&mut self, operation: OperationId, end: End) -> Verdict {
        self.hub.table.remove(&operation);
        self.audit.ended(operation, end)
    }

    /// Where nothing disturbs: who was served had no more than those who wait for the same kind of worker.
    fn check_fairness(&self, out: &[Effect]) -> Verdict {
        if !self.calm {
            return Ok(());
        }
        let Some(sched) = &self.hub.sched else { return Ok(()) };
        let mut leases = out.iter().filter_map(|effect| match effect {
            Effect::Lease { operation, .. } => Some(*operation),
            _ => None,
        });
        let (Some(served), None) = (leases.next(), leases.next()) else { return Ok(()) };
        let served = self.find(served)?;
        let mut shares: BTreeMap<InvocationId, u64> = BTreeMap::new();
        let mut waiting = Vec::new();
        for view in sched.operations() {
            let work = &self.work[self.find(view.operation)?];
            match view.place {
                Place::Queued => waiting.push(work),
                Place::Leased { .. } | Place::Running { .. } => {
                    *shares.entry(work.spec.invocation).or_default() += u64::from(work.cpus);
                }
                Place::Away { .. } => return Ok(()),
            }
        }
        let served = &self.work[served];
        let share = |invocation| shares.get(&invocation).copied().unwrap_or(0);
        let before = share(served.spec.invocation).saturating_sub(u64::from(served.cpus));
        for work in waiting {
            let same = work.spec.needs == served.spec.needs
                && work.spec.priority == served.spec.priority
                && work.spec.rerun == served.spec.rerun
                && work.spec.invocation != served.spec.invocation;
            if same && share(work.spec.invocation) < before {
                return Err(format!(
                    "{} was served before {}, whose invocation has less",
                    served.id, work.id
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn hub_tick(&mut self, life: u64) -> Verdict {
        if life != self.hub.life || self.hub.sched.is_none() {
            return Ok(());
        }
        self.hub.tick_at = None;
        self.hub_step(Input::Tick)
    }

    pub(crate) fn hub_loses(&mut self, conn: usize) -> Verdict {
        self.hub_step(Input::SessionClosed { session: self.conns[conn].session })
    }

    /// kill -9: what is in memory is gone, and so are all connections.
    pub(crate) fn kill_hub(&mut self) {
        if self.hub.sched.take().is_none() {
            return;
        }
        self.outcome.n_restarts += 1;
        self.hub.life += 1;
        self.hub.tick_at = None;
        // What waited is for the next one, or for nobody.
        let waiting = self.hub.pause.end();
        for event in waiting {
            self.after(0, event);
        }
        for conn in 0..self.conns.len() {
            if !std::mem::replace(&mut self.conns[conn].broken, true) {
                self.after(0, Event::WorkerLosesConn { conn });
            }
        }
        let down = SECOND / 2 + self.rng.below(20 * SECOND);
        self.after(down, Event::StartHub);
    }

    pub(crate) fn start_hub(&mut self) -> Verdict {
        self.hub.sched = Some(Scheduler::new(SchedulerConfig::standard()));
        for (operation, row) in self.hub.table.clone() {
            let spec = self.spec(self.find(operation)?);
            let held = row.held.map(|(worker, attempt)| Held { worker, attempt, lease: LEASE });
            let input = match self.bug {
                Some(Bug::ForgetsQueue) if held.is_none() => continue,
                Some(Bug::ForgetsLeases) => {
                    Input::Restore { operation, spec, attempt: None, held: None }
                }
                Some(_) | None => Input::Restore { operation, spec, attempt: row.attempt, held },
            };
            self.hub_step(input)?;
        }
        Ok(())
    }
}
