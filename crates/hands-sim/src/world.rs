//! The event loop: time, connections, and who is told what when.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hands_sched::Input as HubInput;
use hands_slots::Input as WorkerInput;
use hands_slots::LeaseId;
use hands_types::{OperationId, SessionId, WorkerId};

use crate::audit::{Audit, Verdict};
use crate::faults::{Bug, Faults};
use crate::hub::{Hub, LEASE};
use crate::rng::Rng;
use crate::work::{self, SECOND, Work};
use crate::worker::{Answer, Worker};

/// Faults stop after this time; from then on all must come to an end.
const CALM_AFTER: u64 = 60 * SECOND;
/// No history takes longer than this unless something is stuck.
const LIMIT: u64 = 1500 * SECOND;

/// What a history that held came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events that happened.
    pub n_events: u64,
    /// Operations that ended.
    pub n_operations: u64,
    /// Leases that became void.
    pub n_requeued: u64,
    /// Results that were refused.
    pub n_refused: u64,
    /// Leases that outlived a connection or a hub.
    pub n_adopted: u64,
    /// Hub restarts.
    pub n_restarts: u64,
    /// Times that the hub stood still and went on.
    pub n_pauses: u64,
}

/// Where a history writes what happens. Shared, so that it survives a panic of a core.
pub type Log = Rc<RefCell<Vec<String>>>;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Submit { work: usize },
    Cancel { work: usize },
    ToHub { conn: usize, input: Box<HubInput> },
    ToWorker { conn: usize, input: Box<WorkerInput> },
    HubLosesConn { conn: usize },
    WorkerLosesConn { conn: usize },
    Connect { worker: usize, process: u64 },
    Heartbeat { conn: usize },
    HubTick { life: u64 },
    WorkerTick { worker: usize, process: u64 },
    Answer { worker: usize, process: u64, lease: LeaseId, answer: Answer },
    KillWorker { worker: usize, process: u64 },
    StartWorker { worker: usize },
    Drain { worker: usize },
    KillHub,
    StartHub,
    PauseHub,
    ResumeHub { life: u64 },
}

/// One connection: ordered each way, until it breaks.
#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) worker: usize,
    pub(crate) process: u64,
    pub(crate) session: SessionId,
    pub(crate) broken: bool,
    opened: u64,
    to_hub_at: u64,
    to_worker_at: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    /// The rates of this history's first minute.
    pub(crate) drawn: Faults,
    /// Whether this history has no faults that disturb the share-out.
    pub(crate) calm: bool,
    pub(crate) bug: Option<Bug>,
    pub(crate) work: Vec<Work>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) hub: Hub,
    pub(crate) conns: Vec<Conn>,
    pub(crate) audit: Audit,
    pub(crate) outcome: Outcome,
    events: BTreeMap<(u64, u64), Event>,
    n_scheduled: u64,
    log: Option<Log>,
}

/// Runs one seed until everything has ended, with a bug planted if one is named. An error is the rule that was broken, and
/// by whom.
///
/// # Panics
/// When a core's own `check` does.
pub fn run(seed: u64, bug: Option<Bug>, log: Option<Log>) -> Result<Outcome, String> {
    let mut world = World::new(seed, bug, log);
    world.play().map(|()| world.outcome)
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, log: Option<Log>) -> Self {
        let mut rng = Rng(seed);
        let faults = Faults::draw(&mut rng);
        let machines = work::machines(&mut rng);
        let work = work::operations(&mut rng, &faults);
        let mut world = Self {
            now: 0,
            rng,
            faults,
            drawn: faults,
            calm: faults.calm(),
            bug,
            workers: machines
                .into_iter()
                .enumerate()
                .map(|(at, machine)| Worker::new(at, machine))
                .collect(),
            work,
            hub: Hub::new(),
            conns: Vec::new(),
            audit: Audit::default(),
            outcome: Outcome::default(),
            events: BTreeMap::new(),
            n_scheduled: 0,
            log,
        };
        world.say(|w| format!("{:?}", w.faults));
        for at in 0..world.workers.len() {
            let delay = world.rng.below(3 * SECOND);
            world.after(delay, Event::StartWorker { worker: at });
        }
        for at in 0..world.work.len() {
            world.after(world.work[at].submit_at, Event::Submit { work: at });
            if let Some(cancel_at) = world.work[at].cancel_at {
                world.after(cancel_at, Event::Cancel { work: at });
            }
        }
        for _ in 0..faults.n_hub_kills {
            let at = world.rng.below(CALM_AFTER);
            world.after(at, Event::KillHub);
        }
        for _ in 0..faults.n_hub_pauses {
            let at = world.rng.below(CALM_AFTER);
            world.after(at, Event::PauseHub);
        }
        for _ in 0..faults.n_drains {
            let (at, worker) =
                (world.rng.below(CALM_AFTER), world.rng.below(world.workers.len() as u64));
            world.after(at, Event::Drain { worker: usize::try_from(worker).expect("few workers") });
        }
        world
    }

    fn play(&mut self) -> Verdict {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            self.outcome.n_events += 1;
            if at > CALM_AFTER {
                let (evicted, poison) = (self.faults.evicted, self.faults.poison);
                self.faults = Faults { evicted, poison, ..Faults::NONE };
            }
            if !matches!(event, Event::Heartbeat { .. }) {
                self.say(|_| format!("{event:?}"));
            }
            let beat = matches!(event, Event::Heartbeat { .. });
            self.perform(event)?;
            if beat && self.at_rest()? {
                return self.at_end();
            }
            if at > LIMIT {
                let waiting = self.work.iter().find(|w| !self.audit.ended.contains_key(&w.id));
                return Err(match waiting {
                    Some(work) => format!("{} never ended", work.id),
                    None => "a worker kept leases of what has ended".to_owned(),
                });
            }
        }
        Err("all workers are gone".to_owned())
    }

    pub(crate) fn perform(&mut self, event: Event) -> Verdict {
        if self.hub.is_paused() && is_for_hub(&event) {
            self.hub.keep(event);
            return Ok(());
        }
        match event {
            Event::Submit { work } => self.hub_submit(work),
            Event::Cancel { work } => self.hub_cancel(work),
            Event::ToHub { conn, input } if !self.conns[conn].broken => self.hub_step(*input),
            Event::ToWorker { conn, input } if !self.conns[conn].broken => {
                let worker = self.conns[conn].worker;
                self.worker_receives(worker, *input)
            }
            Event::ToHub { .. } | Event::ToWorker { .. } => Ok(()),
            Event::HubLosesConn { conn } => self.hub_loses(conn),
            Event::WorkerLosesConn { conn } => self.worker_loses(conn),
            Event::Connect { worker, process } => self.connect(worker, process),
            Event::Heartbeat { conn } => {
                self.heartbeat(conn);
                Ok(())
            }
            Event::HubTick { life } => self.hub_tick(life),
            Event::WorkerTick { worker, process } => self.worker_tick(worker, process),
            Event::Answer { worker, process, lease, answer } => {
                self.worker_answers(worker, process, lease, answer)
            }
            Event::KillWorker { worker, process } => {
                self.kill_worker(worker, process);
                Ok(())
            }
            Event::StartWorker { worker } => self.start_worker(worker),
            Event::Drain { worker } => self.drain_worker(worker),
            Event::KillHub => {
                self.kill_hub();
                Ok(())
            }
            Event::StartHub => self.start_hub(),
            Event::PauseHub => {
                self.pause_hub();
                Ok(())
            }
            Event::ResumeHub { life } => self.resume_hub(life),
        }
    }

    /// Whether nothing is left to be done. Also looks for commands that should be gone.
    fn at_rest(&self) -> Result<bool, String> {
        if self.calm {
            let now = self.now;
            let late = |id: &OperationId| {
                self.hub.cancelled_at.get(id).is_some_and(|at| at + 5 * SECOND < now)
            };
            if let Some(id) = self.audit.processes_of_ended().find(late) {
                return Err(format!("{id} runs on although it was cancelled"));
            }
        }
        let ended = self.audit.ended.len() == self.work.len();
        let quiet = self.workers.iter().all(|w| w.alive && w.slots.leases().next().is_none());
        Ok(ended && quiet && self.now > CALM_AFTER.min(self.last_fault()))
    }

    fn last_fault(&self) -> u64 {
        let Faults { n_hub_kills, n_hub_pauses, n_drains, .. } = self.faults;
        if n_hub_kills + n_hub_pauses + n_drains > 0 { CALM_AFTER } else { 0 }
    }

    fn at_end(&mut self) -> Verdict {
        self.outcome.n_operations = self.audit.ended.len() as u64;
        match &self.hub.sched {
            Some(sched) if sched.operations().next().is_some() => {
                Err("the hub kept what has ended".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.n_scheduled += 1;
        self.events.insert((self.now + delay, self.n_scheduled), event);
    }

    pub(crate) fn new_conn(&mut self, worker: usize, process: u64) -> usize {
        let session = SessionId(1_000_000 + self.conns.len() as u128);
        let now = self.now;
        self.conns.push(Conn {
            worker,
            process,
            session,
            broken: false,
            opened: now,
            to_hub_at: now,
            to_worker_at: now,
        });
        self.conns.len() - 1
    }

    pub(crate) fn send_to_hub(&mut self, conn: usize, input: HubInput) {
        let (at, twice) = self.travel(conn, true);
        let event = Event::ToHub { conn, input: Box::new(input) };
        if twice {
            self.after(at, event.clone());
        }
        self.after(at, event);
    }

    pub(crate) fn send_to_worker(&mut self, conn: usize, input: WorkerInput) {
        let (at, twice) = self.travel(conn, false);
        let event = Event::ToWorker { conn, input: Box::new(input) };
        if twice {
            self.after(at, event.clone());
        }
        self.after(at, event);
    }

    /// How long a message travels, never overtaking the one before; and whether it arrives twice.
    fn travel(&mut self, conn: usize, to_hub: bool) -> (u64, bool) {
        if self.rng.chance(self.faults.break_connection) {
            self.break_conn(conn);
        }
        let stall = if self.rng.chance(self.faults.stall) { 15 * SECOND } else { 0 };
        let arrives = self.now + 100 + self.rng.below(SECOND / 20) + stall;
        let conn = &mut self.conns[conn];
        let last = if to_hub { &mut conn.to_hub_at } else { &mut conn.to_worker_at };
        *last = arrives.max(*last);
        (*last - self.now, self.rng.chance(self.faults.duplicate))
    }

    /// What is under way is lost; both ends find out, each in its time, or the hub does not.
    pub(crate) fn break_conn(&mut self, conn: usize) {
        if std::mem::replace(&mut self.conns[conn].broken, true) {
            return;
        }
        let delay = self.rng.below(2 * SECOND);
        self.after(delay, Event::WorkerLosesConn { conn });
        if !self.rng.chance(self.faults.half_open) {
            let delay = self.rng.below(2 * SECOND);
            self.after(delay, Event::HubLosesConn { conn });
        }
    }

    /// Whether a worker lives and has had a connection that is whole for longer than a lease.
    pub(crate) fn is_connected(&self, worker: WorkerId) -> bool {
        let lease = u64::try_from(LEASE.as_micros()).unwrap_or(u64::MAX);
        let is_whole = |conn: &Conn| !conn.broken && conn.opened + lease < self.now;
        let found = self.workers.iter().find(|it| it.id == worker && it.alive);
        found.and_then(|it| it.conn).is_some_and(|conn| is_whole(&self.conns[conn]))
    }

    pub(crate) fn conn_of(&self, session: SessionId) -> Option<usize> {
        self.conns.iter().position(|conn| conn.session == session)
    }

    pub(crate) fn say(&self, text: impl FnOnce(&Self) -> String) {
        if let Some(log) = &self.log {
            log.borrow_mut().push(format!("{:>12} {}", self.now, text(self)));
        }
    }
}

/// Whether only a hub that runs could notice it.
const fn is_for_hub(event: &Event) -> bool {
    match event {
        Event::Submit { .. }
        | Event::Cancel { .. }
        | Event::ToHub { .. }
        | Event::HubLosesConn { .. }
        | Event::HubTick { .. } => true,
        Event::ToWorker { .. }
        | Event::WorkerLosesConn { .. }
        | Event::Connect { .. }
        | Event::Heartbeat { .. }
        | Event::WorkerTick { .. }
        | Event::Answer { .. }
        | Event::KillWorker { .. }
        | Event::StartWorker { .. }
        | Event::Drain { .. }
        | Event::KillHub
        | Event::StartHub
        | Event::PauseHub
        | Event::ResumeHub { .. } => false,
    }
}
