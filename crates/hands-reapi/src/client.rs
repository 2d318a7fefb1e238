//! The blob client that workers and front-ends share; works with any REAPI engine.

mod download;
mod error;
mod fetch;
mod limits;
mod patience;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::digest_function::Value;
use hands_proto::reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use hands_types::limits::MAX_MESSAGE;
use hands_types::{Digest, DigestFunction};
use tokio::sync::OnceCell;
use tonic::Code;

pub use error::{Answer, BlobError};
pub use fetch::Fetched;
pub use patience::passes;
pub use upload::{Blob, Source, Uploaded};

use crate::Channel;
use limits::Limits;

/// Moves blobs to and from one instance of one engine. Cheap to clone; clones share what they learned about the
/// engine.
#[derive(Clone)]
pub struct BlobClient {
    channel: Channel,
    instance: Arc<str>,
    function: DigestFunction,
    compress: bool,
    limits: Arc<OnceCell<Limits>>,
    patience: Duration,
    received: Arc<AtomicU64>,
}

impl fmt::Debug for BlobClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobClient")
            .field("instance", &self.instance)
            .field("function", &self.function)
            .field("compress", &self.compress)
            .finish_non_exhaustive()
    }
}

impl BlobClient {
    /// A client of the engine at the other end of `channel`. Nothing is sent yet.
    pub fn new(channel: impl Into<Channel>, instance: &str, function: DigestFunction) -> Self {
        let limits = Arc::default();
        let channel = channel.into();
        let (instance, patience) = (instance.into(), patience::PATIENCE);
        let received = Arc::default();
        Self { channel, instance, function, compress: false, limits, patience, received }
    }

    /// The same, and how many bytes of blobs come by it: whether a download that is lost brought any.
    pub fn counting(&self) -> (Self, Arc<AtomicU64>) {
        let received: Arc<AtomicU64> = Arc::default();
        (Self { received: Arc::clone(&received), ..self.clone() }, received)
    }

    /// The same, which makes no call again that the engine has no room for now: its caller does, and says so.
    #[must_use]
    pub fn impatient(self) -> Self {
        Self { patience: Duration::ZERO, ..self }
    }

    /// Whether blobs are compressed on the wire where the engine takes zstd. It pays on links slower than some
    /// 200 MB/s; on one machine it costs, and so it is off until asked for.
    #[must_use]
    pub fn with_compression(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// The instance name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The digest function.
    pub fn function(&self) -> DigestFunction {
        self.function
    }

    /// Asks the action cache; no result is `None`.
    pub async fn action_result(&self, action: &Digest) -> Result<Option<ActionResult>, BlobError> {
        let request = GetActionResultRequest {
            instance_name: self.instance.to_string(),
            action_digest: Some(action.into()),
            inline_stdout: true,
            inline_stderr: true,
            inline_output_files: Vec::new(),
            digest_function: Value::from(self.function).into(),
        };
        match self.action_cache().get_action_result(request).await {
            Ok(reply) => Ok(Some(reply.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(BlobError::rpc("ask the action cache", status)),
        }
    }

    /// Writes the action cache. What the result refers to must have been uploaded.
    pub async fn update_action_result(
        &self,
        action: &Digest,
        result: ActionResult,
    ) -> Result<(), BlobError> {
        let request = UpdateActionResultRequest {
            instance_name: self.instance.to_string(),
            action_digest: Some(action.into()),
            action_result: Some(result),
            results_cache_policy: None,
            digest_function: Value::from(self.function).into(),
        };
        let reply = self.action_cache().update_action_result(request).await;
        reply.map(drop).map_err(|status| BlobError::rpc("write the action cache", status))
    }

    fn action_cache(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn cas(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
    }

    fn byte_stream(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BlobError::Interrupted)
}
