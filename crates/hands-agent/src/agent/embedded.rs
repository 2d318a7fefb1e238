//! The hub and the worker inside an agent, over one store.

use hands_exec::{ExposedPath, toolchains};
use hands_hub::{Hub, HubConfig};
use hands_proto::longrunning::CancelOperationRequest;
use hands_proto::longrunning::operations_client::OperationsClient;
use hands_proto::v1::ListRequest;
use hands_proto::v1::jobs_client::JobsClient;
use hands_store::{Durability, Store, StoreConfig};
use hands_types::{ErrorClass, WorkerId};
use hands_worker::{Worker, WorkerConfig};
use tonic::transport::Channel;

use crate::error::sentence;
use crate::{AgentConfig, AgentError};

pub(super) struct Embedded {
    pub(super) store: Store,
    pub(super) hub: Hub,
    worker: Worker,
    channel: Channel,
}

impl Embedded {
    pub(super) async fn start(config: &AgentConfig) -> Result<Self, AgentError> {
        let mut store_config = StoreConfig::new(config.state_dir.join("store"));
        store_config.quota = config.store_quota;
        store_config.durability =
            if config.durable_against_power { Durability::Power } else { Durability::Second };
        let opening = tokio::task::spawn_blocking(move || Store::open(store_config));
        let store = opening
            .await
            .map_err(|e| AgentError::Store { message: e.to_string(), class: ErrorClass::Bug })?
            .map_err(|e| AgentError::Store { message: sentence(&e), class: e.class() })?;
        let mut hub_config = HubConfig::new(config.state_dir.join("hub"), store.clone());
        hub_config.build_id = hands_client::build_id().to_owned();
        let hub = Hub::open(hub_config)
            .map_err(|e| AgentError::Hub { message: sentence(&e), class: e.class() })?;
        let channel = hub.pipe().connect();
        let worker = Worker::start(worker_config(config, store.clone(), channel.clone())?)
            .await
            .map_err(|e| AgentError::Worker { message: sentence(&e), class: e.class() })?;
        Ok(Self { store, hub, worker, channel })
    }

    /// The isolation level's name.
    pub(super) fn isolation(&self) -> String {
        self.worker.isolation().isolation.to_string()
    }

    /// Why it is not the best there is, and what this machine denies beside.
    pub(super) fn isolation_note(&self) -> String {
        let level = self.worker.isolation();
        level.note.iter().chain(&level.warnings).map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Cancels whatever is queued or running.
    pub(super) async fn cancel_all(&self) {
        let request = ListRequest { active_only: true, limit: u32::MAX, invocation: String::new() };
        let jobs = match JobsClient::new(self.channel.clone()).list(request).await {
            Ok(reply) => reply.into_inner().jobs,
            Err(error) => {
                tracing::warn!(%error, "what runs can't be listed");
                return;
            }
        };
        let mut operations = OperationsClient::new(self.channel.clone());
        for job in jobs {
            let request = CancelOperationRequest { name: format!("operations/{}", job.id) };
            if let Err(error) = operations.cancel_operation(request).await {
                tracing::warn!(id = job.id, %error, "can't be cancelled");
            }
        }
    }

    pub(super) async fn stop_worker(&self) {
        self.worker.stop().await;
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
    let mut default_env = Vec::new();
    if let Some((path_variable, home)) = &wanted.toolchains {
        let found = toolchains(path_variable, home);
        expose.extend(found.paths);
        default_env = found.default_env;
    }
    Ok(WorkerConfig {
        id: worker_id(config)?,
        name: wanted.name.clone(),
        build_id: hands_client::build_id().to_owned(),
        version: hands_client::protocol().version,
        hub,
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
        default_env,
        tags: wanted.tags.clone(),
        properties: Vec::new(),
        lease: None,
        ahead: None,
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
    std::fs::write(&path, id.to_string()).map_err(|e| place("write", e))?;
    Ok(id)
}
