//! Where there is no worker: actions need Linux.

use hands_store::Store;
use tonic::transport::Channel;

use crate::{AgentConfig, AgentError};

pub(super) struct EmbeddedWorker;

impl EmbeddedWorker {
    /// Says in the log, once, why nothing will run here.
    pub(super) async fn start(
        _config: &AgentConfig,
        _store: Store,
        _hub: Channel,
    ) -> Result<Self, AgentError> {
        tracing::info!("{}", Self.note());
        Ok(Self)
    }

    pub(super) fn isolation(&self) -> String {
        "none".to_owned()
    }

    pub(super) fn note(&self) -> String {
        "this machine cannot be a worker, because actions need Linux; start `hands worker` on a machine that has it"
            .to_owned()
    }

    pub(super) async fn ended(&self) -> Option<String> {
        std::future::pending().await
    }

    pub(super) async fn stop(&self) {}
}
