//! One client over gRPC, kept open: latency of an action and of a cache hit, and hits per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hands_link::Address;
use hands_proto::longrunning::Operation;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::batch_update_blobs_request::Request as Upload;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{
    self, Action, ActionResult, BatchUpdateBlobsRequest, Command, Directory, ExecuteRequest,
    ExecuteResponse, ExecutedActionMetadata, FindMissingBlobsRequest, GetActionResultRequest,
    RequestMetadata, UpdateActionResultRequest,
};
use hands_proto::v1::ExecuteOptions;
use hands_proto::{EXECUTE_OPTIONS, REQUEST_METADATA};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::Streaming;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::report::{Report, Target};
use crate::stats::{Times, rates};

pub(crate) fn digest(content: &[u8]) -> Digest {
    hands_tree::hash(DigestFunction::Sha256, content)
}

/// What is measured: ours, or a peer beside it, which has a name and no targets.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) address: &'a Address,
    pub(crate) peer: Option<&'a str>,
}

impl Side<'_> {
    fn add(
        self,
        report: &mut Report,
        name: &str,
        value: f64,
        unit: &str,
        figure: String,
        target: Target,
    ) {
        match self.peer {
            None => report.add(name, value, unit, figure, target),
            Some(peer) => {
                report.add(
                    &format!("  {peer}: {}", name.trim()),
                    value,
                    unit,
                    figure,
                    Target::None,
                );
            }
        }
    }
}

/// The parts of an action's time.
pub(crate) const STAGES: [&str; 9] = [
    "upload",
    "to the row",
    "to a worker",
    "its turn there",
    "inputs",
    "a slot",
    "the command",
    "collecting",
    "back",
];

/// A client whose actions run `/bin/true`.
pub(crate) struct Client {
    blobs: ContentAddressableStorageClient<Channel>,
    execution: ExecutionClient<Channel>,
    command: Bytes,
    salt: u64,
    invocation: String,
    action: Digest,
}

/// An action that was submitted.
pub(crate) struct Running {
    first: Operation,
    messages: Streaming<Operation>,
}

impl Client {
    /// One of several at a time, each with another number.
    pub(crate) fn new(channel: Channel, number: u64) -> Self {
        let command = Command { arguments: vec!["/bin/true".to_owned()], ..Command::default() };
        // A salt that no earlier run used: process id and time, not a secret.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            blobs: ContentAddressableStorageClient::new(channel.clone()),
            execution: ExecutionClient::new(channel),
            command: command.encode_to_vec().into(),
            salt: (u64::try_from(now.as_micros() & 0xff_ffff_ffff).unwrap_or(0) << 24)
                ^ (number << 48),
            invocation: String::new(),
            action: digest(&[]),
        }
    }

    /// Only workers with this tag get its actions.
    pub(crate) fn with_tag(&mut self, tag: &str) {
        let property = reapi::platform::Property { name: "tag".into(), value: tag.into() };
        let command = Command {
            arguments: vec!["/bin/true".to_owned()],
            platform: Some(reapi::Platform { properties: vec![property] }),
            ..Command::default()
        };
        self.command = command.encode_to_vec().into();
    }

    /// The last action that it uploaded.
    pub(crate) fn action(&self) -> Digest {
        self.action
    }

    /// What its calls say that they belong to.
    pub(crate) fn of_invocation(&mut self, name: &str) {
        name.clone_into(&mut self.invocation);
    }

    /// Uploads a fresh action, executes it, waits for its end. Nothing of it was seen before.
    pub(crate) async fn noop(&mut self) -> Result<()> {
        self.submit(false).await?.ended().await?;
        Ok(())
    }

    /// The same, with the times of its parts, in the order of [`STAGES`].
    pub(crate) async fn stages(&mut self) -> Result<[Duration; STAGES.len()]> {
        let begun = SystemTime::now();
        let action = self.upload().await?;
        let uploaded = SystemTime::now();
        let told = self.execute(action, false).await?.ended().await?;
        let ended = SystemTime::now();
        let at = |time: &Option<prost_types::Timestamp>| {
            let time = time.as_ref().context("an engine that gives all times")?;
            SystemTime::try_from(*time).context("a time")
        };
        let times = [
            begun,
            uploaded,
            at(&told.queued_timestamp)?,
            at(&told.worker_start_timestamp)?,
            at(&told.input_fetch_start_timestamp)?,
            at(&told.input_fetch_completed_timestamp)?,
            at(&told.execution_start_timestamp)?,
            at(&told.execution_completed_timestamp)?,
            at(&told.worker_completed_timestamp)?,
            ended,
        ];
        // One clock's, which may be set while it runs.
        Ok(std::array::from_fn(|i| times[i + 1].duration_since(times[i]).unwrap_or_default()))
    }

    /// Uploads a fresh action and submits it; to stay when nobody listens, if it is detached. The answer's first message
    /// has come.
    pub(crate) async fn submit(&mut self, detach: bool) -> Result<Running> {
        let action = self.upload().await?;
        self.execute(action, detach).await
    }

    /// Uploads a fresh action.
    async fn upload(&mut self) -> Result<Digest> {
        self.salt += 1;
        let action = Action {
            command_digest: Some(digest(&self.command).into()),
            input_root_digest: Some(digest(&Directory::default().encode_to_vec()).into()),
            do_not_cache: true,
            salt: Bytes::copy_from_slice(&self.salt.to_le_bytes()),
            ..Action::default()
        };
        let action = Bytes::from(action.encode_to_vec());
        let action_digest = digest(&action);
        let upload =
            |data: Bytes| Upload { digest: Some(digest(&data).into()), data, ..Upload::default() };
        let request = BatchUpdateBlobsRequest {
            requests: vec![upload(self.command.clone()), upload(action)],
            ..Default::default()
        };
        let mut request = tonic::Request::new(request);
        self.name(&mut request);
        self.blobs.batch_update_blobs(request).await?;
        self.action = action_digest;
        Ok(action_digest)
    }

    /// Says in a call's headers what it belongs to.
    fn name<T>(&self, request: &mut tonic::Request<T>) {
        if !self.invocation.is_empty() {
            let metadata = RequestMetadata {
                tool_invocation_id: self.invocation.clone(),
                ..RequestMetadata::default()
            };
            let value = MetadataValue::from_bytes(&metadata.encode_to_vec());
            request.metadata_mut().insert_bin(REQUEST_METADATA, value);
        }
    }

    /// Submits an action that is there.
    async fn execute(&mut self, action_digest: Digest, detach: bool) -> Result<Running> {
        let mut request = tonic::Request::new(ExecuteRequest {
            action_digest: Some(action_digest.into()),
            ..ExecuteRequest::default()
        });
        if detach {
            let options = ExecuteOptions { detach, ..ExecuteOptions::default() };
            let value = MetadataValue::from_bytes(&options.encode_to_vec());
            request.metadata_mut().insert_bin(EXECUTE_OPTIONS, value);
        }
        self.name(&mut request);
        let mut messages = self.execution.execute(request).await?.into_inner();
        let first = messages.message().await?.context("a first message")?;
        Ok(Running { first, messages })
    }
}

impl Running {
    /// Waits for the end, which must be a good one.
    pub(crate) async fn ended(self) -> Result<ExecutedActionMetadata> {
        let Self { first, mut messages } = self;
        let mut next = Some(first);
        while let Some(operation) = next {
            if let Some(hands_proto::longrunning::operation::Result::Response(any)) =
                operation.result
            {
                let response: ExecuteResponse = hands_proto::unpack(&any)?;
                let result = response.result.context("a result")?;
                ensure!(result.exit_code == 0 && !response.cached_result, "{result:?}");
                return Ok(result.execution_metadata.unwrap_or_default());
            }
            next = messages.message().await?;
        }
        anyhow::bail!("the stream ended without a result")
    }
}

/// `/bin/true` with the client kept open: Execute alone, its action's blobs there as in every published figure of an
/// engine, and with the upload of them before each. At most `most` milliseconds are wanted.
pub(crate) async fn noop(of: Side<'_>, most: f64, report: &mut Report) -> Result<()> {
    let address = of.address;
    let mut client = Client::new(hands_link::connect(address), 0);
    for _ in 0..50 {
        client.noop().await?;
    }
    let mut actions = Vec::new();
    for _ in 0..1000 {
        actions.push(client.upload().await?);
    }
    let mut alone = Vec::new();
    for action in actions {
        let start = Instant::now();
        client.execute(action, false).await?.ended().await?;
        alone.push(start.elapsed());
    }
    let mut with_upload = Vec::new();
    for _ in 0..1000 {
        let start = Instant::now();
        client.noop().await?;
        with_upload.push(start.elapsed());
    }
    for (name, times, target) in [
        ("no-op action, client kept open", alone, Target::AtMost(most)),
        ("  with the upload of its action before", with_upload, Target::None),
    ] {
        let times = Times::new(times);
        of.add(report, name, times.median_ms(), "ms", times.summary(), target);
    }
    Ok(())
}

/// GetActionResult: one stream's latency, sixteen streams' rate.
pub(crate) async fn hits(of: Side<'_>, report: &mut Report) -> Result<()> {
    let address = of.address;
    let channel = hands_link::connect(address);
    let stdout = Bytes::from_static(b"a result's output, not inlined\n");
    let mut blobs = ContentAddressableStorageClient::new(channel.clone());
    let action = Bytes::from_static(b"\x12\x00");
    let mut requests = Vec::new();
    for data in [stdout.clone(), action.clone()] {
        requests.push(Upload { digest: Some(digest(&data).into()), data, ..Upload::default() });
    }
    blobs.batch_update_blobs(BatchUpdateBlobsRequest { requests, ..Default::default() }).await?;
    let result =
        ActionResult { stdout_digest: Some(digest(&stdout).into()), ..ActionResult::default() };
    let key = GetActionResultRequest {
        action_digest: Some(digest(&action).into()),
        ..Default::default()
    };
    let mut cache = ActionCacheClient::new(channel);
    cache
        .update_action_result(UpdateActionResultRequest {
            action_digest: key.action_digest.clone(),
            action_result: Some(result),
            ..Default::default()
        })
        .await?;
    let mut times = Vec::new();
    for _ in 0..3000 {
        let start = Instant::now();
        cache.get_action_result(key.clone()).await?;
        times.push(start.elapsed());
    }
    let times = Times::new(times.split_off(500));
    of.add(
        report,
        "action-cache hit over gRPC",
        times.median_ms(),
        "ms",
        times.summary(),
        Target::AtMost(0.4),
    );

    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(
            streams(
                16,
                address,
                Duration::from_secs(2),
                |channel, key| {
                    let mut cache = ActionCacheClient::new(channel);
                    async move {
                        cache.get_action_result(key).await?;
                        Ok(cache)
                    }
                },
                &key,
            )
            .await?,
        );
    }
    let (rate, figure) = rates(all);
    let name = "action-cache hits, 16 streams";
    of.add(report, name, rate, "/s", figure, Target::AtLeast(10_000.0));
    Ok(())
}

/// FindMissingBlobs of 1,000 digests.
pub(crate) async fn find_missing(of: Side<'_>, report: &mut Report) -> Result<()> {
    let address = of.address;
    let mut blobs = ContentAddressableStorageClient::new(hands_link::connect(address));
    let digests: Vec<_> = (0..1000_u32).map(|i| digest(&i.to_le_bytes()).into()).collect();
    let request = FindMissingBlobsRequest { blob_digests: digests, ..Default::default() };
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        blobs.find_missing_blobs(request.clone()).await?;
        times.push(start.elapsed());
    }
    let times = Times::new(times);
    of.add(
        report,
        "FindMissingBlobs of 1,000",
        times.median_ms(),
        "ms",
        times.summary(),
        Target::AtMost(2.0),
    );
    Ok(())
}

/// Calls per second of `count` clients in a loop, all on one connection.
async fn streams<C, F>(
    count: usize,
    address: &Address,
    length: Duration,
    call: impl Fn(Channel, GetActionResultRequest) -> F + Send + Sync + 'static + Copy,
    key: &GetActionResultRequest,
) -> Result<f64>
where
    F: Future<Output = Result<C>> + Send,
    C: Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let channel = hands_link::connect(address);
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let (done, channel, key) = (Arc::clone(&done), channel.clone(), key.clone());
        tasks.spawn(async move {
            while start.elapsed() < length {
                call(channel.clone(), key.clone()).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
    let done = done.load(Ordering::Relaxed) as f64;
    Ok(done / start.elapsed().as_secs_f64())
}
