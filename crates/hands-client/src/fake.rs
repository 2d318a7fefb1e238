//! An engine of the tests'. It runs nothing: a test says what it answers, and counts what it was asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use hands_link::Listener;
use hands_proto::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use hands_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};
use hands_proto::longrunning::Operation;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::batch_update_blobs_response::Response as Taken;
use hands_proto::reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use hands_proto::reapi::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use hands_proto::reapi::execution_server::{Execution, ExecutionServer};
use hands_proto::reapi::{
    BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest,
    BatchUpdateBlobsResponse, ExecuteRequest, ExecuteResponse, ExecutionCapabilities,
    FindMissingBlobsRequest, FindMissingBlobsResponse, GetCapabilitiesRequest, GetTreeRequest,
    GetTreeResponse, ServerCapabilities, SpliceBlobRequest, SpliceBlobResponse, SplitBlobRequest,
    SplitBlobResponse, WaitExecutionRequest,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{AgentSockets, AgentSpec, Cluster, Invocation, Target};

pub(crate) type Answers<T> = BoxStream<'static, Result<T, Status>>;
type Stream<Q, A> = Box<dyn Fn(usize, Q) -> Result<Answers<A>, Status> + Send + Sync>;
type Single<Q, A> = Box<dyn Fn(usize, Q) -> Result<A, Status> + Send + Sync>;

/// What it answers. Each is told how many calls of its kind came before.
pub(crate) struct Script {
    pub(crate) execute: Stream<ExecuteRequest, Operation>,
    pub(crate) wait: Stream<WaitExecutionRequest, Operation>,
    pub(crate) read: Stream<ReadRequest, ReadResponse>,
    pub(crate) batch_read: Single<BatchReadBlobsRequest, BatchReadBlobsResponse>,
    pub(crate) find_missing: Single<FindMissingBlobsRequest, FindMissingBlobsResponse>,
}

impl Default for Script {
    fn default() -> Self {
        let nothing = || Err(Status::not_found("nothing is here"));
        Self {
            execute: Box::new(|_, _| Ok(stream::empty().boxed())),
            wait: Box::new(move |_, _| nothing()),
            read: Box::new(|_, _| Err(Status::not_found("nothing is here"))),
            batch_read: Box::new(|_, _| Err(Status::not_found("nothing is here"))),
            find_missing: Box::new(|_, _| Ok(FindMissingBlobsResponse::default())),
        }
    }
}

/// How often it was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    execute: AtomicUsize,
    wait: AtomicUsize,
    read: AtomicUsize,
    batch_read: AtomicUsize,
    find_missing: AtomicUsize,
}

impl Asked {
    pub(crate) fn executes(&self) -> usize {
        self.execute.load(Ordering::SeqCst)
    }

    pub(crate) fn waits(&self) -> usize {
        self.wait.load(Ordering::SeqCst)
    }
}

/// An engine that serves, until it is dropped.
pub(crate) struct Engine {
    pub(crate) cluster: Cluster,
    pub(crate) asked: Arc<Asked>,
    server: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Engine {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().unwrap().clone();
        let asked = Arc::new(Asked::default());
        let scripted = Arc::new(Scripted { script, asked: Arc::clone(&asked) });
        let serving = hands_link::server()
            .add_service(CapabilitiesServer::from_arc(Arc::clone(&scripted)))
            .add_service(ContentAddressableStorageServer::from_arc(Arc::clone(&scripted)))
            .add_service(ByteStreamServer::from_arc(Arc::clone(&scripted)))
            .add_service(ExecutionServer::from_arc(scripted))
            .serve_with_incoming(listener.incoming());
        let server = tokio::spawn(serving);
        let nowhere = Path::new("/nonexistent");
        let agent = AgentSpec {
            sockets: vec![AgentSockets::at(nowhere)],
            start_lock: nowhere.join("start"),
            life_lock: nowhere.join("life"),
            log: nowhere.join("log"),
            program: nowhere.join("hands"),
            environment: Vec::new(),
            arguments: Vec::new(),
            start: false,
        };
        let patience = Duration::from_secs(5);
        let target = Target::Hub { address, instance: String::new(), patience, agent };
        let cluster =
            Cluster::connect(target, Invocation::new("test").unwrap(), |_| {}).await.unwrap();
        Self { cluster, asked, server }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The message of an operation that has ended.
pub(crate) fn done(name: &str, response: &ExecuteResponse) -> Operation {
    Operation {
        name: name.to_owned(),
        done: true,
        result: Some(OperationResult::Response(hands_proto::pack(response))),
        ..Operation::default()
    }
}

/// These messages, and then the end of the stream.
pub(crate) fn these<T: Send + 'static>(
    all: impl IntoIterator<Item = Result<T, Status>>,
) -> Answers<T> {
    stream::iter(all.into_iter().collect::<Vec<_>>()).boxed()
}

struct Scripted {
    script: Script,
    asked: Arc<Asked>,
}

fn number(of: &AtomicUsize) -> usize {
    of.fetch_add(1, Ordering::SeqCst)
}

#[tonic::async_trait]
impl Capabilities for Scripted {
    async fn get_capabilities(
        &self,
        _: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        let execution = ExecutionCapabilities { exec_enabled: true, ..Default::default() };
        let execution_capabilities = Some(execution);
        Ok(Response::new(ServerCapabilities { execution_capabilities, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl Execution for Scripted {
    type ExecuteStream = Answers<Operation>;
    type WaitExecutionStream = Answers<Operation>;

    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        (self.script.execute)(number(&self.asked.execute), request.into_inner()).map(Response::new)
    }

    async fn wait_execution(
        &self,
        request: Request<WaitExecutionRequest>,
    ) -> Result<Response<Self::WaitExecutionStream>, Status> {
        (self.script.wait)(number(&self.asked.wait), request.into_inner()).map(Response::new)
    }
}

#[tonic::async_trait]
impl ByteStream for Scripted {
    type ReadStream = Answers<ReadResponse>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        (self.script.read)(number(&self.asked.read), request.into_inner()).map(Response::new)
    }

    async fn write(
        &self,
        _: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        Err(Status::unimplemented("nobody writes"))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented("nobody writes"))
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Scripted {
    type GetTreeStream = Answers<GetTreeResponse>;

    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let number = number(&self.asked.find_missing);
        (self.script.find_missing)(number, request.into_inner()).map(Response::new)
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let taken = request.into_inner().requests.into_iter();
        let taken = taken.map(|blob| Taken { digest: blob.digest, ..Taken::default() });
        Ok(Response::new(BatchUpdateBlobsResponse { responses: taken.collect() }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let number = number(&self.asked.batch_read);
        (self.script.batch_read)(number, request.into_inner()).map(Response::new)
    }

    async fn get_tree(
        &self,
        _: Request<GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(Status::unimplemented("trees"))
    }

    async fn split_blob(
        &self,
        _: Request<SplitBlobRequest>,
    ) -> Result<Response<SplitBlobResponse>, Status> {
        Err(Status::unimplemented("chunks"))
    }

    async fn splice_blob(
        &self,
        _: Request<SpliceBlobRequest>,
    ) -> Result<Response<SpliceBlobResponse>, Status> {
        Err(Status::unimplemented("chunks"))
    }
}
