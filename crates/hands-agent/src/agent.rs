//! The agent's life: locks, store, hub, worker, sockets, idleness, the end.

mod doors;
mod embedded;
#[cfg(target_os = "linux")]
mod for_others;
#[cfg(not(target_os = "linux"))]
#[path = "agent/for_nobody.rs"]
mod for_others;
mod lock;
mod parts;
#[cfg(target_os = "linux")]
mod removals;
#[cfg(not(target_os = "linux"))]
#[path = "agent/removals_untold.rs"]
mod removals;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hands_client::{AgentPart, protocol};
use hands_hub::Activity;
use hands_proto::v1::HelloReply;
use hands_proto::v1::agent_server::AgentServer;
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::service::{AgentService, Ask};
use crate::snapshot::{KnownImages, SnapshotServer};
use crate::stat_cache::StatCache;
use crate::{AgentConfig, AgentError, Readiness, log};
use doors::Doors;
use embedded::Embedded;
use for_others::ForOthers;
use parts::Parts;

/// How long requests under way may take when the agent leaves.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often the stat cache is saved and the log looked at.
const CHORES: Duration = Duration::from_secs(60);

/// Runs an agent on a runtime of its own until it leaves. Says on `readiness` when it listens, or why it does not.
pub fn run(config: AgentConfig, readiness: Readiness) -> Result<(), AgentError> {
    #[cfg(target_os = "linux")]
    hands_sandbox::keep_little_memory();
    // One thread: what takes long runs on blocking threads, and an action costs no wake-ups between workers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name("hands-agent")
        .enable_all()
        .build()
        .map_err(|source| AgentError::Place {
            what: "start the threads of",
            path: config.state_dir.clone(),
            source,
        });
    match runtime {
        Ok(runtime) => runtime.block_on(serve(config, readiness)),
        Err(error) => {
            readiness.refused(&error);
            Err(error)
        }
    }
}

/// As [`run`], on the caller's runtime.
pub async fn serve(config: AgentConfig, readiness: Readiness) -> Result<(), AgentError> {
    let lock = match lock::take(&config).await {
        Ok(Some(lock)) => lock,
        // Another agent serves: whoever started this one can use that.
        Ok(None) => {
            readiness.ready();
            return Ok(());
        }
        Err(error) => {
            readiness.refused(&error);
            return Err(error);
        }
    };
    match Running::start(config).await {
        Ok(mut running) => {
            readiness.ready();
            for sentence in &running.config.inherited {
                tracing::warn!("could not be undone: {sentence}");
            }
            running.live().await;
            running.leave().await;
            drop(lock);
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "not started");
            readiness.refused(&error);
            Err(error)
        }
    }
}

/// Directories that hold a membership.
fn logins(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| hands_link::Identity::is_at(path)).collect()
}

struct Running {
    config: AgentConfig,
    embedded: Embedded,
    for_others: ForOthers,
    cache: Arc<StatCache>,
    asks: mpsc::Receiver<Ask>,
    activity: watch::Receiver<Activity>,
    parts: Parts,
    doors: Doors,
    started: SystemTime,
    last_active: Instant,
}

impl Running {
    async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        if let Err(error) = log::keep_bounded(&config.log) {
            tracing::warn!(%error, "the log can't be begun anew");
        }
        let embedded = Embedded::start(&config).await?;
        let cache = {
            let path = config.cache_dir.join("stat-cache");
            let loading = tokio::task::spawn_blocking(move || StatCache::load(&path));
            Arc::new(loading.await.unwrap_or_else(|_| StatCache::new()))
        };
        let (ask, asks) = mpsc::channel(16);
        let images = KnownImages::new(&config.cache_dir);
        let snapshots = SnapshotServer::new(embedded.store.clone(), Arc::clone(&cache), images);
        let mut parts: Vec<Arc<dyn AgentPart>> = vec![Arc::new(snapshots)];
        parts.extend(config.parts.iter().cloned());
        let parts = Parts::new(parts);
        let meter = embedded.hub.meter();
        let routes = embedded.hub.routes().add_service(AgentServer::new(AgentService { ask }));
        let doors = Doors::open(&config.sockets, (routes, meter), parts.all())?;
        Ok(Self {
            activity: embedded.hub.activity(),
            embedded,
            for_others: ForOthers::default(),
            cache,
            asks,
            parts,
            doors,
            started: SystemTime::now(),
            last_active: Instant::now(),
            config,
        })
    }

    /// Serves until there is a reason to leave.
    async fn live(&mut self) {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("signals can't be received");
            return;
        };
        let mut chores = tokio::time::interval(CHORES);
        let mut drained = false;
        loop {
            if drained && !self.runs() {
                // What is queued is durable: the next command, or whoever waits for it, starts an agent that can work.
                tracing::info!("leaving: its worker was drained");
                return;
            }
            let busy = self.is_busy();
            if busy {
                self.last_active = Instant::now();
            }
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    // Whoever greets hears that this one is leaving, and starts the next.
                    Some(Ask::Hello(_)) if !self.is_here() => return,
                    Some(Ask::Hello(answer)) => {
                        self.last_active = Instant::now();
                        // Whoever greets may just have logged in.
                        self.for_others.look(&self.config, &self.embedded.store, false).await;
                        // Whoever asked may have gone.
                        drop(answer.send(self.hello()));
                    }
                    Some(Ask::Stop { force, answer }) => {
                        if self.may_stop(force).await {
                            drop(answer.send(Ok(())));
                            return;
                        }
                        drop(answer.send(Err(self.refusal())));
                    }
                    None => return,
                },
                changed = self.activity.changed() => {
                    self.last_active = Instant::now();
                    if changed.is_err() {
                        tracing::error!("the embedded hub has ended");
                        return;
                    }
                }
                failure = self.embedded.worker_ended(), if !drained => match failure {
                    Some(why) => {
                        tracing::error!("the embedded worker has ended: {why}");
                        return;
                    }
                    None => {
                        tracing::info!("the embedded worker was drained; leaving when nothing runs");
                        drained = true;
                    }
                },
                () = self.parts.changed() => self.last_active = Instant::now(),
                () = sleep_until(self.last_active + self.config.idle), if !busy && !self.for_others.serves() => {
                    if self.last_active.elapsed() >= self.config.idle && self.nobody_is_coming() {
                        tracing::info!("leaving: idle");
                        return;
                    }
                    self.last_active = Instant::now();
                }
                () = self.doors.disturbed() => {
                    if !self.is_here() {
                        return;
                    }
                    drop(self.doors.mend());
                }
                _ = chores.tick() => {
                    if !self.is_here() {
                        return;
                    }
                    drop(self.doors.mend());
                    self.renew_logins();
                    self.for_others.look(&self.config, &self.embedded.store, true).await;
                    self.chores().await;
                }
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
            }
        }
    }

    /// Whether the store is where it was. An agent whose store was deleted under it can keep nothing, and what it would listen
    /// on is the next one's place: it leaves.
    fn is_here(&self) -> bool {
        let here = self.embedded.store.ensure_here();
        if let Err(error) = &here {
            tracing::error!("leaving: {error}");
        }
        here.is_ok()
    }

    fn is_busy(&self) -> bool {
        !self.activity.borrow().is_idle() || self.parts.under_way() > 0
    }

    /// Whether anything goes on that would be disturbed.
    fn runs(&self) -> bool {
        let running = self.activity.borrow().running > 0;
        running || self.parts.under_way() > 0 || self.for_others.leases() > 0
    }

    /// Queued, running or detached: what a stop without force must not end.
    fn has_work(&self) -> bool {
        let now = *self.activity.borrow();
        let ours = now.queued > 0 || now.running > 0 || now.detached > 0;
        ours || self.parts.under_way() > 0 || self.for_others.leases() > 0
    }

    async fn may_stop(&self, force: bool) -> bool {
        if self.has_work() && force {
            self.embedded.cancel_all().await;
        }
        force || !self.has_work()
    }

    fn refusal(&self) -> Status {
        let now = *self.activity.borrow();
        Status::failed_precondition(format!(
            "the agent is busy: {} queued, {} running, {} detached, {} snapshots, {} for others; `--force` ends them",
            now.queued,
            now.running,
            now.detached,
            self.parts.under_way(),
            self.for_others.leases()
        ))
    }

    fn hello(&self) -> HelloReply {
        let left = if self.is_busy() {
            self.config.idle
        } else {
            self.config.idle.saturating_sub(self.last_active.elapsed())
        };
        HelloReply {
            protocol: Some(protocol()),
            pid: std::process::id(),
            started: Some(self.started.into()),
            idle_left_s: left.as_secs(),
            busy: self.has_work(),
            state_dir: self.config.state_dir.display().to_string(),
            isolation: self.embedded.isolation(),
            isolation_note: self.embedded.isolation_note(),
            log: self.config.log.display().to_string(),
            works_for: self.for_others.cluster(),
            works_for_note: self.for_others.note(),
            inherited: self.config.inherited.clone(),
        }
    }

    /// A front-end that is starting an agent holds the lock: it would find this one and lose it.
    fn nobody_is_coming(&self) -> bool {
        let Ok(file) = lock::open(&self.config.start_lock) else { return true };
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    /// Renews certificates that are due, so that other programs find them fresh. Takes as long as it takes to find that a
    /// hub is away, so it is a task of its own.
    fn renew_logins(&self) {
        let dir = self.config.logins.clone();
        drop(tokio::spawn(async move {
            let listing = tokio::task::spawn_blocking(move || logins(&dir)).await;
            for login in listing.unwrap_or_default() {
                match hands_link::renew_if_due(&login).await {
                    Ok(true) => tracing::info!(login = %login.display(), "certificate renewed"),
                    Ok(false) => {}
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(login = %login.display(), error, "certificate not renewed");
                    }
                }
            }
        }));
    }

    async fn chores(&self) {
        let (cache, path) = (Arc::clone(&self.cache), self.config.cache_dir.join("stat-cache"));
        let log_path = self.config.log.clone();
        let done = tokio::task::spawn_blocking(move || {
            if let Err(error) = cache.save(&path) {
                tracing::warn!(path = %path.display(), %error, "the stat cache can't be saved");
            }
            if let Err(error) = log::keep_bounded(&log_path) {
                tracing::warn!(%error, "the log can't be begun anew");
            }
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "the chores panicked");
        }
    }

    /// Lets requests under way end, then closes hub, worker and store.
    async fn leave(mut self) {
        self.asks.close();
        self.doors.shut();
        self.for_others.stop().await;
        self.embedded.stop_worker().await;
        self.embedded.hub.close().await;
        self.doors.end(Instant::now() + FAREWELL).await;
        self.chores().await;
        if let Err(error) = self.embedded.store.flush() {
            tracing::warn!(%error, "the store can't be written down; it is completed at the next start");
        }
        tracing::info!("gone");
    }
}
