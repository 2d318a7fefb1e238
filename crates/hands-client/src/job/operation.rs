//! The operation's stream: opened, lost, opened again.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hands_proto::longrunning::Operation;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::digest_function::Value as FunctionValue;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{ExecuteRequest, ExecuteResponse, ExecutionPolicy, WaitExecutionRequest};
use hands_reapi::BlobError;
use hands_types::{Digest, limits};
use prost::Message;
use tonic::{Code, Streaming};

use super::Submission;
use crate::cluster::ClusterKind;
use crate::retry::Backoff;
use crate::{Caching, ClientError, Cluster, Logs, agent, metadata, result};

pub(super) enum Operations {
    Open(Box<Streaming<Operation>>),
    Reopening(BoxFuture<'static, Result<Streaming<Operation>, ClientError>>),
    /// It ended before it began: its result was in the action cache.
    Cached(Option<Operation>),
}

impl Operations {
    /// `lost` is why the stream has to be opened again; there is a pause before it then.
    pub(super) fn reopen(
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: Option<String>,
        lost: Option<ClientError>,
    ) -> Self {
        let opening = open_after(cluster.clone(), Arc::clone(submission), id, lost);
        Self::Reopening(opening.boxed())
    }

    /// The next message. Loses nothing when it is dropped while it waits. `is_again` is set where an engine may have begun the
    /// action before: unlike our hub it need not know that the same is submitted a second time.
    pub(super) async fn message(
        &mut self,
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: &str,
        is_again: &mut bool,
    ) -> Result<Operation, ClientError> {
        loop {
            let lost = match self {
                Self::Cached(operation) => match operation.take() {
                    Some(operation) => return Ok(operation),
                    // Whoever took it has the result and asks no more.
                    None => std::future::pending().await,
                },
                Self::Reopening(opening) => {
                    let stream = opening.await?;
                    *self = Self::Open(Box::new(stream));
                    continue;
                }
                Self::Open(stream) => match stream.message().await {
                    Ok(Some(operation)) => return Ok(operation),
                    // An engine may end the stream before the action has ended.
                    Ok(None) => ClientError::Connect {
                        peer: cluster.peer().to_owned(),
                        why: "the operation's stream has ended".to_owned(),
                        retry: true,
                    },
                    Err(status) => match cluster.failed("Execute", &status) {
                        error if error.is_lost_connection() => error,
                        error => return Err(error),
                    },
                },
            };
            let id = (!id.is_empty()).then(|| id.to_owned());
            if id.is_none()
                && cluster.kind() == ClusterKind::Engine
                && let Submission::Execute { spec, .. } = &**submission
            {
                if !spec.reruns() {
                    return Err(ClientError::Unanswered { peer: cluster.peer().to_owned() });
                }
                *is_again = true;
            }
            *self = Self::reopen(cluster, submission, id, Some(lost));
        }
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Reopening(_) => "Reopening",
            Self::Cached(_) => "Cached",
        })
    }
}

/// The result of an action that its engine has already, as the operation that Execute would have answered with. There are
/// engines whose Execute never looks into the action cache (Buildbarn); Bazel asks first, too.
pub(super) async fn cached(
    cluster: &Cluster,
    action: &Digest,
) -> Result<Option<Operation>, ClientError> {
    let result = match cluster.blobs().action_result(action).await {
        Ok(result) => result,
        // An engine may have no action cache, or none for us: then it executes.
        Err(BlobError::Rpc { source, .. }) => match source.status().code() {
            Code::Unimplemented | Code::PermissionDenied => None,
            _ => return Err(cluster.failed("the question for a cached result", source.status())),
        },
        Err(error) => return Err(cluster.blob_failed("a cached result", *action, error)),
    };
    Ok(result.map(|result| {
        let response = ExecuteResponse {
            result: Some(result),
            cached_result: true,
            ..ExecuteResponse::default()
        };
        Operation {
            done: true,
            result: Some(OperationResult::Response(hands_proto::pack(&response))),
            ..Operation::default()
        }
    }))
}

/// Opens the stream of a submission: of a known operation by WaitExecution, else by Execute. Waits for a hub that is
/// away as long as the submission allows, and starts an agent that has ended.
pub(super) async fn open(
    cluster: Cluster,
    submission: Arc<Submission>,
    id: Option<String>,
) -> Result<Streaming<Operation>, ClientError> {
    open_after(cluster, submission, id, None).await
}

async fn open_after(
    cluster: Cluster,
    submission: Arc<Submission>,
    mut id: Option<String>,
    mut lost: Option<ClientError>,
) -> Result<Streaming<Operation>, ClientError> {
    let patience = match &*submission {
        Submission::Execute { spec, .. } => spec.patience,
        Submission::Follow { patience, .. } => *patience,
    };
    let mut backoff = Backoff::new(patience);
    let mut sent_again = false;
    let mut was_there = false;
    loop {
        if let Some(error) = lost.take() {
            was_there = true;
            backoff.pause(cluster.contact(), cluster.peer(), &error).await?;
            if let Some(spec) = cluster.embedded_agent() {
                agent::ensure(spec, &mut |_| {}).await?;
            }
        }
        let result = match (&id, &*submission) {
            (Some(id), _) => wait(&cluster, id).await,
            (None, Submission::Execute { spec, encoded, .. }) => {
                execute(&cluster, spec, encoded).await
            }
            (None, Submission::Follow { .. }) => {
                Err(tonic::Status::not_found("the operation has no name"))
            }
        };
        let status = match result {
            Ok(stream) => {
                cluster.contact().made();
                return Ok(stream);
            }
            Err(status) => status,
        };
        let error = cluster.failed("Execute", &status);
        match &*submission {
            // A hub that started afresh does not know the operation; the digest makes it the same submission. What became
            // of it nobody knows.
            Submission::Execute { spec, .. } if id.is_some() && status.code() == Code::NotFound => {
                // Its standard input can't be sent twice, whatever may be run again.
                if spec.stdin || !spec.reruns() {
                    return Err(ClientError::Forgotten { peer: cluster.peer().to_owned() });
                }
                id = None;
            }
            Submission::Follow { .. } if was_there && status.code() == Code::NotFound => {
                return Err(ClientError::NotKnown { peer: cluster.peer().to_owned() });
            }
            Submission::Execute { encoded, .. } if !sent_again && is_missing(&status, encoded) => {
                sent_again = true;
                cluster.uploader().forget(&[encoded.action, encoded.command]);
            }
            _ if error.is_lost_connection() => lost = Some(error),
            _ => return Err(error),
        }
    }
}

fn is_missing(status: &tonic::Status, encoded: &crate::EncodedJob) -> bool {
    if status.code() != Code::FailedPrecondition {
        return false;
    }
    let missing = hands_proto::rpc::Status::decode(status.details())
        .map(|details| result::missing_blobs(&details.details))
        .unwrap_or_default();
    [encoded.action, encoded.command].iter().any(|d| missing.contains(&d.to_string()))
}

async fn execute(
    cluster: &Cluster,
    spec: &crate::JobSpec,
    encoded: &crate::EncodedJob,
) -> Result<Streaming<Operation>, tonic::Status> {
    let blobs = vec![
        (encoded.action, encoded.action_bytes.clone()),
        (encoded.command, encoded.command_bytes.clone()),
    ];
    cluster.uploader().upload(blobs).await?;
    let live = spec.logs == Logs::Live;
    let mut request = tonic::Request::new(ExecuteRequest {
        instance_name: cluster.instance().to_owned(),
        skip_cache_lookup: spec.caching != Caching::Cached,
        action_digest: Some(encoded.action.into()),
        execution_policy: (spec.priority != 0)
            .then_some(ExecutionPolicy { priority: spec.priority }),
        digest_function: FunctionValue::from(encoded.action.function).into(),
        inline_stdout: live,
        inline_stderr: live,
        ..ExecuteRequest::default()
    });
    let who = cluster.invocation().request_metadata(
        Some(&encoded.action.hex()),
        &spec.mnemonic,
        &spec.target,
    );
    metadata::insert_metadata(request.metadata_mut(), &who.encode_to_vec().into());
    metadata::insert_options(request.metadata_mut(), &spec.options());
    Ok(client(cluster).execute(request).await?.into_inner())
}

async fn wait(cluster: &Cluster, id: &str) -> Result<Streaming<Operation>, tonic::Status> {
    let request = WaitExecutionRequest { name: cluster.operation_name(id) };
    Ok(client(cluster).wait_execution(cluster.request(request)).await?.into_inner())
}

fn client(cluster: &Cluster) -> ExecutionClient<hands_reapi::Channel> {
    ExecutionClient::new(cluster.channel()).max_decoding_message_size(limits::MAX_MESSAGE)
}
