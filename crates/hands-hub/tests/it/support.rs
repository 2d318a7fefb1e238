//! A hub in a directory of its own, and what clients do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hands_hub::{Hub, HubConfig};
use hands_link::Pipe;
use hands_proto::bytestream::ReadRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::longrunning::operation::Result as Outcome;
use hands_proto::longrunning::operations_client::OperationsClient;
use hands_proto::longrunning::{CancelOperationRequest, GetOperationRequest, Operation};
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::v1::jobs_client::JobsClient;
use hands_proto::{EXECUTE_OPTIONS, REQUEST_METADATA, reapi, unpack, v1};
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::worker::Worker;

/// Nothing in these tests takes this long; what does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}

/// A directory that goes with the test.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("hub-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A test that failed may have left it half used.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A hub and its store.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) pipe: Pipe,
    change: fn(&mut HubConfig),
    pub(crate) dir: Dir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: fn(&mut HubConfig)) -> Self {
        Self::with_both(change, |_| {})
    }

    pub(crate) fn with_store(change: impl FnOnce(&mut StoreConfig)) -> Self {
        Self::with_both(|_| {}, change)
    }

    fn with_both(change: fn(&mut HubConfig), of_store: impl FnOnce(&mut StoreConfig)) -> Self {
        let dir = Dir::new();
        let mut config = StoreConfig::new(dir.0.join("store"));
        of_store(&mut config);
        let store = Store::open(config).unwrap();
        let (hub, pipe) = Self::open(&dir, &store, change);
        Self { store, hub, pipe, change, dir }
    }

    /// The hub and its store end, and others open the same state.
    pub(crate) async fn reopen(&mut self, of_store: impl FnOnce(&mut StoreConfig)) {
        soon("the hub's end", self.hub.close()).await;
        // The old ones hold the store's lock for as long as anything of them lives; these hold nothing.
        let Self { dir: Dir(path), .. } = self;
        let mut config = StoreConfig::new(path.join("store"));
        of_store(&mut config);
        let elsewhere = StoreConfig::new(path.join("another-store"));
        self.store = Store::open(elsewhere.clone()).unwrap();
        (self.hub, self.pipe) = {
            let mut config = HubConfig::new(path.join("another-hub"), self.store.clone());
            (self.change)(&mut config);
            let hub = Hub::open(config).unwrap();
            let pipe = hub.pipe();
            (hub, pipe)
        };
        self.store = soon("the store's lock", async {
            loop {
                match Store::open(config.clone()) {
                    Ok(store) => return store,
                    Err(hands_store::StoreError::Locked { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
        (self.hub, self.pipe) = Self::open(&self.dir, &self.store, self.change);
    }

    fn open(dir: &Dir, store: &Store, change: fn(&mut HubConfig)) -> (Hub, Pipe) {
        let mut config = HubConfig::new(dir.0.join("hub"), store.clone());
        change(&mut config);
        let hub = Hub::open(config).unwrap();
        let pipe = hub.pipe();
        (hub, pipe)
    }

    pub(crate) fn config(&self) -> HubConfig {
        HubConfig::new(self.dir.0.join("hub"), self.store.clone())
    }

    /// The hub ends and another one opens the same state.
    pub(crate) async fn restart(&mut self) {
        soon("the hub's end", self.hub.close()).await;
        (self.hub, self.pipe) = Self::open(&self.dir, &self.store, self.change);
    }

    /// The hub is gone in this instant, as by `kill -9`: another one opens what stands in its files now, while the old one
    /// still holds all that it had in memory.
    pub(crate) async fn kill(&mut self) {
        let (from, to) = (self.dir.0.join("hub"), self.dir.0.join("image"));
        copy(&from, &to);
        soon("the old hub's end", self.hub.close()).await;
        std::fs::remove_dir_all(&from).unwrap();
        std::fs::rename(&to, &from).unwrap();
        (self.hub, self.pipe) = Self::open(&self.dir, &self.store, self.change);
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> Client {
        Client { channel: self.pipe.connect() }
    }

    pub(crate) async fn worker(&self, name: &str) -> Worker {
        Worker::connect(&self.pipe, name).await
    }

    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        self.store.put_bytes(DigestFunction::Sha256, bytes).unwrap()
    }

    /// Stores an action and its command.
    pub(crate) fn action(
        &self,
        change: impl FnOnce(&mut reapi::Action, &mut reapi::Command),
    ) -> Digest {
        let (action, command) = messages(change);
        self.blob(&command.encode_to_vec());
        self.blob(&action.encode_to_vec())
    }

    /// An action that is never cached and carries this salt.
    pub(crate) fn salted(&self, salt: &'static str) -> Digest {
        self.action(|action, _| {
            action.do_not_cache = true;
            action.salt = Bytes::from_static(salt.as_bytes());
        })
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn messages(
    change: impl FnOnce(&mut reapi::Action, &mut reapi::Command),
) -> (reapi::Action, reapi::Command) {
    let mut command = reapi::Command { arguments: vec!["/bin/true".into()], ..Default::default() };
    let mut action = reapi::Action {
        input_root_digest: Some(hands_tree::empty(DigestFunction::Sha256).into()),
        ..Default::default()
    };
    change(&mut action, &mut command);
    let bytes = command.encode_to_vec();
    action.command_digest = Some(hands_tree::hash(DigestFunction::Sha256, &bytes).into());
    (action, command)
}

pub(crate) fn property(name: &str, value: &str) -> reapi::platform::Property {
    reapi::platform::Property { name: name.into(), value: value.into() }
}

/// A client with a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
}

/// A stream of one operation.
pub(crate) struct Following {
    pub(crate) stream: Streaming<Operation>,
    pub(crate) first: Operation,
}

impl Client {
    pub(crate) async fn execute(&self, digest: Digest) -> Result<Following, Status> {
        self.execute_with(digest, |_| {}, None).await
    }

    pub(crate) async fn execute_with(
        &self,
        digest: Digest,
        change: impl FnOnce(&mut reapi::ExecuteRequest),
        options: Option<v1::ExecuteOptions>,
    ) -> Result<Following, Status> {
        let mut request =
            reapi::ExecuteRequest { action_digest: Some(digest.into()), ..Default::default() };
        change(&mut request);
        self.send(request, "an-invocation", options).await
    }

    /// The same for another invocation.
    pub(crate) async fn execute_as(
        &self,
        digest: Digest,
        invocation: &str,
    ) -> Result<Following, Status> {
        let request =
            reapi::ExecuteRequest { action_digest: Some(digest.into()), ..Default::default() };
        self.send(request, invocation, None).await
    }

    async fn send(
        &self,
        request: reapi::ExecuteRequest,
        invocation: &str,
        options: Option<v1::ExecuteOptions>,
    ) -> Result<Following, Status> {
        let mut request = Request::new(request);
        let metadata = reapi::RequestMetadata {
            tool_invocation_id: invocation.into(),
            action_mnemonic: "Test".into(),
            ..Default::default()
        };
        request
            .metadata_mut()
            .insert_bin(REQUEST_METADATA, MetadataValue::from_bytes(&metadata.encode_to_vec()));
        if let Some(options) = options {
            request
                .metadata_mut()
                .insert_bin(EXECUTE_OPTIONS, MetadataValue::from_bytes(&options.encode_to_vec()));
        }
        let mut client = ExecutionClient::new(self.channel.clone());
        let stream = soon("Execute's answer", client.execute(request)).await?.into_inner();
        Following::new(stream).await
    }

    pub(crate) async fn wait(&self, name: &str) -> Result<Following, Status> {
        let mut client = ExecutionClient::new(self.channel.clone());
        let request = reapi::WaitExecutionRequest { name: name.into() };
        let stream =
            soon("WaitExecution's answer", client.wait_execution(request)).await?.into_inner();
        Following::new(stream).await
    }

    pub(crate) fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Operation, Status> {
        let request = GetOperationRequest { name: name.into() };
        soon("the operation", self.operations().get_operation(request))
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<(), Status> {
        let request = CancelOperationRequest { name: name.into() };
        soon("the cancel's answer", self.operations().cancel_operation(request)).await.map(drop)
    }

    pub(crate) fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    pub(crate) async fn job(&self, id: &str) -> v1::Job {
        soon("the job", self.jobs().get(v1::GetRequest { id: id.into() }))
            .await
            .unwrap()
            .into_inner()
    }

    /// Waits until an action is as it should be. Asked again and again: there is no stream of jobs.
    pub(crate) async fn job_until(&self, id: &str, is: impl Fn(&v1::Job) -> bool) -> v1::Job {
        soon("the job's state", async {
            loop {
                let job = self.job(id).await;
                if is(&job) {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub(crate) async fn read(
        &self,
        name: &str,
        offset: i64,
    ) -> Result<Streaming<hands_proto::bytestream::ReadResponse>, Status> {
        let request =
            ReadRequest { resource_name: name.into(), read_offset: offset, read_limit: 0 };
        let mut client = ByteStreamClient::new(self.channel.clone());
        soon("Read's answer", client.read(request)).await.map(tonic::Response::into_inner)
    }
}

impl Following {
    pub(crate) async fn new(mut stream: Streaming<Operation>) -> Result<Self, Status> {
        let first = soon("the first message", stream.message()).await?.expect("a first message");
        Ok(Self { stream, first })
    }

    pub(crate) fn name(&self) -> &str {
        &self.first.name
    }

    pub(crate) fn id(&self) -> String {
        self.first.name.strip_prefix("operations/").unwrap().to_owned()
    }

    pub(crate) async fn next(&mut self) -> Operation {
        soon("the next message", self.stream.message()).await.unwrap().expect("a next message")
    }

    /// All stages up to the end, and the response.
    pub(crate) async fn finish(
        mut self,
    ) -> (Vec<reapi::execution_stage::Value>, reapi::ExecuteResponse) {
        let mut stages = vec![stage(&self.first)];
        let mut last = self.first.clone();
        while !last.done {
            last = self.next().await;
            stages.push(stage(&last));
        }
        assert!(soon("the stream's end", self.stream.message()).await.unwrap().is_none());
        (stages, response(&last))
    }

    pub(crate) async fn response(self) -> reapi::ExecuteResponse {
        self.finish().await.1
    }
}

pub(crate) fn stage(operation: &Operation) -> reapi::execution_stage::Value {
    metadata(operation).stage()
}

pub(crate) fn metadata(operation: &Operation) -> reapi::ExecuteOperationMetadata {
    unpack(operation.metadata.as_ref().expect("metadata")).expect("ExecuteOperationMetadata")
}

pub(crate) fn response(operation: &Operation) -> reapi::ExecuteResponse {
    match operation.result.as_ref().expect("a result") {
        Outcome::Error(status) => panic!("Operation.error is never set: {status:?}"),
        Outcome::Response(any) => unpack(any).expect("ExecuteResponse"),
    }
}

pub(crate) fn code(response: &reapi::ExecuteResponse) -> tonic::Code {
    tonic::Code::from(response.status.clone().unwrap_or_default().code)
}

pub(crate) fn ours() -> v1::ExecuteOptions {
    v1::ExecuteOptions::default()
}
