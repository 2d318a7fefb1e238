//! The hub and the worker inside an agent, over one store.

#[cfg(target_os = "linux")]
#[path = "embedded/linux.rs"]
mod worker;
#[cfg(not(target_os = "linux"))]
#[path = "embedded/elsewhere.rs"]
mod worker;

use hands_hub::{Hub, HubConfig};
use hands_proto::longrunning::CancelOperationRequest;
use hands_proto::longrunning::operations_client::OperationsClient;
use hands_proto::v1::ListRequest;
use hands_proto::v1::jobs_client::JobsClient;
use hands_store::{Durability, Store, StoreConfig};
use hands_types::ErrorClass;
use tonic::transport::Channel;

use crate::error::sentence;
use crate::{AgentConfig, AgentError};
use worker::EmbeddedWorker;

pub(super) struct Embedded {
    pub(super) store: Store,
    pub(super) hub: Hub,
    worker: EmbeddedWorker,
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
        // Its one worker is this process's own, where this system can have one.
        hub_config.scheduler.alone = cfg!(target_os = "linux");
        #[cfg(target_os = "linux")]
        {
            hub_config.give_back = Some(hands_sandbox::give_back_memory);
        }
        let hub = Hub::open(hub_config)
            .map_err(|e| AgentError::Hub { message: sentence(&e), class: e.class() })?;
        let channel = hub.pipe().connect();
        let worker = EmbeddedWorker::start(config, store.clone(), channel.clone()).await?;
        Ok(Self { store, hub, worker, channel })
    }

    /// The isolation level's name.
    pub(super) fn isolation(&self) -> String {
        self.worker.isolation()
    }

    /// Why it is not the best there is, and what this machine denies beside.
    pub(super) fn isolation_note(&self) -> String {
        self.worker.note()
    }

    /// Cancels whatever is queued or running.
    pub(super) async fn cancel_all(&self) {
        let mut page = ListRequest { active_only: true, limit: u32::MAX, ..ListRequest::default() };
        loop {
            let reply = match JobsClient::new(self.channel.clone()).list(page.clone()).await {
                Ok(reply) => reply.into_inner(),
                Err(error) => {
                    tracing::warn!(%error, "what runs can't be listed");
                    return;
                }
            };
            let mut operations = OperationsClient::new(self.channel.clone());
            for job in reply.jobs {
                let request = CancelOperationRequest { name: format!("operations/{}", job.id) };
                if let Err(error) = operations.cancel_operation(request).await {
                    tracing::warn!(id = job.id, %error, "can't be cancelled");
                }
            }
            if reply.next_page_token.is_empty() {
                return;
            }
            page.page_token = reply.next_page_token;
        }
    }

    /// Waits until the worker has ended, and says why where it can't go on; none where it was drained.
    pub(super) async fn worker_ended(&self) -> Option<String> {
        self.worker.ended().await
    }

    pub(super) async fn stop_worker(&self) {
        self.worker.stop().await;
    }
}
