//! The operation's stream: opened, lost, opened again.

use std::iter::successors;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, mem};

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
use crate::{Caching, ClientError, Cluster, JobSpec, Logs, agent, metadata, result};

/// An operation's messages, over however many streams.
pub(super) struct Operations {
    way: Way,
    /// Its pauses go on where a stream ends as soon as it is open.
    tries: Tries,
    opened: Instant,
    /// Messages of the stream that is open.
    heard: u32,
}

enum Way {
    Open(Box<Streaming<Operation>>),
    Reopening(BoxFuture<'static, Result<Opened, ClientError>>),
    /// It ended before it began: its result was in the action cache.
    Cached(Option<Operation>),
}

/// How often it was tried to open a stream.
#[derive(Debug)]
struct Tries {
    backoff: Backoff,
    /// Executes that an engine may have begun and did not answer.
    unanswered: u32,
}

/// A stream, and what it took to open it.
pub(super) struct Opened {
    stream: Streaming<Operation>,
    tries: Tries,
    /// An engine may have begun the action before.
    is_again: bool,
}

impl Operations {
    pub(super) fn cached(operation: Operation) -> Self {
        Self::by(Way::Cached(Some(operation)), Tries::new(None))
    }

    /// Those of a stream, and whether an engine may have begun the action before.
    pub(super) fn open(opened: Opened) -> (Self, bool) {
        let Opened { stream, tries, is_again } = opened;
        (Self::by(Way::Open(Box::new(stream)), tries), is_again)
    }

    /// Opens a stream for a submission that was answered and is to be sent once more.
    pub(super) fn anew(cluster: &Cluster, submission: &Arc<Submission>) -> Self {
        let tries = Tries::new(submission.patience());
        let opening = open_after(cluster.clone(), Arc::clone(submission), None, None, tries);
        Self::by(Way::Reopening(opening.boxed()), Tries::new(submission.patience()))
    }

    fn by(way: Way, tries: Tries) -> Self {
        Self { way, tries, opened: Instant::now(), heard: 0 }
    }

    /// The stream has ended with this: it is opened again after a pause.
    fn reopen(
        &mut self,
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: Option<String>,
        lost: ClientError,
    ) {
        let next = Tries::new(submission.patience());
        let mut tries = mem::replace(&mut self.tries, next);
        tries.backoff.ended(self.heard > 0, self.opened.elapsed());
        let opening = open_after(cluster.clone(), Arc::clone(submission), id, Some(lost), tries);
        self.way = Way::Reopening(opening.boxed());
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
            let lost = match &mut self.way {
                Way::Cached(operation) => match operation.take() {
                    Some(operation) => return Ok(operation),
                    // Whoever took it has the result and asks no more.
                    None => std::future::pending().await,
                },
                Way::Reopening(opening) => {
                    let (open, again) = Self::open(opening.await?);
                    *is_again |= again;
                    *self = open;
                    continue;
                }
                Way::Open(stream) => match stream.message().await {
                    Ok(Some(operation)) => {
                        self.heard += 1;
                        if self.heard == 1 {
                            cluster.contact().made();
                        }
                        return Ok(operation);
                    }
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
                self.tries.is_unanswered(cluster, spec)?;
                *is_again = true;
            }
            self.reopen(cluster, submission, id, lost);
        }
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Open(_) => "Open",
            Way::Reopening(_) => "Reopening",
            Way::Cached(_) => "Cached",
        })
    }
}

impl Tries {
    fn new(patience: Option<Duration>) -> Self {
        Self { backoff: Backoff::new(patience), unanswered: 0 }
    }

    /// An engine may have begun the action. Fails where it is not to be begun once more.
    fn is_unanswered(&mut self, cluster: &Cluster, spec: &JobSpec) -> Result<(), ClientError> {
        self.unanswered += 1;
        if spec.reruns_after(self.unanswered) {
            return Ok(());
        }
        Err(ClientError::Unanswered { peer: cluster.peer().to_owned() })
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
) -> Result<Opened, ClientError> {
    let tries = Tries::new(submission.patience());
    open_after(cluster, submission, id, None, tries).await
}

/// `lost` is why the stream has to be opened again; there is a pause before it then.
async fn open_after(
    cluster: Cluster,
    submission: Arc<Submission>,
    mut id: Option<String>,
    mut lost: Option<ClientError>,
    mut tries: Tries,
) -> Result<Opened, ClientError> {
    let mut sent_again = false;
    let mut was_there = false;
    let mut is_again = false;
    loop {
        if let Some(error) = lost.take() {
            was_there = true;
            tries.backoff.pause(cluster.contact(), cluster.peer(), &error).await?;
            if let Some(spec) = cluster.embedded_agent() {
                agent::ensure(spec, &mut |_| {}).await?;
            }
        }
        let mut is_sent = false;
        let result = match (&id, &*submission) {
            (Some(id), _) => wait(&cluster, id).await,
            (None, Submission::Execute { spec, encoded, .. }) => {
                match send_messages(&cluster, encoded).await {
                    Ok(()) => {
                        is_sent = true;
                        execute(&cluster, spec, encoded).await
                    }
                    Err(status) => Err(status),
                }
            }
            (None, Submission::Follow { .. }) => {
                Err(tonic::Status::not_found("the operation has no name"))
            }
        };
        let status = match result {
            Ok(stream) => {
                // One after others that ended at once is no sign yet.
                if !tries.backoff.is_in_vain() {
                    cluster.contact().made();
                }
                return Ok(Opened { stream, tries, is_again });
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
            submission if error.is_lost_connection() => {
                // Unlike our hub an engine need not know that the same is submitted a second time.
                if is_sent
                    && cluster.kind() == ClusterKind::Engine
                    && may_have_heard(&status)
                    && let Submission::Execute { spec, .. } = submission
                {
                    tries.is_unanswered(&cluster, spec)?;
                    is_again = true;
                }
                lost = Some(error);
            }
            _ => return Err(error),
        }
    }
}

/// Whether a connection was lost that was there. One that could not be made, and a refusal, say that nothing was begun.
fn may_have_heard(status: &tonic::Status) -> bool {
    let mut causes =
        successors(std::error::Error::source(status), |cause| cause.source()).peekable();
    causes.peek().is_some() && !causes.any(|cause| cause.is::<hands_link::LinkError>())
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

async fn send_messages(
    cluster: &Cluster,
    encoded: &crate::EncodedJob,
) -> Result<(), tonic::Status> {
    let blobs = vec![
        (encoded.action, encoded.action_bytes.clone()),
        (encoded.command, encoded.command_bytes.clone()),
    ];
    cluster.uploader().upload(blobs).await
}

async fn execute(
    cluster: &Cluster,
    spec: &JobSpec,
    encoded: &crate::EncodedJob,
) -> Result<Streaming<Operation>, tonic::Status> {
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
