//! What all services stand on.

use std::sync::Arc;
use std::time::Duration;

use hands_proto::v1;
use hands_store::Store;
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;

use crate::HubError;
use crate::access::MeterLayer;
use crate::actions::Sessions;
use crate::core::{Core, CoreHandle};
use crate::db::{Db, Trouble};
use crate::ledger::Ledger;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::trees::Trees;
use crate::trust::Trust;

/// What all services stand on.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) core: CoreHandle,
    pub(crate) store: Store,
    pub(crate) db: Arc<Db>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) logs: Arc<Logs>,
    /// Clients' sessions of many actions.
    pub(crate) sessions: Sessions,
    pub(crate) trees: Arc<Trees>,
    pub(crate) hub_id: String,
    pub(crate) protocol: v1::Protocol,
    /// Milliseconds since 1970.
    pub(crate) started: i64,
    pub(crate) keepalive: Duration,
    pub(crate) max_timeout: Duration,
    pub(crate) salted_result: Duration,
    /// None where the hub takes nobody in: inside an agent, or on local sockets only.
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) meter: MeterLayer,
    /// Who may look at many operations at once.
    pub(crate) walks: Semaphore,
}

/// How many do at the same time.
pub(crate) const WALKS: usize = 2;

impl Shared {
    /// Asks the core.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Status> {
        self.core.ask(question).await.ok_or_else(ended)
    }

    /// Waits for what is said after a commit. While nothing can be committed, says that instead.
    pub(crate) async fn durable<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Status> {
        let mut trouble = self.db.trouble();
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ended()),
            Ok(trouble) = trouble.wait_for(Option::is_some) => {
                Err(trouble.as_ref().map_or_else(ended, Trouble::status))
            }
        }
    }

    /// Whether something new can be made durable; else what to say.
    pub(crate) fn accepts(&self) -> Result<(), Status> {
        self.db.trouble().borrow().as_ref().map_or(Ok(()), |trouble| Err(trouble.status()))
    }
}

/// The answer of a hub that is being closed: clients come back to the next one.
pub(crate) fn ended() -> Status {
    Status::unavailable(HubError::Ended.to_string())
}

/// The table can't be read.
pub(crate) fn table_status(error: &HubError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "the hub's table can't be read");
    Status::internal(error.to_string())
}
