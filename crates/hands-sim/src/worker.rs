//! A model of a worker's shell: its processes, its connection, and what it does with the slot machine's effects.

use std::collections::BTreeSet;

use hands_sched::{Input as HubInput, Opening, RejectReason};
use hands_slots::{Effect, HandBackReason, Input, LeaseId, Slots, SlotsConfig};
use hands_types::{Time, WorkerId};

use crate::audit::Verdict;
use crate::faults::Bug;
use crate::hub::LEASE;
use crate::work::{Machine, SECOND, tree};
use crate::world::{Event, World};

/// How something that a worker does comes out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Fetched,
    Missing,
    Unable,
    Ran,
    Uploaded,
}

/// One machine with its worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) machine: Machine,
    pub(crate) slots: Slots,
    pub(crate) alive: bool,
    /// Counts starts, so that what belongs to a killed process is recognized.
    process: u64,
    pub(crate) conn: Option<usize>,
    /// Commands that exist.
    running: BTreeSet<LeaseId>,
    tick_at: Option<u64>,
}

impl Worker {
    pub(crate) fn new(at: usize, machine: Machine) -> Self {
        Self {
            id: WorkerId(100 + at as u128),
            slots: Slots::new(config(&machine)),
            machine,
            alive: false,
            process: 0,
            conn: None,
            running: BTreeSet::new(),
            tick_at: None,
        }
    }
}

fn config(machine: &Machine) -> SlotsConfig {
    SlotsConfig { slots: machine.cpus, resources: machine.offer.resources.clone(), fetches: 2 }
}

impl World {
    pub(crate) fn start_worker(&mut self, at: usize) -> Verdict {
        let worker = &mut self.workers[at];
        if worker.alive {
            return Ok(());
        }
        worker.alive = true;
        worker.process += 1;
        worker.slots = Slots::new(config(&worker.machine));
        worker.tick_at = None;
        self.connect(at, self.workers[at].process)
    }

    pub(crate) fn connect(&mut self, at: usize, process: u64) -> Verdict {
        if !self.workers[at].alive
            || self.workers[at].process != process
            || self.workers[at].conn.is_some()
        {
            return Ok(());
        }
        if self.hub.sched.is_none() {
            self.after(SECOND, Event::Connect { worker: at, process });
            return Ok(());
        }
        let conn = self.new_conn(at, process);
        let worker = &mut self.workers[at];
        worker.conn = Some(conn);
        let claims = matches!(self.bug, Some(Bug::AlwaysResumes | Bug::ForgetsOnReconnect));
        let resumes = worker.slots.resumes() || claims;
        let opening = Opening {
            session: self.conns[conn].session,
            worker: worker.id,
            offer: worker.machine.offer.clone(),
            lease: LEASE,
            resumes,
            holds: worker.slots.held(),
        };
        let draining = worker.slots.draining();
        self.send_to_hub(conn, HubInput::SessionOpened(Box::new(opening)));
        let trees = (0..self.rng.below(3)).map(|n| tree(n).digest).collect();
        let session = self.conns[conn].session;
        self.send_to_hub(conn, HubInput::Holds { session, trees });
        if draining {
            self.send_to_hub(conn, HubInput::Draining { session });
        }
        self.after(2 * SECOND, Event::Heartbeat { conn });
        self.worker_step(at, Input::SessionOpened { lease: LEASE })
    }

    pub(crate) fn heartbeat(&mut self, conn: usize) {
        let (worker, process) = (self.conns[conn].worker, self.conns[conn].process);
        let current =
            self.workers[worker].conn == Some(conn) && self.workers[worker].process == process;
        if current && self.workers[worker].alive {
            self.send_to_hub(conn, HubInput::Heartbeat { session: self.conns[conn].session });
            self.after(2 * SECOND, Event::Heartbeat { conn });
        }
    }

    pub(crate) fn worker_loses(&mut self, conn: usize) -> Verdict {
        let (at, process) = (self.conns[conn].worker, self.conns[conn].process);
        let worker = &mut self.workers[at];
        if !worker.alive || worker.process != process || worker.conn != Some(conn) {
            return Ok(());
        }
        worker.conn = None;
        if self.bug == Some(Bug::ForgetsOnReconnect) {
            worker.slots = Slots::new(config(&worker.machine));
            worker.running.clear();
            self.audit.worker_dies(at);
        }
        let delay = if self.rng.chance(200) {
            self.rng.below(20 * SECOND)
        } else {
            self.rng.below(2 * SECOND)
        };
        self.after(delay, Event::Connect { worker: at, process });
        self.worker_step(at, Input::SessionLost)
    }

    pub(crate) fn worker_receives(&mut self, at: usize, input: Input) -> Verdict {
        self.worker_step(at, input)
    }

    pub(crate) fn worker_tick(&mut self, at: usize, process: u64) -> Verdict {
        if !self.workers[at].alive || self.workers[at].process != process {
            return Ok(());
        }
        self.workers[at].tick_at = None;
        self.worker_step(at, Input::Tick)
    }

    pub(crate) fn drain_worker(&mut self, at: usize) -> Verdict {
        if !self.workers[at].alive {
            return Ok(());
        }
        if let Some(conn) = self.workers[at].conn {
            self.send_to_hub(conn, HubInput::Draining { session: self.conns[conn].session });
        }
        self.worker_step(at, Input::Drain)
    }

    /// kill -9: its commands end with it.
    pub(crate) fn kill_worker(&mut self, at: usize, process: u64) {
        if !self.workers[at].alive || self.workers[at].process != process {
            return;
        }
        let worker = &mut self.workers[at];
        worker.alive = false;
        worker.running.clear();
        if let Some(conn) = worker.conn.take() {
            self.break_conn(conn);
        }
        self.audit.worker_dies(at);
        let delay = self.rng.below(20 * SECOND);
        self.after(delay, Event::StartWorker { worker: at });
    }

    pub(crate) fn worker_answers(
        &mut self,
        at: usize,
        process: u64,
        lease: LeaseId,
        answer: Answer,
    ) -> Verdict {
        if !self.workers[at].alive || self.workers[at].process != process {
            return Ok(());
        }
        let input = match answer {
            Answer::Fetched => Input::Fetched { lease },
            Answer::Missing => Input::Concluded { lease },
            Answer::Unable => Input::Unable { lease, reason: "out of descriptors".to_owned() },
            Answer::Uploaded => Input::Uploaded { lease },
            Answer::Ran => {
                // A process ends once; the second of two ends, by itself and by a kill, is none.
                if !self.workers[at].running.remove(&lease) {
                    return Ok(());
                }
                self.audit.process_ends(at, lease.operation, lease.attempt);
                Input::Ran { lease }
            }
        };
        self.worker_step(at, input)
    }

    fn worker_step(&mut self, at: usize, input: Input) -> Verdict {
        let mut out = Vec::new();
        let now = Time(self.now);
        let worker = &mut self.workers[at];
        worker.slots.step(now, input, &mut out);
        worker.slots.check();
        let process = worker.process;
        if let Some(Time(due)) = worker.slots.next_deadline()
            && worker.tick_at.is_none_or(|earlier| due < earlier)
        {
            worker.tick_at = Some(due);
            self.after(due.saturating_sub(self.now), Event::WorkerTick { worker: at, process });
        }
        for effect in out {
            self.say(|_| format!("    w{at} {effect:?}"));
            self.worker_performs(at, process, effect)?;
        }
        Ok(())
    }

    fn worker_performs(&mut self, at: usize, process: u64, effect: Effect) -> Verdict {
        match effect {
            Effect::Fetch { lease } => {
                let evicted =
                    self.work.iter().any(|work| work.id == lease.operation && work.evicted);
                let answer = if evicted {
                    Answer::Missing
                } else if self.rng.chance(self.faults.unable) {
                    Answer::Unable
                } else {
                    Answer::Fetched
                };
                let delay = self.rng.below(SECOND / 2);
                self.after(delay, Event::Answer { worker: at, process, lease, answer });
            }
            Effect::Run { lease, slot } => self.run_command(at, process, lease, slot)?,
            Effect::Kill { lease } => {
                let delay = self.rng.below(SECOND / 2);
                self.after(
                    delay,
                    Event::Answer { worker: at, process, lease, answer: Answer::Ran },
                );
                if self.bug == Some(Bug::FreesSlotEarly) {
                    return self.worker_step(at, Input::Ran { lease });
                }
            }
            Effect::Upload { lease } => {
                let delay = self.rng.below(SECOND / 2);
                self.after(
                    delay,
                    Event::Answer { worker: at, process, lease, answer: Answer::Uploaded },
                );
            }
            Effect::Started { lease: LeaseId { operation, attempt } } => {
                self.tell_hub(at, |session| HubInput::Started { session, operation, attempt });
            }
            Effect::Report { lease: LeaseId { operation, attempt } } => {
                self.audit.reported(self.workers[at].id, operation, attempt);
                self.tell_hub(at, |session| HubInput::Finished { session, operation, attempt });
            }
            Effect::HandBack { lease: LeaseId { operation, attempt }, reason } => {
                let reason = match reason {
                    HandBackReason::Draining => RejectReason::Draining,
                    HandBackReason::Recalled => RejectReason::Recalled,
                    HandBackReason::Unable(why) => RejectReason::Unable(why),
                };
                self.tell_hub(at, |session| HubInput::Rejected {
                    session,
                    operation,
                    attempt,
                    reason,
                });
            }
            Effect::Forget { lease } => {
                if self.workers[at].running.contains(&lease)
                    && self.bug != Some(Bug::FreesSlotEarly)
                {
                    return Err(format!("w{at} forgot {} while it ran", lease.operation));
                }
            }
            Effect::Drained => self.kill_worker(at, process),
        }
        Ok(())
    }

    fn run_command(&mut self, at: usize, process: u64, lease: LeaseId, slot: u32) -> Verdict {
        let Some(work) = self.work.iter().find(|work| work.id == lease.operation) else {
            return Err(format!("w{at} runs {}, which nobody submitted", lease.operation));
        };
        let (run_for, poison) = (work.run_for, work.poison);
        let machine = (at, &self.workers[at].machine);
        self.audit.process_starts(&self.work, machine, lease.operation, lease.attempt, slot)?;
        self.workers[at].running.insert(lease);
        self.after(run_for, Event::Answer { worker: at, process, lease, answer: Answer::Ran });
        if poison || self.rng.chance(self.faults.kill_worker) {
            let delay = self.rng.below(SECOND / 2);
            self.after(delay, Event::KillWorker { worker: at, process });
        }
        Ok(())
    }

    fn tell_hub(&mut self, at: usize, input: impl FnOnce(hands_types::SessionId) -> HubInput) {
        if let Some(conn) = self.workers[at].conn {
            let input = input(self.conns[conn].session);
            self.send_to_hub(conn, input);
        }
    }
}
