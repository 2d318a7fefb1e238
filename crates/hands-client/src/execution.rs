//! An action over a stream of its own, REAPI's Execute or WaitExecution: the way to engines of others, to hubs without
//! sessions, and to what was submitted before.
//!
//! It has no task: everything happens inside [`Execution::next`], so a caller that does not ask holds the stream back.

mod stream;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use hands_proto::longrunning::Operation;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_proto::reapi::{ExecuteOperationMetadata, ExecuteResponse};
use hands_proto::v1;
use hands_types::Digest;
use hands_types::platform::{FIXED_LANG, FIXED_PATH};

use crate::cluster::ClusterKind;
use crate::told::{State, Told};
use crate::{
    Caching, ClientError, Cluster, EncodedJob, Event, JobResult, JobSpec, LostAttempt, printable,
};
use stream::{Heard, Operations};

/// One action, as its stream tells of it.
#[derive(Debug)]
pub(crate) struct Execution {
    cluster: Cluster,
    submission: Arc<Submission>,
    operations: Operations,
    id: String,
    action: Option<Digest>,
    /// Names of its output streams; empty before any is known.
    streams: [String; 2],
    /// Why it waits, as it was said last.
    waiting: String,
    told: Told,
    queue: VecDeque<Event>,
    announced: bool,
    sent_again: bool,
}

/// What it takes to submit the same action again.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "stands alone in its Arc")]
pub(crate) enum Submission {
    Execute {
        spec: JobSpec,
        encoded: EncodedJob,
        /// When.
        asked: SystemTime,
    },
    /// An action that somebody submitted before.
    Follow,
}

/// What our own workers give every action without being told.
fn add_fixed_environment(spec: &mut JobSpec) {
    for (name, value) in [("PATH", FIXED_PATH), ("LANG", FIXED_LANG)] {
        if !spec.env.iter().any(|(known, _)| known == name) {
            spec.env.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Execution {
    /// Submits an action to whoever has no sessions. One of a hub of ours that may be recorded should have its host root named.
    pub(crate) async fn submit(cluster: &Cluster, mut spec: JobSpec) -> Result<Self, ClientError> {
        if cluster.kind() == ClusterKind::Engine {
            add_fixed_environment(&mut spec);
        }
        spec.times &= cluster.keeps_times();
        let encoded = spec.encode(cluster.function())?;
        let action = encoded.action;
        let cached = match (cluster.kind(), spec.caching) {
            (ClusterKind::Engine, Caching::Cached) => stream::cached(cluster, &action).await?,
            _ => None,
        };
        let submission = Arc::new(Submission::of(spec, encoded));
        let operations = match cached {
            Some(operation) => Operations::cached(operation),
            None => Operations::open(cluster, &submission, None).await?,
        };
        Ok(Self::new(cluster, submission, String::new(), Some(action), operations))
    }

    /// The same of one whose messages are made, once its events are asked for.
    pub(crate) fn begin(cluster: &Cluster, spec: JobSpec, encoded: EncodedJob) -> Self {
        let action = encoded.action;
        let submission = Arc::new(Submission::of(spec, encoded));
        let operations = Operations::begin(cluster, &submission);
        Self::new(cluster, submission, String::new(), Some(action), operations)
    }

    /// Follows an action that was submitted before, by its whole id.
    pub(crate) async fn follow(cluster: &Cluster, id: String) -> Result<Self, ClientError> {
        let submission = Arc::new(Submission::Follow);
        let operations = Operations::open(cluster, &submission, Some(id.clone())).await?;
        Ok(Self::new(cluster, submission, id, None, operations))
    }

    fn new(
        cluster: &Cluster,
        submission: Arc<Submission>,
        id: String,
        action: Option<Digest>,
        operations: Operations,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            submission,
            operations,
            id,
            action,
            streams: Default::default(),
            waiting: String::new(),
            told: Told::default(),
            queue: VecDeque::new(),
            announced: false,
            sent_again: false,
        }
    }

    /// The operation's id, once it is known.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The action's digest, where it is known.
    pub(crate) const fn action(&self) -> Option<Digest> {
        self.action
    }

    /// Names of standard output and error of the attempt that was told last.
    pub(crate) fn streams(&self) -> [String; 2] {
        self.streams.clone()
    }

    /// The next event; it waits for ever after [`Event::Done`]. That the action runs may come any number of times. A lost
    /// connection is waited out inside. Dropped while it waits, it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            let heard = self.operations.message(&self.cluster, &self.submission, &self.id).await?;
            match heard {
                Heard::Operation(operation) => self.receive(operation)?,
                Heard::SentAgain => {
                    let lost = LostAttempt {
                        reason: "the connection was lost before the engine had answered".to_owned(),
                        ..LostAttempt::unexplained(0, String::new())
                    };
                    let worker = String::new();
                    return Ok(Event::Again { lost, attempt: 0, worker, anew: false });
                }
            }
        }
    }

    fn receive(&mut self, operation: Operation) -> Result<(), ClientError> {
        self.take_name(operation.name);
        let metadata: Option<ExecuteOperationMetadata> =
            operation.metadata.as_ref().and_then(|any| hands_proto::unpack(any).ok());
        let attempt = metadata.map_or(0, |metadata| self.take_metadata(metadata));
        if !operation.done {
            return Ok(());
        }
        let response = match operation.result {
            Some(OperationResult::Response(any)) => hands_proto::unpack::<ExecuteResponse>(&any)
                .map_err(|e| self.broken(&format!("the operation's response: {e}")))?,
            // REAPI forbids it, but the message is worth more than a complaint.
            Some(OperationResult::Error(status)) => {
                ExecuteResponse { status: Some(status), ..ExecuteResponse::default() }
            }
            None => return Err(self.broken("the operation is done and has no response")),
        };
        let foreign = self.cluster.kind() == ClusterKind::Engine;
        let (timeout, asked) = match &*self.submission {
            Submission::Execute { spec, asked, .. } => (spec.timeout, Some(*asked)),
            Submission::Follow => (None, None),
        };
        let result = JobResult {
            asked,
            attempt,
            ..JobResult::new(self.id.clone(), self.action, response, foreign, timeout)
        };
        if let Submission::Execute { encoded, .. } = &*self.submission
            && !self.sent_again
            && result.lacks_messages(encoded)
        {
            // What this connection uploaded before was evicted since.
            self.sent_again = true;
            self.cluster.uploader().forget(&[encoded.action, encoded.command]);
            self.operations = Operations::begin(&self.cluster, &self.submission);
            return Ok(());
        }
        self.queue.extend(self.told.ended(result));
        Ok(())
    }

    fn take_name(&mut self, name: String) {
        let id = match self.cluster.kind() {
            ClusterKind::Engine => name,
            ClusterKind::Agent | ClusterKind::Hub => {
                name.rsplit_once('/').map(|(_, id)| id.to_owned()).unwrap_or(name)
            }
        };
        if !self.announced && !id.is_empty() {
            self.announced = true;
            self.queue.push_back(Event::Queued { id: printable(&id).into_owned() });
        }
        // Whoever lost the operation gives the same submission a new one.
        if !self.id.is_empty() && !id.is_empty() && self.id != id {
            self.queue.extend(self.told.begins_anew());
        }
        self.id = id;
    }

    /// Gives the attempt's number.
    fn take_metadata(&mut self, metadata: ExecuteOperationMetadata) -> u32 {
        let stage = Stage::try_from(metadata.stage).unwrap_or(Stage::Unknown);
        if self.action.is_none() {
            self.action =
                metadata.action_digest.and_then(|d| d.to_digest(self.cluster.function()).ok());
        }
        self.streams = [metadata.stdout_stream_name, metadata.stderr_stream_name];
        let partial = metadata.partial_execution_metadata.unwrap_or_default();
        // Our hub says beside the times why it waits, and which attempt this is.
        let about = partial
            .auxiliary_metadata
            .iter()
            .find_map(|any| hands_proto::unpack::<v1::Job>(any).ok());
        let mut waiting = String::new();
        if let Some(about) = about.as_ref().filter(|about| about.waiting != self.waiting) {
            waiting = printable(&about.waiting).into_owned();
            self.waiting.clone_from(&about.waiting);
        }
        let about = about.unwrap_or_default();
        // The end says for itself what was lost.
        if stage != Stage::Completed {
            let state = State {
                runs: stage == Stage::Executing,
                attempt: about.attempt,
                worker: printable(&partial.worker).into_owned(),
                waiting,
                lost: about.lost.into_iter().map(LostAttempt::from).collect(),
            };
            self.queue.extend(self.told.changed(state, true));
        }
        about.attempt
    }

    fn broken(&self, why: &str) -> ClientError {
        ClientError::Protocol { peer: self.cluster.peer().to_owned(), why: why.to_owned() }
    }
}

impl Submission {
    fn of(spec: JobSpec, encoded: EncodedJob) -> Self {
        Self::Execute { spec, encoded, asked: SystemTime::now() }
    }
}
