//! The agent's life: locks, store, hub, worker, sockets, idleness, the end.

mod embedded;
#[cfg(target_os = "linux")]
mod for_others;
#[cfg(not(target_os = "linux"))]
#[path = "agent/for_nobody.rs"]
mod for_others;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hands_client::protocol;
use hands_hub::Activity;
use hands_link::{Address, Listener};
use hands_proto::v1::HelloReply;
use hands_proto::v1::agent_server::AgentServer;
use hands_types::ErrorClass;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::error::sentence;
use crate::service::{AgentService, Ask};
use crate::snapshot::{SnapshotServer, bind};
use crate::stat_cache::StatCache;
use crate::{AgentConfig, AgentError, Readiness, log};
use embedded::Embedded;
use for_others::ForOthers;

/// How long an agent that is leaving may hold the lock when another starts.
const PREDECESSOR: Duration = Duration::from_secs(30);
/// How long requests under way may take when the agent leaves.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often the stat cache is saved and the log looked at.
const CHORES: Duration = Duration::from_secs(60);

/// Runs an agent on a runtime of its own until it leaves. Says on `readiness` when it listens, or why it does not.
pub fn run(config: AgentConfig, readiness: Readiness) -> Result<(), AgentError> {
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
    let lock = match lock(&config).await {
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
            tracing::info!(socket = %running.config.socket.display(), "listening");
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

/// Takes the life lock. None when another agent serves already.
async fn lock(config: &AgentConfig) -> Result<Option<File>, AgentError> {
    for dir in [&config.state_dir, &config.cache_dir] {
        hands_link::private_place(dir).map_err(AgentError::Private)?;
    }
    for file in [&config.life_lock, &config.socket, &config.snapshot_socket] {
        make_dir(file.parent().unwrap_or(Path::new("/")))?;
    }
    let path = config.life_lock.clone();
    let failed = |source: io::Error| AgentError::Place { what: "lock", path: path.clone(), source };
    let file = open_lock(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => return Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => {}
        Err(error) => return Err(failed(error.into())),
    }
    if hands_link::dial(&Address::Unix(config.socket.clone())).await.is_ok() {
        return Ok(None);
    }
    // It is on its way out, or was killed and its last threads are still going.
    let waiting = tokio::task::spawn_blocking(move || {
        flock(&file, FlockOperation::LockExclusive).map(|()| file)
    });
    match tokio::time::timeout(PREDECESSOR, waiting).await {
        Ok(Ok(Ok(file))) => Ok(Some(file)),
        Ok(Ok(Err(error))) => Err(failed(error.into())),
        Ok(Err(error)) => Err(failed(io::Error::other(error))),
        Err(_) => Err(AgentError::Busy(path)),
    }
}

/// Directories that hold a membership.
fn logins(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| hands_link::Identity::is_at(path)).collect()
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn make_dir(path: &Path) -> Result<(), AgentError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::Place { what: "make", path: path.to_owned(), source })
}

struct Running {
    config: AgentConfig,
    embedded: Embedded,
    for_others: ForOthers,
    cache: Arc<StatCache>,
    asks: mpsc::Receiver<Ask>,
    activity: watch::Receiver<Activity>,
    /// Snapshots under way, and a count of those that were.
    snapshots: watch::Receiver<usize>,
    stop_serving: watch::Sender<bool>,
    serving: Vec<tokio::task::JoinHandle<()>>,
    started: SystemTime,
    last_active: Instant,
}

impl Running {
    async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        if let Err(error) = log::keep_bounded(&config.log) {
            tracing::warn!(%error, "the log can't be begun anew");
        }
        let listen = |message: String, class: ErrorClass| AgentError::Listen { message, class };
        let embedded = Embedded::start(&config).await?;
        let cache = {
            let path = config.cache_dir.join("stat-cache");
            let loading = tokio::task::spawn_blocking(move || StatCache::load(&path));
            Arc::new(loading.await.unwrap_or_else(|_| StatCache::new()))
        };
        let listener = Listener::bind(&Address::Unix(config.socket.clone()))
            .map_err(|e| listen(sentence(&e), e.class()))?;
        let snapshot_listener = bind(&config.snapshot_socket)
            .map_err(|e| listen(e.to_string(), ErrorClass::Environment))?;
        let (ask, asks) = mpsc::channel(16);
        let (stop_serving, stopped) = watch::channel(false);
        let (counter, snapshots) = watch::channel(0);
        let server = SnapshotServer::new(embedded.store.clone(), Arc::clone(&cache), counter);
        let routes = embedded.hub.routes().add_service(AgentServer::new(AgentService { ask }));
        let mut stop = stopped.clone();
        let grpc = tokio::spawn(async move {
            let serving = hands_link::server().add_routes(routes).serve_with_incoming_shutdown(
                listener.incoming(),
                async move {
                    // Its error means that the agent has gone without a word: the same.
                    drop(stop.wait_for(|stop| *stop).await);
                },
            );
            if let Err(error) = serving.await {
                tracing::error!(%error, "the socket serves no more");
            }
        });
        let snapshot =
            tokio::spawn(server.serve(snapshot_listener, config.snapshot_socket.clone(), stopped));
        Ok(Self {
            activity: embedded.hub.activity(),
            embedded,
            for_others: ForOthers::default(),
            cache,
            asks,
            snapshots,
            stop_serving,
            serving: vec![grpc, snapshot],
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
        loop {
            let busy = self.is_busy();
            if busy {
                self.last_active = Instant::now();
            }
            tokio::select! {
                ask = self.asks.recv() => match ask {
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
                _ = self.snapshots.changed() => self.last_active = Instant::now(),
                () = sleep_until(self.last_active + self.config.idle), if !busy && !self.for_others.serves() => {
                    if self.last_active.elapsed() >= self.config.idle && self.nobody_is_coming() {
                        tracing::info!("leaving: idle");
                        return;
                    }
                    self.last_active = Instant::now();
                }
                _ = chores.tick() => {
                    self.renew_logins();
                    self.for_others.look(&self.config, &self.embedded.store, true).await;
                    self.chores().await;
                }
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
            }
        }
    }

    fn is_busy(&self) -> bool {
        !self.activity.borrow().is_idle() || *self.snapshots.borrow() > 0
    }

    /// Queued, running or detached: what a stop without force must not end.
    fn has_work(&self) -> bool {
        let now = *self.activity.borrow();
        let ours = now.queued > 0 || now.running > 0 || now.detached > 0;
        ours || *self.snapshots.borrow() > 0 || self.for_others.leases() > 0
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
            *self.snapshots.borrow(),
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
        }
    }

    /// A front-end that is starting an agent holds the lock: it would find this one and lose it.
    fn nobody_is_coming(&self) -> bool {
        let Ok(file) = open_lock(&self.config.start_lock) else { return true };
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
        self.stop_serving.send_replace(true);
        self.for_others.stop().await;
        self.embedded.stop_worker().await;
        self.embedded.hub.close().await;
        let deadline = Instant::now() + FAREWELL;
        for task in &mut self.serving {
            if tokio::time::timeout_at(deadline, &mut *task).await.is_err() {
                task.abort();
            }
        }
        self.chores().await;
        if let Err(error) = self.embedded.store.flush() {
            tracing::warn!(%error, "the store can't be written down; it is completed at the next start");
        }
        tracing::info!("gone");
    }
}
