//! A connection to a hub, an engine, or the user's agent, and the questions that can be asked over it.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hands_link::Address;
use hands_proto::MTIME;
use hands_proto::longrunning::CancelOperationRequest;
use hands_proto::longrunning::operations_client::OperationsClient;
use hands_proto::reapi::capabilities_client::CapabilitiesClient;
use hands_proto::reapi::{CacheCapabilities, GetCapabilitiesRequest, ServerCapabilities};
use hands_proto::v1::jobs_client::JobsClient;
use hands_proto::v1::{
    self, CloseOutputRequest, DrainWorkerRequest, GetRequest, InfoReply, InfoRequest,
    ListWorkersRequest, OverviewRequest, Property,
};
use hands_reapi::{BlobClient, Channel};
use hands_types::{DigestFunction, Platform};
use prost::Message;
use tokio::sync::{Semaphore, watch};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request};

use crate::retry::{Backoff, Contact};
use crate::uploader::Uploader;
use crate::{
    AgentSpec, AgentStatus, ClientError, Fetched, HubInfo, Invocation, JobInfo, JobResult,
    JobState, JobStream, ListRequest, Overview, Session, Target, WorkerInfo, agent, fetch,
    metadata,
};

/// A connection over which actions are submitted and asked about. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    channel: Channel,
    peer: String,
    kind: ClusterKind,
    target: Target,
    instance: String,
    function: DigestFunction,
    invocation: Invocation,
    metadata: Bytes,
    uploader: Arc<Uploader>,
    blobs: BlobClient,
    contact: Contact,
    large_files: Semaphore,
    room: fetch::Room,
    hello: Option<AgentStatus>,
    info: Option<HubInfo>,
    keeps_times: bool,
}

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// The user's own agent, with an embedded hub.
    Agent,
    /// One of our hubs.
    Hub,
    /// Another REAPI engine: no `hands.v1`, so no lists, terminals, live standard input or options.
    Engine,
}

/// Rows of a list of actions whose asker names no number, as hubs have it.
const USUAL_LIST: usize = 100;

impl Cluster {
    /// Connects and agrees on versions: one round trip. Starts the agent where that is the target and it does not run;
    /// waits for a hub that can't be reached as long as the target allows, and then says once to `waiting` what for.
    pub async fn connect(
        target: Target,
        invocation: Invocation,
        mut waiting: impl FnMut(String),
    ) -> Result<Self, ClientError> {
        let encoded = Bytes::from(invocation.request_metadata(None, "", "").encode_to_vec());
        let mut keeps_times = true;
        let mut cache = None;
        // The agent is.
        let mut is_local = true;
        let (channel, peer, kind, instance, hello, info) = match &target {
            Target::Agent(spec) => {
                let (channel, hello) = agent::ensure(spec, &mut waiting).await?;
                (
                    Channel::from(channel),
                    "the agent".to_owned(),
                    ClusterKind::Agent,
                    String::new(),
                    Some(AgentStatus::from(hello)),
                    None,
                )
            }
            Target::Hub { address, instance, patience, .. } => {
                let way = hands_link::Way::to(address);
                // What the handshake measures decides on windows and keepalive. Where nobody answers, the first call says so.
                if let Err(error) = way.open().await {
                    tracing::debug!(%error, "not yet connected");
                }
                let channel = Channel::with_headers(way.channel(), address.headers())
                    .map_err(|error| ClientError::Spec(error.to_string()))?;
                let peer = address.describe();
                // What was named as an engine is used as one, also where it is a hub of ours.
                let is_engine = matches!(address, Address::Engine(_));
                let mut backoff = Backoff::new(Some(*patience));
                let contact = Contact::new();
                let trouble = contact.trouble();
                let mut told = false;
                let mut asked_for_tls = false;
                let (kind, info) = loop {
                    let greeted = match is_engine {
                        true => Ok(None),
                        false => greet(&channel, &peer, &encoded).await,
                    };
                    let checked = match greeted {
                        Ok(None) => check_engine(&channel, &peer, instance).await.map(|engine| {
                            keeps_times = engine.keeps_times;
                            cache = Some(engine.cache);
                            None
                        }),
                        greeted => greeted,
                    };
                    match checked {
                        Ok(Some(info)) => break (ClusterKind::Hub, Some(info)),
                        Ok(None) => break (ClusterKind::Engine, None),
                        Err(error) if error.is_lost_connection() => {
                            if let Address::Tcp(at) = address
                                && matches!(error, ClientError::Connect { .. })
                                && !asked_for_tls
                            {
                                // Asked once of whoever is there: one that is silent costs time.
                                match Box::pin(hands_link::speaks_tls(*at)).await {
                                    Some(true) => return Err(ClientError::WantsTls { peer }),
                                    Some(false) => asked_for_tls = true,
                                    None => {}
                                }
                            }
                            let why = match &error {
                                ClientError::Connect { why, .. } => why.clone(),
                                other => other.to_string(),
                            };
                            match backoff.pause(&contact, &peer, &error).await {
                                Err(ClientError::Lost { peer, waited, .. }) => {
                                    return Err(ClientError::Unreachable { peer, waited, why });
                                }
                                other => other?,
                            }
                            if !told && let Some(trouble) = &*trouble.borrow() {
                                told = true;
                                waiting(trouble.clone());
                            }
                        }
                        Err(error) => return Err(error),
                    }
                };
                // It was reached by now: also a member of a cluster may be on the hub's own machine.
                is_local = address.is_local() || way.is_here();
                (channel, peer, kind, instance.clone(), None, info.map(HubInfo::from))
            }
        };
        let mut with_metadata = MetadataMap::new();
        metadata::insert_metadata(&mut with_metadata, &encoded);
        let for_blobs = channel.clone().adding(with_metadata);
        let function = DigestFunction::Sha256;
        // A Unix socket or the loopback moves bytes faster than any compressor.
        let blobs = BlobClient::new(for_blobs, &instance, function).with_compression(!is_local);
        let blobs = match &cache {
            None => blobs.of_hub(),
            Some(cache) => blobs.announced(cache).map_err(|error| ClientError::Protocol {
                peer: peer.clone(),
                why: error.to_string(),
            })?,
        };
        let uploader = Arc::new(Uploader::new(blobs.clone().impatient()));
        let inner = Inner {
            channel,
            peer,
            kind,
            target,
            instance,
            function,
            invocation,
            metadata: encoded,
            uploader,
            blobs,
            contact: Contact::new(),
            large_files: Semaphore::new(fetch::LARGE_FILES),
            room: fetch::Room::default(),
            hello,
            info,
            keeps_times,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a session, over which many actions are submitted and followed.
    pub async fn session(&self) -> Result<Session, ClientError> {
        Session::open(self).await
    }

    /// Where it goes.
    pub(crate) fn target(&self) -> &Target {
        &self.inner.target
    }

    /// What is known of the other end's being there.
    pub(crate) fn contact(&self) -> &Contact {
        &self.inner.contact
    }

    /// Turns for large files that come here: each holds descriptors.
    pub(crate) fn large_files(&self) -> &Semaphore {
        &self.inner.large_files
    }

    /// What is still to be written of all outputs that come here.
    pub(crate) fn room(&self) -> &fetch::Room {
        &self.inner.room
    }

    /// What requests wait for, as a sentence, after they have waited a second for a hub that has gone or an engine that can't
    /// now; none once there is an answer.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.inner.contact.trouble()
    }

    /// What is at the other end.
    pub fn kind(&self) -> ClusterKind {
        self.inner.kind
    }

    /// The other end, as messages name it.
    pub fn peer(&self) -> &str {
        &self.inner.peer
    }

    /// The agent's greeting: its isolation level, log, state directory. None where the target is a hub.
    pub fn agent_hello(&self) -> Option<&AgentStatus> {
        self.inner.hello.as_ref()
    }

    /// Whether modification times travel in node properties: inputs have them in an action, and its outputs come back with
    /// theirs. Always on our own hub; another engine announces it.
    pub fn keeps_times(&self) -> bool {
        self.inner.keeps_times
    }

    /// The invocation that everything here belongs to.
    pub fn invocation(&self) -> &Invocation {
        &self.inner.invocation
    }

    /// REAPI's instance name.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// The digest function of this connection.
    pub fn function(&self) -> DigestFunction {
        self.inner.function
    }

    /// The channel itself, for services beside REAPI.
    pub(crate) fn channel(&self) -> Channel {
        self.inner.channel.clone()
    }

    /// How to reach the agent.
    pub fn agent_spec(&self) -> &AgentSpec {
        match &self.inner.target {
            Target::Agent(spec) | Target::Hub { agent: spec, .. } => spec,
        }
    }

    /// What moves blobs to and from the cluster's store.
    pub(crate) fn blobs(&self) -> &BlobClient {
        &self.inner.blobs
    }

    pub(crate) fn uploader(&self) -> &Arc<Uploader> {
        &self.inner.uploader
    }

    pub(crate) fn metadata(&self) -> &Bytes {
        &self.inner.metadata
    }

    /// Whether a lost connection should lead to a new agent.
    pub(crate) fn embedded_agent(&self) -> Option<&AgentSpec> {
        match &self.inner.target {
            Target::Agent(spec) => Some(spec),
            Target::Hub { .. } => None,
        }
    }

    /// Puts the outputs of a result in place below a directory. Each file is replaced atomically; nothing else is
    /// touched. Paths are relative to that directory, which stands for the action's working directory.
    pub async fn fetch_outputs(
        &self,
        result: &JobResult,
        below: BorrowedFd<'_>,
    ) -> Result<Fetched, ClientError> {
        let fetched = fetch::fetch(self, &[(result, below)]).await?;
        Ok(fetched.into_iter().next().unwrap_or_default())
    }

    /// The same for many results, each with its directory: what several of them have comes once, and what is small comes many
    /// at once. Where one of them fails, all do. Several may go into one directory and share directories there; where two of
    /// them have a file or a link at one path, that is refused before anything is written.
    pub async fn fetch_many(
        &self,
        results: &[(&JobResult, BorrowedFd<'_>)],
    ) -> Result<Vec<Fetched>, ClientError> {
        fetch::fetch(self, results).await
    }

    /// Versions, workers and host roots of a hub; asked for anew unless connecting has just told.
    pub async fn info(&self) -> Result<HubInfo, ClientError> {
        if let Some(info) = &self.inner.info {
            return Ok(info.clone());
        }
        let mut client = JobsClient::new(self.channel());
        let reply = client.info(self.request(InfoRequest::default())).await;
        self.answer("its state", reply).map(HubInfo::from)
    }

    /// The host roots of workers that could take an action with this platform, the most offered first. Where there are none
    /// yet, one that comes is waited for.
    pub(crate) async fn host_roots(
        &self,
        platform: &Platform,
        wait: Duration,
    ) -> Result<Vec<String>, ClientError> {
        let pairs = platform.properties().iter();
        let platform =
            pairs.map(|(name, value)| Property { name: name.clone(), value: value.clone() });
        let request = InfoRequest {
            platform: platform.collect(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let mut client = JobsClient::new(self.channel());
        let reply = client.info(self.request(request)).await;
        Ok(self.answer("what its workers offer", reply)?.host_roots)
    }

    /// Actions, newest first.
    pub async fn list(&self, request: ListRequest) -> Result<Vec<JobInfo>, ClientError> {
        let mut client = JobsClient::new(self.channel());
        let wanted = if request.limit == 0 { USUAL_LIST } else { request.limit as usize };
        let mut jobs = Vec::new();
        let ListRequest { active_only, invocation, .. } = request;
        let mut page = v1::ListRequest { active_only, invocation, ..Default::default() };
        loop {
            page.limit = u32::try_from(wanted - jobs.len()).unwrap_or(u32::MAX);
            let answer = client.list(self.request(page.clone())).await;
            let reply = self.answer("the list of actions", answer)?;
            jobs.extend(reply.jobs.into_iter().map(JobInfo::from));
            let is_last =
                reply.next_page_token.is_empty() || reply.next_page_token == page.page_token;
            if is_last || jobs.len() >= wanted {
                return Ok(jobs);
            }
            page.page_token = reply.next_page_token;
        }
    }

    /// One action, by its id or a unique prefix of it.
    pub async fn get(&self, id: &str) -> Result<JobInfo, ClientError> {
        let mut client = JobsClient::new(self.channel());
        let reply = client.get(self.request(GetRequest { id: id.to_owned() })).await;
        self.answer("the question for an action", reply).map(JobInfo::from)
    }

    /// Ends an action at once, whoever waits for it. Takes an id or a unique prefix; returns the whole id, and whether
    /// there was something left to end.
    pub async fn cancel(&self, id: &str) -> Result<(String, bool), ClientError> {
        let id = match self.inner.kind {
            ClusterKind::Engine => id.to_owned(),
            ClusterKind::Agent | ClusterKind::Hub => {
                let job = self.get(id).await?;
                if job.state == JobState::Done {
                    return Ok((job.id, false));
                }
                job.id
            }
        };
        self.cancel_exactly(&id).await?;
        Ok((id, true))
    }

    pub(crate) async fn cancel_exactly(&self, id: &str) -> Result<(), ClientError> {
        let mut client = OperationsClient::new(self.channel());
        let request = CancelOperationRequest { name: self.operation_name(id) };
        self.answer("the request to cancel", client.cancel_operation(self.request(request)).await)
            .map(drop)
    }

    pub(crate) async fn close_output(
        &self,
        id: &str,
        stream: JobStream,
    ) -> Result<(), ClientError> {
        let request = CloseOutputRequest {
            operation: id.to_owned(),
            stdout: stream == JobStream::Stdout,
            stderr: stream == JobStream::Stderr,
        };
        let mut client = JobsClient::new(self.channel());
        let reply = client.close_output(self.request(request)).await;
        self.answer("the request to close a stream", reply).map(drop)
    }

    /// The workers that are connected.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, ClientError> {
        let mut client = JobsClient::new(self.channel());
        let mut workers = Vec::new();
        let mut page = ListWorkersRequest::default();
        loop {
            let answer = client.list_workers(self.request(page.clone())).await;
            let reply = self.answer("the list of workers", answer)?;
            workers.extend(reply.workers.into_iter().map(WorkerInfo::from));
            if reply.next_page_token.is_empty() || reply.next_page_token == page.page_token {
                return Ok(workers);
            }
            page.page_token = reply.next_page_token;
        }
    }

    /// What goes on, in at most `rows` rows of each list. Cheap for the hub: to be asked each second.
    pub async fn overview(&self, rows: u32) -> Result<Overview, ClientError> {
        let mut client = JobsClient::new(self.channel());
        let request = self.request(OverviewRequest { rows });
        self.answer("what goes on", client.overview(request).await).map(Overview::from)
    }

    /// Lets a worker end its actions and leave.
    pub async fn drain_worker(&self, worker: &str) -> Result<(), ClientError> {
        let mut client = JobsClient::new(self.channel());
        let request = self.request(DrainWorkerRequest { worker: worker.to_owned() });
        self.answer("the request to drain a worker", client.drain_worker(request).await).map(drop)
    }

    pub(crate) fn operation_name(&self, id: &str) -> String {
        match self.inner.kind {
            ClusterKind::Engine => id.to_owned(),
            ClusterKind::Agent | ClusterKind::Hub => format!("operations/{id}"),
        }
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.add_metadata(request.metadata_mut());
        request
    }

    pub(crate) fn add_metadata(&self, map: &mut MetadataMap) {
        metadata::insert_metadata(map, &self.inner.metadata);
    }

    pub(crate) fn answer<T>(
        &self,
        what: &'static str,
        result: Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, ClientError> {
        match result {
            Ok(response) => Ok(response.into_inner()),
            Err(status)
                if self.kind() == ClusterKind::Engine && status.code() == Code::Unimplemented =>
            {
                Err(ClientError::NotOurs { what, peer: self.inner.peer.clone() })
            }
            Err(status) => Err(self.failed(what, &status)),
        }
    }

    /// What a request was answered with, as an error that says who spoke.
    pub(crate) fn failed(&self, what: &'static str, status: &tonic::Status) -> ClientError {
        match self.kind() {
            ClusterKind::Engine => ClientError::foreign(what, &self.inner.peer, status),
            ClusterKind::Agent | ClusterKind::Hub => {
                ClientError::rpc(what, &self.inner.peer, status)
            }
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("peer", &self.inner.peer)
            .field("kind", &self.inner.kind)
            .finish_non_exhaustive()
    }
}

/// Asks for versions. None: no hub of ours.
async fn greet(
    channel: &Channel,
    peer: &str,
    encoded: &Bytes,
) -> Result<Option<InfoReply>, ClientError> {
    let mut request = Request::new(InfoRequest::default());
    metadata::insert_metadata(request.metadata_mut(), encoded);
    match JobsClient::new(channel.clone()).info(request).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            agent::check_version("hub", &reply.protocol.clone().unwrap_or_default())?;
            Ok(Some(reply))
        }
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(ClientError::rpc("the greeting", peer, &status)),
    }
}

/// What another engine announces.
struct Announced {
    keeps_times: bool,
    cache: CacheCapabilities,
}

/// Makes sure that an engine executes.
async fn check_engine(
    channel: &Channel,
    peer: &str,
    instance: &str,
) -> Result<Announced, ClientError> {
    let request = GetCapabilitiesRequest { instance_name: instance.to_owned() };
    let reply: ServerCapabilities = CapabilitiesClient::new(channel.clone())
        .get_capabilities(request)
        .await
        .map_err(|status| ClientError::foreign("its capabilities", peer, &status))?
        .into_inner();
    if let Some(execution) = reply.execution_capabilities.filter(|e| e.exec_enabled) {
        let keeps_times = execution.supported_node_properties.iter().any(|name| name == MTIME);
        return Ok(Announced { keeps_times, cache: reply.cache_capabilities.unwrap_or_default() });
    }
    Err(ClientError::Rpc {
        what: "its capabilities",
        peer: peer.to_owned(),
        code: crate::Code::Unimplemented,
        message: "it does not execute actions".to_owned(),
    })
}
