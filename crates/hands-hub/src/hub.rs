//! The hub as its program sees it.

mod distance;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hands_link::{Listener, Parameters, Pipe, ServerTls};
use hands_proto::longrunning::operations_server::OperationsServer;
use hands_proto::reapi::execution_server::ExecutionServer;
use hands_proto::v1;
use hands_proto::v1::actions_server::ActionsServer;
use hands_proto::v1::authority_server::AuthorityServer;
use hands_proto::v1::enrolment_server::EnrolmentServer;
use hands_proto::v1::jobs_server::JobsServer;
use hands_proto::v1::stores_server::StoresServer;
use hands_proto::v1::workers_server::WorkersServer;
use hands_reapi::Backend;
use hands_store::Store;
use hands_types::Roles;
use hands_types::limits::MAX_MESSAGE;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::service::Routes;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use crate::access::{AccessLayer, Actions, MeterLayer};
use crate::actions::{ActionsService, Sessions};
use crate::core::{Core, CoreConfig, Event, Parts, unix_millis};
use crate::db::{Bounds, Db};
use crate::enrolment::EnrolmentService;
use crate::execution::ExecutionService;
use crate::history::History;
use crate::jobs::JobsService;
use crate::ledger::Ledger;
use crate::logs::Logs;
use crate::operations::OperationsService;
use crate::operators::AuthorityService;
use crate::shared::{Shared, WALKS};
use crate::stores::StoresService;
use crate::trees::Trees;
use crate::trust::Trust;
use crate::workers::{PROTOCOL, WorkersService};
use crate::{HubConfig, HubError, TrustConfig};

/// How long a hub that ends keeps what cancelled actions wrote.
const LAST_STREAMS: Duration = Duration::from_secs(5);

/// How busy a hub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Actions in the queue.
    pub queued: usize,
    /// Actions that a worker has.
    pub running: usize,
    /// Of both, those that nobody waits for and that are kept all the same.
    pub detached: usize,
    /// Streams of clients that wait for an action.
    pub clients: usize,
}

impl Activity {
    /// Whether there is nothing to stay for.
    pub const fn is_idle(&self) -> bool {
        self.queued == 0 && self.running == 0 && self.detached == 0 && self.clients == 0
    }
}

/// A running hub. Cheap to clone; every clone is the same hub.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    activity: watch::Receiver<Activity>,
    closed: watch::Receiver<bool>,
    close: Arc<watch::Sender<bool>>,
}

impl Hub {
    /// As [`Hub::open`], and takes members in. Must be called within a tokio runtime.
    pub fn open_for_others(config: HubConfig, trust: TrustConfig) -> Result<Self, HubError> {
        Self::open_with(config, Some(trust))
    }

    /// Opens the state, takes up what a hub before it left, and starts. Must be called within a tokio runtime; blocks
    /// for as long as reading the table takes.
    pub fn open(config: HubConfig) -> Result<Self, HubError> {
        Self::open_with(config, None)
    }

    fn open_with(config: HubConfig, trust: Option<TrustConfig>) -> Result<Self, HubError> {
        let dir = &config.state_dir;
        let io = |what| {
            let path = dir.clone();
            move |source| HubError::Io { what, path, source }
        };
        hands_link::private_directory(dir).map_err(HubError::Private)?;
        let bounds = Bounds {
            age: config.history_age,
            bytes: config.history_bytes,
            retained: config.salted_result,
        };
        let db = Arc::new(Db::open(dir, bounds)?);
        let hub_id =
            db.fact("hub-id", || hands_types::WorkerId(crate::id::random()).to_string())?;
        let trust = trust.map(|trust| Trust::open(dir, &hub_id, trust)).transpose()?.map(Arc::new);
        if trust.is_some() {
            db.look_for(Trust::place(dir)?);
        }
        let history = History::new(db.durations()?);
        let logs = Logs::open(&dir.join("streams"), config.stream_memory, config.stream_limit);
        let logs = Arc::new(logs.map_err(io("make the streams' directory in"))?);
        let meter = MeterLayer::new();
        let trees = Arc::new(Trees::new(config.store.clone(), config.pin_inputs, meter.own()));
        let (low, high) = PROTOCOL;
        let protocol = v1::Protocol {
            low,
            high,
            build_id: config.build_id.clone(),
            version: config.version.clone(),
        };
        let ledger = Arc::new(Ledger::default());
        let (activity, watched) = watch::channel(Activity::default());
        let core = CoreConfig {
            lease: config.lease,
            orphan: config.orphan,
            hub_id: hub_id.clone(),
            protocol: protocol.clone(),
            scheduler: config.scheduler.clone(),
            queue_timeout: config.queue_timeout,
            queue_timeout_foreign: config.queue_timeout_foreign,
        };
        let parts = Parts {
            store: config.store.clone(),
            db: Arc::clone(&db),
            logs: Arc::clone(&logs),
            trees: Arc::clone(&trees),
            history,
            ledger: Arc::clone(&ledger),
            activity,
        };
        let core = Core::start(core, parts)?;
        let shared = Arc::new(Shared {
            core,
            store: config.store.clone(),
            db,
            ledger,
            logs,
            sessions: Sessions::default(),
            trees,
            hub_id,
            protocol,
            started: unix_millis(),
            keepalive: config.keepalive,
            max_timeout: config.max_timeout,
            salted_result: config.salted_result,
            trust,
            metrics: Arc::default(),
            meter,
            walks: Semaphore::new(WALKS),
        });
        if let Some(give_back) = config.give_back {
            let (ledger, activity) = (Arc::clone(&shared.ledger), watched.clone());
            let actions = Actions { ledger, activity };
            crate::task::spawn("memory", shared.meter.give_back_with(give_back, actions));
        }
        let (close, closed) = watch::channel(false);
        if let Some(trust) = &shared.trust {
            let renewing = Arc::clone(trust).keep_fresh(closed.clone());
            crate::task::spawn("hub-certificate", renewing);
            let ending = Arc::clone(trust).cut_expired(closed.clone());
            crate::task::spawn("hub-expiry", ending);
        }
        Ok(Self { shared, activity: watched, closed, close: Arc::new(close) })
    }

    /// All of the hub's services, for a server that has more.
    pub fn routes(&self) -> Routes {
        let shared = &self.shared;
        let backend = Backend {
            store: shared.store.clone(),
            logs: Arc::new(crate::log_source::Logs(Arc::clone(shared))),
            exec_enabled: true,
            update_enabled: true,
        };
        Routes::new(hands_reapi::services::capabilities(&backend))
            .add_service(hands_reapi::services::cas(&backend))
            .add_service(hands_reapi::services::action_cache(&backend))
            .add_service(hands_reapi::services::byte_stream(&backend))
            .add_service(hands_reapi::services::fetch(&backend))
            .add_service(hands_reapi::services::push(&backend))
            .add_service(
                ExecutionServer::new(ExecutionService(Arc::clone(shared)))
                    .max_decoding_message_size(MAX_MESSAGE),
            )
            .add_service(
                ActionsServer::new(ActionsService(Arc::clone(shared)))
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(usize::MAX),
            )
            .add_service(OperationsServer::new(OperationsService(Arc::clone(shared))))
            .add_service(
                WorkersServer::new(WorkersService(Arc::clone(shared)))
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(usize::MAX),
            )
            .add_service(EnrolmentServer::new(EnrolmentService(Arc::clone(shared))))
            .add_service(AuthorityServer::new(AuthorityService(Arc::clone(shared))))
            .add_service(StoresServer::new(StoresService(Arc::clone(shared))))
            .add_service(
                JobsServer::new(JobsService(Arc::clone(shared)))
                    .max_encoding_message_size(usize::MAX),
            )
    }

    /// Bounds what the calls to [`Hub::routes`] take in memory. For a server that has more services; [`Hub::serve`] has it.
    pub fn meter(&self) -> MeterLayer {
        self.shared.meter.clone()
    }

    /// A server of all services that looks at who calls.
    fn router(
        &self,
        parameters: Parameters,
        routes: Routes,
    ) -> Router<Stack<AccessLayer, Identity>> {
        let access = AccessLayer {
            trust: self.shared.trust.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            meter: self.shared.meter.clone(),
        };
        hands_link::server_with(parameters).layer(access).add_routes(routes)
    }

    /// How connections from elsewhere are encrypted; none if the hub was not opened for others.
    pub fn tls(&self) -> Option<ServerTls> {
        self.shared.trust.as_ref().map(|trust| trust.tls().clone())
    }

    /// A join string for one node, good for an hour. Blocks for as long as a write to the disk takes.
    pub fn invite(&self, roles: Roles) -> Result<String, HubError> {
        let trust = self.shared.trust.as_ref().ok_or(HubError::NoAuthority)?;
        let request =
            v1::CreateTokenRequest { roles: roles.names(), uses: 1, ttl_s: 0, bearer: false };
        let created = trust.create_token(&request);
        created.map(|reply| reply.secret).map_err(|status| HubError::Invitation(Box::new(status)))
    }

    /// The hub's figures as Prometheus reads them. None once the hub has ended.
    pub async fn metrics(&self) -> Option<String> {
        crate::metrics::text(&self.shared).await.ok()
    }

    /// Serves within this process until the hub is closed; gives the end to dial.
    pub fn pipe(&self) -> Pipe {
        let (listener, pipe) = Listener::pipe();
        self.serve(listener);
        pipe
    }

    /// Serves a listener until the hub is closed.
    pub fn serve(&self, listener: Listener) {
        let (near, far) = distance::split(listener.incoming(), self.closed.clone());
        // One for both: an upload that broke off goes on over either.
        let routes = self.routes();
        for (incoming, parameters) in [near, far] {
            let router = self.router(parameters, routes.clone());
            let mut closed = self.closed.clone();
            crate::task::spawn("hub-serve", async move {
                let serving = router.serve_with_incoming_shutdown(incoming, async move {
                    // Its error means that the hub was dropped.
                    let _dropped = closed.wait_for(|closed| *closed).await;
                });
                if let Err(error) = serving.await {
                    tracing::warn!(%error, "a listener has ended");
                }
            });
        }
    }

    /// Blobs and the action cache.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The hub's id; stays the same over restarts.
    pub fn id(&self) -> &str {
        &self.shared.hub_id
    }

    /// How busy the hub is, whenever it changes.
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.clone()
    }

    /// Returns when the hub has ended, because it was closed or because it can't go on. Its log says why.
    pub async fn ended(&self) {
        let mut activity = self.activity.clone();
        while activity.changed().await.is_ok() {}
    }

    /// Stops: sessions and streams end, everything said is durable. What is queued and running is taken up again by the
    /// next [`Hub::open`] of the same directory.
    pub async fn close(&self) {
        self.close.send_replace(true);
        let (done, closed) = oneshot::channel();
        if self.shared.core.send(Event::Close(done)).await {
            // An error says that somebody else closed it.
            let _closed = closed.await;
        }
        // Behind everybody who keeps what an action left; nobody does after this.
        if tokio::time::timeout(LAST_STREAMS, self.shared.logs.last_turn()).await.is_err() {
            tracing::warn!("what some cancelled actions wrote is not kept");
        }
        let db = Arc::clone(&self.shared.db);
        if let Err(status) = crate::task::blocking(move || db.close()).await {
            tracing::error!(%status, "the hub's database was not closed well");
        }
    }
}
