//! The handle on a worker.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use hands_exec::{ExecConfig, Executor, LauncherConfig, Network, Privilege};
use hands_types::WorkerPart;
use hands_types::platform::property;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::WorkerConfig;
use crate::core::{Core, Order};
use crate::error::WorkerError;
use crate::host_root::HostRoot;
use crate::isolation::{self, Level};
use crate::metrics::Metrics;
use crate::parts::Parts;
use crate::place::Place;
use crate::run::lock;

/// A running worker. Dropping it kills what runs.
#[derive(Debug)]
pub struct Worker {
    level: Level,
    host_root: String,
    orders: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
    ended: watch::Receiver<bool>,
    failure: Arc<OnceLock<WorkerError>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a worker: tries what the machine allows, starts the sandbox's launcher, makes a first slot, and dials the
    /// hub, which may be away. Must be called within a tokio runtime.
    pub async fn start(mut config: WorkerConfig) -> Result<Self, WorkerError> {
        config.slots = config.slots.max(1);
        let prepare = tokio::task::spawn_blocking(move || prepare(config));
        let (config, level, executor, parts) =
            prepare.await.map_err(|_| WorkerError::Panicked)??;
        let (orders, receiver) = mpsc::channel(4);
        let (said, ended) = watch::channel(false);
        let offered = |wanted| parts.offers().find(|(name, _)| *name == wanted);
        let digest = offered(property::HOST_ROOT).map(|(_, value)| value.to_owned());
        let warm = executor.clone();
        let place = Place::of(&config.state_dir, &config.store)?;
        let (core, events) = Core::new(config, executor, parts, place);
        let failure = Arc::new(OnceLock::new());
        let why = Arc::clone(&failure);
        let metrics = core.metrics();
        let task = tokio::spawn(async move {
            let (failed, ()) = tokio::join!(core.run(events, receiver), async {
                // The first action need not wait for its slot. If it can't be made, that action will say why.
                if let Err(error) = warm.warm(Network::Loopback, Privilege::None).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "can't make a sandbox slot"
                    );
                }
                drop(warm);
            });
            if let Some(error) = failed {
                // It is set here only, once.
                drop(why.set(error));
            }
            said.send_replace(true);
        });
        let task = Mutex::new(Some(task));
        Ok(Self {
            level,
            host_root: digest.unwrap_or_default(),
            orders,
            metrics,
            ended,
            failure,
            task,
        })
    }

    /// At which level actions run here, and why not at a better one.
    pub fn isolation(&self) -> &Level {
        &self.level
    }

    /// The digest of what actions see of this machine, as it was at the start: the property `host-root`.
    pub fn host_root(&self) -> &str {
        &self.host_root
    }

    /// Its figures, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// Whether the hub has it.
    pub fn is_connected(&self) -> bool {
        self.metrics.is_connected()
    }

    /// Actions that it has, not yet started ones too.
    pub fn leases(&self) -> usize {
        self.metrics.leases()
    }

    /// Takes nothing new, hands back what was not started, and returns when the rest is finished and reported.
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.orders.send(Order::Drain(done)).await.is_ok() {
            // An error says that the worker was stopped meanwhile.
            let _stopped = drained.await;
        }
        self.ended().await;
    }

    /// Ends at once: kills what runs, and returns when nothing is left of it.
    pub async fn stop(&self) {
        // An error says that it has ended already.
        let _ended = self.orders.send(Order::Stop).await;
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // An error is a panic, which was reported when it happened.
            let _ended = task.await;
        }
    }

    /// Why it has ended by itself, if it has.
    pub fn failure(&self) -> Option<&WorkerError> {
        self.failure.get()
    }

    /// Returns when the worker has ended: drained, by its owner or by the hub, or stopped; or because it can't go on
    /// ([`Worker::failure`]).
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error says that the task is gone, which is the same.
        let _gone = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

fn prepare(config: WorkerConfig) -> Result<(WorkerConfig, Level, Executor, Parts), WorkerError> {
    make_directory(&config.state_dir)?;
    let level = isolation::choose(config.isolation, &config.program, &config.state_dir)?;
    let stager = config.store.stager();
    let mut launcher = LauncherConfig::new(
        config.program.clone(),
        level.isolation,
        absolute(stager.root())?,
        absolute(&config.state_dir)?.join("sandbox"),
    );
    launcher.expose.clone_from(&config.expose);
    let exec =
        ExecConfig { launcher, slots: config.slots, default_env: config.default_env.clone() };
    let executor = Executor::start(exec).map_err(WorkerError::Sandbox)?;
    for warning in executor.warnings() {
        tracing::warn!("{warning}");
    }
    let host_root = HostRoot::new(config.expose.clone(), config.default_env.clone());
    let own: Arc<dyn WorkerPart> = Arc::new(host_root);
    let parts = Parts::look_at(std::iter::once(own).chain(config.parts.iter().cloned()));
    Ok((config, level, executor, parts))
}

fn make_directory(path: &Path) -> Result<(), WorkerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| WorkerError::Directory { what: "make", path: path.to_owned(), source })
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, WorkerError> {
    path.canonicalize().map_err(|source| WorkerError::Directory {
        what: "find",
        path: path.to_owned(),
        source,
    })
}
