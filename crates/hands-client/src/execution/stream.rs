//! The operation's stream: opened, lost, opened again.

use std::iter::successors;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, mem};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hands_proto::longrunning::Operation;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::digest_function::Value as FunctionValue;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{ExecuteRequest, ExecuteResponse, ExecutionPolicy, WaitExecutionRequest};
use hands_reapi::BlobError;
use hands_types::retry::Reruns;
use hands_types::{Digest, limits};
use prost::Message;
use tonic::{Code, Streaming};

use super::Submission;
use crate::cluster::ClusterKind;
use crate::retry::{self, Backoff};
use crate::{Caching, ClientError, Cluster, JobSpec, Logs, agent, metadata, result};

/// An operation's messages, over however many streams.
pub(super) struct Operations {
    way: Way,
    /// Its pauses go on where a stream ends as soon as it is open.
    tries: Tries,
    opened: Instant,
    /// Messages of the stream that is open.
    heard: u32,
    /// Whether one of these said what was not known before.
    has_news: bool,
    /// What was said last, over all streams: an engine may answer each question with it and hang up.
    last: Option<Operation>,
}

/// What comes of waiting for a message.
pub(super) enum Heard {
    Operation(Operation),
    /// The connection was lost before the engine had answered, and the action is sent once more. Unlike our hub an engine need
    /// not know that it is the same.
    SentAgain,
}

enum Way {
    Open(Box<Streaming<Operation>>),
    /// It was lost so, before there was an answer.
    Unanswered(ClientError),
    Reopening(BoxFuture<'static, Result<Opened, ClientError>>),
    /// It ended before it began: its result was in the action cache.
    Cached(Option<Operation>),
}

/// How often it was tried to open a stream.
#[derive(Debug)]
struct Tries {
    backoff: Backoff,
    /// Where the action was submitted here: the Executes that were begun, or may have been, and brought nothing.
    reruns: Reruns,
}

/// A stream, and what it took to open it.
struct Opened {
    /// Else why an engine that may have begun the action did not answer. It is to be sent again.
    stream: Result<Streaming<Operation>, ClientError>,
    tries: Tries,
}

impl Operations {
    pub(super) fn cached(operation: Operation) -> Self {
        let tries = Tries { backoff: Backoff::new(None), reruns: Reruns::new(None, false) };
        Self::by(Way::Cached(Some(operation)), tries)
    }

    /// Opens the stream of a submission: of a known operation by WaitExecution, else by Execute. Waits for a hub that is
    /// away for a minute, and starts an agent that has ended.
    pub(super) async fn open(
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: Option<String>,
    ) -> Result<Self, ClientError> {
        let tries = Tries::new(submission);
        open_after(cluster.clone(), Arc::clone(submission), id, None, tries).await.map(Self::of)
    }

    /// Opens a stream for a submission once its messages are asked for.
    pub(super) fn begin(cluster: &Cluster, submission: &Arc<Submission>) -> Self {
        let tries = Tries::new(submission);
        let opening = open_after(cluster.clone(), Arc::clone(submission), None, None, tries);
        Self::by(Way::Reopening(opening.boxed()), Tries::new(submission))
    }

    fn of(opened: Opened) -> Self {
        let way = match opened.stream {
            Ok(stream) => Way::Open(Box::new(stream)),
            Err(lost) => Way::Unanswered(lost),
        };
        Self::by(way, opened.tries)
    }

    fn by(way: Way, tries: Tries) -> Self {
        Self { way, tries, opened: Instant::now(), heard: 0, has_news: false, last: None }
    }

    /// The stream has ended with this: it is opened again after a pause.
    fn reopen(
        &mut self,
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: Option<String>,
        lost: ClientError,
    ) {
        let mut tries = mem::replace(&mut self.tries, Tries::new(submission));
        if matches!(self.way, Way::Open(_)) {
            let lasted = self.opened.elapsed();
            match self.heard > 0 && !self.has_news && lasted < retry::LAST {
                true => tries.backoff.said_nothing_new(),
                false => tries.backoff.ended(self.heard > 0, lasted),
            }
        }
        let opening = open_after(cluster.clone(), Arc::clone(submission), id, Some(lost), tries);
        self.way = Way::Reopening(opening.boxed());
    }

    /// The next message. Loses nothing when it is dropped while it waits.
    pub(super) async fn message(
        &mut self,
        cluster: &Cluster,
        submission: &Arc<Submission>,
        id: &str,
    ) -> Result<Heard, ClientError> {
        loop {
            let lost = match &mut self.way {
                Way::Cached(operation) => match operation.take() {
                    Some(operation) => return Ok(Heard::Operation(operation)),
                    // Whoever took it has the result and asks no more.
                    None => std::future::pending().await,
                },
                Way::Reopening(opening) => {
                    let open = Self::of(opening.await?);
                    *self = Self { last: self.last.take(), ..open };
                    continue;
                }
                Way::Unanswered(lost) => {
                    let lost = lost.again();
                    self.reopen(cluster, submission, None, lost);
                    return Ok(Heard::SentAgain);
                }
                Way::Open(stream) => match stream.message().await {
                    Ok(Some(operation)) => {
                        self.heard += 1;
                        if self.heard == 1 {
                            cluster.contact().made();
                        }
                        if !operation.done && self.last.as_ref() != Some(&operation) {
                            self.has_news = true;
                            self.last = Some(operation.clone());
                        }
                        return Ok(Heard::Operation(operation));
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
                && matches!(**submission, Submission::Execute { .. })
            {
                self.tries.is_unanswered(cluster)?;
                self.reopen(cluster, submission, id, lost);
                return Ok(Heard::SentAgain);
            }
            self.reopen(cluster, submission, id, lost);
        }
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Open(_) => "Open",
            Way::Unanswered(_) => "Unanswered",
            Way::Reopening(_) => "Reopening",
            Way::Cached(_) => "Cached",
        })
    }
}

impl Tries {
    fn new(submission: &Submission) -> Self {
        let reruns = match submission {
            Submission::Execute { spec, .. } => spec.budget(),
            Submission::Follow => Reruns::new(None, false),
        };
        Self { backoff: Backoff::new(Some(limits::ORPHAN)), reruns }
    }

    /// An engine may have begun the action. Fails where it is not to be begun once more.
    fn is_unanswered(&mut self, cluster: &Cluster) -> Result<(), ClientError> {
        self.reruns.lose(1).map_err(|_| ClientError::Unanswered {
            peer: cluster.peer().to_owned(),
            times: self.reruns.lost(),
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
            (None, Submission::Follow) => {
                Err(tonic::Status::not_found("the operation has no name"))
            }
        };
        let status = match result {
            Ok(stream) => {
                // One after others that ended at once is no sign yet.
                if !tries.backoff.is_in_vain() {
                    cluster.contact().made();
                }
                return Ok(Opened { stream: Ok(stream), tries });
            }
            Err(status) => status,
        };
        let error = cluster.failed("Execute", &status);
        match &*submission {
            // A hub that started afresh does not know the operation; the digest makes it the same submission. What became
            // of it nobody knows.
            Submission::Execute { spec, .. } if id.is_some() && status.code() == Code::NotFound => {
                // Its standard input can't be sent twice, whatever may be run again.
                if spec.stdin || tries.reruns.lose(1).is_err() {
                    return Err(ClientError::Forgotten { peer: cluster.peer().to_owned() });
                }
                id = None;
            }
            Submission::Follow if was_there && status.code() == Code::NotFound => {
                return Err(ClientError::NotKnown { peer: cluster.peer().to_owned() });
            }
            Submission::Execute { encoded, .. } if !sent_again && is_missing(&status, encoded) => {
                sent_again = true;
                cluster.uploader().forget(&[encoded.action, encoded.command]);
            }
            _ if error.is_lost_connection() => {
                // Unlike our hub an engine need not know that the same is submitted a second time.
                if is_sent && cluster.kind() == ClusterKind::Engine && may_have_heard(&status) {
                    tries.is_unanswered(&cluster)?;
                    return Ok(Opened { stream: Err(error), tries });
                }
                lost = Some(error);
            }
            _ => return Err(error),
        }
    }
}

/// Whether a connection was lost that was there. One that could not be made, a refusal, and a server that says goodbye before it
/// took the call (RFC 9113, 6.8 and 8.7) say that nothing was begun.
fn may_have_heard(status: &tonic::Status) -> bool {
    let mut causes =
        successors(std::error::Error::source(status), |cause| cause.source()).peekable();
    let says_no = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<hands_link::LinkError>()
            || cause.downcast_ref::<h2::Error>().is_some_and(was_not_taken)
            // Its connection had closed before it was sent.
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    };
    causes.peek().is_some() && !causes.any(says_no)
}

fn was_not_taken(error: &h2::Error) -> bool {
    let reason = error.reason();
    error.is_remote()
        && (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
            || reason == Some(h2::Reason::REFUSED_STREAM))
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
