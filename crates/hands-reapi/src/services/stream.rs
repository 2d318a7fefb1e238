//! ByteStream: what the three calls share.

use std::sync::Arc;

use hands_proto::Charge;
use hands_proto::bytestream::byte_stream_server::ByteStream;
use hands_proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, WriteRequest, WriteResponse,
};
use tonic::{Request, Response, Status, Streaming};

use super::read::{self, ReadStream};
use super::uploads::Uploads;
use super::write;
use crate::{Backend, Invocation, UploadName, store_status};

/// Serves blobs of any size and logs.
#[derive(Debug)]
pub struct ByteStreamService {
    backend: Backend,
    uploads: Arc<Uploads>,
}

impl ByteStreamService {
    pub(super) fn new(backend: &Backend) -> Self {
        Self { backend: backend.clone(), uploads: Arc::default() }
    }
}

#[tonic::async_trait]
impl ByteStream for ByteStreamService {
    type ReadStream = ReadStream;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadStream>, Status> {
        let charge = Charge::of(&request);
        read::read(&self.backend, request.into_inner(), charge).await.map(Response::new)
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let stream = request.into_inner();
        let (store, uploads) = (&self.backend.store, &self.uploads);
        let committed_size = write::write(store, uploads, invocation, stream, charge).await?;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let name = UploadName::parse(&request.into_inner().resource_name)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let digest = name.blob.digest;
        let complete = self.backend.store.contains(&digest).map_err(|e| store_status(&e))?;
        // Of an upload that is not known nothing is committed. NOT_FOUND would be as right, but ends Bazel's upload
        // where 0 makes it start again.
        let committed = if complete { digest.size } else { self.uploads.written(&name) };
        Ok(Response::new(QueryWriteStatusResponse {
            committed_size: committed.cast_signed(),
            complete,
        }))
    }
}
