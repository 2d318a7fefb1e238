//! The one task that owns the slot machine, the attempts and the session.

mod effects;
mod hub;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hands_exec::{Executor, Isolation};
use hands_proto::v1;
use hands_slots::{Effect, Input, LeaseId, Slots, SlotsConfig, Stage};
use hands_tree::Lru;
use hands_types::limits::HEARTBEAT;
use hands_types::{Digest, Resources, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::action::Plan;
use crate::attempt::{Attempt, Uploaded};
use crate::config::WorkerConfig;
use crate::doubts::Doubts;
use crate::error::WorkerError;
use crate::fetch::{Fetcher, Prepared};
use crate::link::{Link, LinkEvent, is_over, nobody_listens, refused_for_good};
use crate::metrics::Metrics;
use crate::output::Outgoing;
use crate::parts::Parts;
use crate::place::Place;
use crate::report::Conclusion;
use crate::run::{RunEnd, lock};

/// How often the machine is looked at for a change of what actions see of it.
const LOOK: Duration = Duration::from_secs(30);
/// How often a worker with leases looks at its clock.
const BEAT: Duration = Duration::from_millis(500);
/// How often the place where everything is kept is looked for.
const HERE: Duration = Duration::from_secs(5);
/// A worker that has not run for so long was stopped, or its machine did not let it run.
const LATE: Duration = Duration::from_secs(2);
/// Input roots and layers that are announced.
const HOLDS: usize = 64;

/// How a stage's task ended.
#[derive(Debug)]
pub(crate) enum Event {
    Fetched(LeaseId, Result<(Arc<Plan>, Prepared), Conclusion>),
    Ran(LeaseId, RunEnd),
    Uploaded(LeaseId, Box<Result<Uploaded, Conclusion>>),
    /// A call of a stage found nobody at the hub's address.
    HubAbsent,
    /// What a part offers now, by its number.
    Looked(usize, Vec<(String, String)>),
}

/// What the worker's owner wants.
#[derive(Debug)]
pub(crate) enum Order {
    /// Finish what runs, take nothing new, then say so.
    Drain(oneshot::Sender<()>),
    /// End now.
    Stop,
}

/// What began a turn.
enum Woken {
    Order(Option<Order>),
    Event(Box<Event>),
    Link(LinkEvent),
    Tick,
}

pub(crate) struct Core {
    config: WorkerConfig,
    isolation: Isolation,
    parts: Parts,
    executor: Executor,
    fetcher: Arc<Fetcher>,
    state_dir: Arc<Path>,
    slots: Slots,
    attempts: BTreeMap<LeaseId, Attempt>,
    link: Link,
    metrics: Arc<Metrics>,
    /// The way to the hub once it has answered the first message.
    session: Option<Outgoing>,
    /// The way to a hub that has not answered yet, and what it was told that we hold.
    opening: Option<(Outgoing, Vec<LeaseId>)>,
    tasks: mpsc::UnboundedSender<Event>,
    begun: Instant,
    inputs: VecDeque<Input>,
    effects: Vec<Effect>,
    next_heartbeat: Instant,
    next_look: Instant,
    place: Place,
    next_here: Instant,
    /// Why it can't go on.
    failure: Option<WorkerError>,
    recent: Lru<Digest, ()>,
    recent_changed: bool,
    doubts: Doubts,
    drained: Vec<oneshot::Sender<()>>,
    done: bool,
}

impl Core {
    pub(crate) fn new(
        config: WorkerConfig,
        executor: Executor,
        parts: Parts,
        place: Place,
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        // Not bounded: each lease has one task at a time, and each task says one thing.
        let (tasks, events) = mpsc::unbounded_channel();
        let slots = config.slots.max(1);
        let resources = Resources {
            cpu_millis: slots.saturating_mul(1000),
            memory: config.memory,
            custom: config.custom.clone(),
        };
        let fetches = slots.saturating_add(2);
        let now = Instant::now();
        // What it had before it was started again is as good as new.
        let mut recent = Lru::new();
        for root in config.store.staged(HOLDS).into_iter().rev() {
            recent.insert(root, (), 1);
        }
        let core = Self {
            isolation: executor.isolation(),
            fetcher: Arc::new(Fetcher::new(
                config.store.clone(),
                config.hub.clone(),
                config.same_store,
                config.compress,
                tasks.clone(),
            )),
            link: Link::new(config.hub.clone(), config.hub_name.clone()),
            state_dir: config.state_dir.as_path().into(),
            metrics: Arc::new(Metrics::new(config.store.clone(), slots)),
            slots: Slots::new(SlotsConfig { slots, resources, fetches }),
            config,
            parts,
            executor,
            attempts: BTreeMap::new(),
            session: None,
            opening: None,
            tasks,
            begun: now,
            inputs: VecDeque::new(),
            effects: Vec::new(),
            next_heartbeat: now,
            next_look: now + LOOK,
            place,
            next_here: now + HERE,
            failure: None,
            recent,
            recent_changed: false,
            doubts: Doubts::default(),
            drained: Vec::new(),
            done: false,
        };
        (core, events)
    }

    /// What others may see of it while it works.
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Works until it is drained, or until whoever gives orders is gone; or until it can't go on, and then says why.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut orders: mpsc::Receiver<Order>,
    ) -> Option<WorkerError> {
        while !self.done {
            let (turn, beats) = (Instant::now(), !self.attempts.is_empty());
            let beat = beats.then(|| turn + BEAT);
            let deadline = self.next_deadline().into_iter().chain(beat).min();
            let woken = tokio::select! {
                biased;
                order = orders.recv() => Woken::Order(order),
                Some(event) = events.recv() => Woken::Event(Box::new(event)),
                event = self.link.next() => Woken::Link(event),
                () = sleep_until(deadline) => Woken::Tick,
            };
            let away = turn.elapsed();
            if beats && away >= LATE {
                tracing::warn!(?away, "this worker did not run for a while");
                self.inputs.push_back(Input::Late { by: away });
            }
            match woken {
                Woken::Order(Some(order)) => self.obey(order),
                Woken::Order(None) => self.done = true,
                Woken::Event(event) => self.event(*event),
                Woken::Link(event) => self.link_event(event),
                Woken::Tick => self.tick(),
            }
            self.settle();
        }
        // What still runs is killed, and is dead when this returns.
        for attempt in self.attempts.values_mut() {
            if let Some(task) = attempt.task.take() {
                task.stop().await;
            }
        }
        for done in self.drained.drain(..) {
            // Whoever asked may have lost interest.
            let _gone = done.send(());
        }
        self.failure
    }

    /// Ends, for it can't go on.
    fn fail(&mut self, error: WorkerError) {
        self.done = true;
        self.failure.get_or_insert(error);
    }

    /// Whether all that it keeps is where it was. Ends it where it is not.
    fn is_here(&mut self) -> bool {
        self.next_here = Instant::now() + HERE;
        match self.place.ensure_here() {
            Ok(()) => true,
            Err(error) => {
                self.fail(error);
                false
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Drain(done) => {
                self.drained.push(done);
                self.start_drain();
            }
            Order::Stop => self.done = true,
        }
    }

    fn start_drain(&mut self) {
        if let Some(session) = self.session.as_ref().filter(|_| !self.slots.draining()) {
            crate::output::send(session, v1::worker_message::Kind::Draining(v1::Draining {}));
        }
        self.inputs.push_back(Input::Drain);
    }

    /// Steps the slot machine through all inputs and does what it wants, until nothing is left.
    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let mut effects = std::mem::take(&mut self.effects);
            self.slots.step(self.now(), input, &mut effects);
            for effect in effects.drain(..) {
                self.perform(effect);
            }
            self.effects = effects;
        }
        let runs = |stage| matches!(stage, Stage::Running { .. } | Stage::Killing { .. });
        let running = self.slots.leases().filter(|lease| runs(lease.stage)).count();
        let connected = self.session.is_some();
        self.metrics.stands(connected, self.slots.draining(), self.attempts.len(), running);
        #[cfg(debug_assertions)]
        self.slots.check();
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lease = self.slots.next_deadline().map(|at| self.begun + Duration::from_micros(at.0));
        let session = self.session.as_ref().map(|_| self.next_heartbeat.min(self.next_look));
        lease.into_iter().chain(session).chain([self.next_here]).min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_here && !self.is_here() {
            return;
        }
        self.inputs.push_back(Input::Tick);
        if self.session.is_some() && now >= self.next_heartbeat {
            self.next_heartbeat = now + HEARTBEAT;
            self.heartbeat();
            self.doubt();
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.parts.look_again(&self.tasks);
        }
    }

    fn heartbeat(&mut self) {
        let Some(session) = &self.session else { return };
        let free_disk = rustix::fs::statvfs(&*self.state_dir)
            .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
            .unwrap_or_default();
        crate::output::send(
            session,
            v1::worker_message::Kind::Heartbeat(v1::Heartbeat { free_disk }),
        );
        if std::mem::take(&mut self.recent_changed) {
            let digests =
                self.recent.recent().take(HOLDS).map(|(digest, ())| digest.to_string()).collect();
            crate::output::send(session, v1::worker_message::Kind::Holds(v1::Holds { digests }));
        }
    }

    /// Tells the hub which results may be wrong, and looks at trees whose results no look has confirmed.
    fn doubt(&mut self) {
        for damage in self.config.store.damages() {
            self.doubts.add(&damage);
        }
        let Some(session) = &self.session else { return };
        self.doubts.tell(session);
        if self.config.store.is_look_due() {
            let store = self.config.store.clone();
            drop(tokio::task::spawn_blocking(move || store.look()));
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Dial => self.dial(),
            LinkEvent::Message(message) => self.hub_message(*message),
            LinkEvent::Moved => self.moved(),
            LinkEvent::Lost(status) => {
                if is_over(&status) {
                    return self.fail(WorkerError::Over);
                }
                if let Some(why) = refused_for_good(&status) {
                    let hub = self.config.hub_name.clone();
                    return self.fail(WorkerError::Refused { hub, why });
                }
                self.link.mention(&status);
                self.lose_session();
                if nobody_listens(&status) {
                    self.inputs.push_back(Input::HubAbsent);
                }
            }
        }
    }

    /// The session goes on by a better way. Nothing more is heard from the old one, so what the first message on the new one
    /// does not name was never received: the hub takes it up at once, as it does when a worker comes back.
    fn moved(&mut self) {
        let hub = self.config.hub.route().map(|route| route.to_string()).unwrap_or_default();
        tracing::info!(hub, "there is a better way to the hub; the session goes on by that one");
        self.lose_session();
        self.dial();
    }

    fn lose_session(&mut self) {
        self.opening = None;
        if self.session.take().is_some() {
            self.doubts.session_lost();
            for attempt in self.attempts.values() {
                lock(&attempt.streams).suspend();
            }
            self.inputs.push_back(Input::SessionLost);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Fetched(lease, result) => self.fetched(lease, result),
            Event::Ran(lease, end) => self.ran(lease, end),
            Event::Uploaded(lease, result) => self.uploaded(lease, *result),
            Event::HubAbsent => self.inputs.push_back(Input::HubAbsent),
            Event::Looked(part, offers) => {
                let changed = self.parts.looked(part, offers);
                // What it offers stands in the first message of a session, which may have been sent already.
                if let Some(part) = changed
                    && (self.session.is_some() || self.opening.is_some())
                {
                    tracing::info!("{part} has changed; telling the hub");
                    self.link.close();
                    self.lose_session();
                }
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
