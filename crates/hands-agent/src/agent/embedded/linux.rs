//! The worker inside an agent.

use hands_exec::{ExposedPath, toolchains};
use hands_store::Store;
use hands_types::WorkerId;
use hands_worker::{Worker, WorkerConfig};
use tonic::transport::Channel;

use crate::error::sentence;
use crate::{AgentConfig, AgentError};

pub(super) struct EmbeddedWorker(Worker);

impl EmbeddedWorker {
    pub(super) async fn start(
        config: &AgentConfig,
        store: Store,
        hub: Channel,
    ) -> Result<Self, AgentError> {
        let started = Worker::start(worker_config(config, store, hub)?).await;
        started
            .map(Self)
            .map_err(|e| AgentError::Worker { message: sentence(&e), class: e.class() })
    }

    /// The isolation level's name.
    pub(super) fn isolation(&self) -> String {
        self.0.isolation().isolation.to_string()
    }

    /// Why it is not the best there is, and what this machine denies beside.
    pub(super) fn note(&self) -> String {
        let level = self.0.isolation();
        level.note.iter().chain(&level.warnings).map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Waits until it has ended, and says why where it can't go on; none where it was drained.
    pub(super) async fn ended(&self) -> Option<String> {
        self.0.ended().await;
        self.0.failure().map(|error| sentence(error))
    }

    pub(super) async fn stop(&self) {
        self.0.stop().await;
    }
}

fn worker_config(
    config: &AgentConfig,
    store: Store,
    hub: Channel,
) -> Result<WorkerConfig, AgentError> {
    let wanted = &config.worker;
    let mut expose: Vec<ExposedPath> = wanted
        .expose
        .iter()
        .map(|path| ExposedPath { host: path.clone(), inside: path.clone() })
        .collect();
    if let Some(home) = &wanted.toolchains {
        expose.extend(toolchains(home));
    }
    Ok(WorkerConfig {
        id: worker_id(config)?,
        name: wanted.name.clone(),
        build_id: hands_client::build_id().to_owned(),
        version: hands_client::protocol().version,
        hub: hub.into(),
        hub_name: "the agent's hub".to_owned(),
        store,
        same_store: true,
        state_dir: config.state_dir.join("worker"),
        program: wanted.program.clone(),
        isolation: wanted.isolation,
        slots: wanted.slots,
        memory: wanted.memory,
        custom: std::collections::BTreeMap::new(),
        expose,
        // Each command brings the `PATH` of its own caller.
        default_env: Vec::new(),
        tags: wanted.tags.clone(),
        properties: Vec::new(),
        lease: None,
        ahead: None,
        parts: wanted.parts.clone(),
        compress: false,
    })
}

/// The embedded worker keeps its id, so that its hub knows it again after a restart.
fn worker_id(config: &AgentConfig) -> Result<WorkerId, AgentError> {
    let path = config.state_dir.join("worker-id");
    if let Some(id) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok())
    {
        return Ok(id);
    }
    let place = |what, source| AgentError::Place { what, path: path.clone(), source };
    let fresh = hands_client::new_invocation_id()
        .map_err(|e| place("make an id for", std::io::Error::other(e)))?;
    let id = WorkerId(fresh.0);
    let file = "worker-id";
    hands_link::write_private(&config.state_dir, file, &id.to_string())
        .map_err(|e| place("write", std::io::Error::other(e)))?;
    Ok(id)
}
