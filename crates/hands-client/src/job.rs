//! One submitted action, followed to its end.
//!
//! A [`Job`] owns the stream of its operation and, where its output is wanted live, two log streams. It has no task of
//! its own: everything happens inside [`Job::next`], so a caller that does not ask holds the stream back. Dropping it
//! drops the streams, by which the hub cancels the action unless others wait for it or it was submitted with `detach`.

#[cfg(test)]
mod again_tests;
mod logs;
mod operation;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_proto::reapi::{ExecuteOperationMetadata, ExecuteResponse};
use hands_proto::v1;
use hands_types::platform::{FIXED_LANG, FIXED_PATH};
use hands_types::{Digest, limits};

use crate::cluster::ClusterKind;
use crate::{Caching, ClientError, Cluster, EncodedJob, JobResult, JobSpec, Logs, printable};
use logs::Log;
use operation::{Heard, Operations};

/// Which of an action's streams. A terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happens to a job, in this order: `Queued` once, then any of the others, `Done` last.
#[derive(Clone, Debug)]
pub enum Event {
    /// The hub has the action, durably. It has this id.
    Queued {
        /// The operation's id.
        id: String,
    },
    /// It waits, and this is why: one sentence of the hub's.
    Waiting {
        /// The reason, printable.
        reason: String,
    },
    /// A worker runs it. May come again, when a worker was lost.
    Started {
        /// The worker's name, printable; empty where the engine does not tell.
        worker: String,
    },
    /// An attempt was lost with its worker, and the action is run again. Comes for each such attempt, also where it was lost
    /// before this program looked.
    Again {
        /// The attempt that was lost.
        lost: LostAttempt,
        /// The number of the attempt that runs now, or brought the result; 0 where the cluster does not know the action any
        /// more, so that it was submitted again.
        attempt: u32,
        /// The worker that has it, printable; may be empty.
        worker: String,
        /// Whether something that was handed out comes anew, from its first byte ([`Job::restart`]).
        anew: bool,
    },
    /// An attempt was lost, and the action ends without the result of another. Comes just before the end for each such attempt
    /// that was not told.
    Lost {
        /// The attempt.
        lost: LostAttempt,
    },
    /// A piece of a stream; without [`Logs::Live`] there are none.
    Output {
        /// Which stream.
        stream: JobStream,
        /// The attempt that wrote it; 0 where the engine does not tell.
        attempt: u32,
        /// The bytes as the action wrote them.
        data: Bytes,
    },
    /// The end. All output has come before.
    Done(Box<JobResult>),
}

/// An attempt that was lost with its worker, or given up by it. Its command may have been started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The worker's name, printable; may be empty.
    pub worker: String,
    /// Why, as a fragment of a sentence, printable; may be empty.
    pub reason: String,
    /// Its worker was not lost: the attempt was given up, or its result could not be used, as the reason says.
    pub given_up: bool,
    /// It was not lost: the other attempt, which was begun beside it because it took long, has ended first.
    pub overtaken: bool,
}

/// One submitted action.
#[derive(Debug)]
pub struct Job {
    cluster: Cluster,
    submission: Arc<Submission>,
    id: String,
    action: Option<Digest>,
    operations: Operations,
    note: Option<&'static str>,
    /// Why it waits, as it was said last.
    waiting: String,
    logs: [Log; 2],
    stage: Stage,
    /// The attempt that was seen running last, and its worker.
    running: (u32, String),
    /// The highest number of an attempt that was told to be lost.
    told_lost: u32,
    queue: VecDeque<Event>,
    result: Option<Box<JobResult>>,
    ended: bool,
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
    Follow { logs: Logs, patience: Option<Duration> },
}

impl Submission {
    fn logs(&self) -> Logs {
        match self {
            Self::Execute { spec, .. } => spec.logs,
            Self::Follow { logs, .. } => *logs,
        }
    }

    /// For how long a hub may be away.
    const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Execute { spec, .. } => spec.patience,
            Self::Follow { patience, .. } => *patience,
        }
    }
}

/// What our own workers give every action without being told.
fn add_fixed_environment(spec: &mut JobSpec) {
    for (name, value) in [("PATH", FIXED_PATH), ("LANG", FIXED_LANG)] {
        if !spec.env.iter().any(|(known, _)| known == name) {
            spec.env.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Cluster {
    /// Submits an action: uploads Action and Command and calls Execute. The input root must be in the store. What it can see
    /// of a worker's own files becomes part of its key first, where its result may be recorded
    /// ([`Cluster::name_host_root`]).
    pub async fn submit(&self, mut spec: JobSpec) -> Result<Job, ClientError> {
        let note = match self.kind() {
            ClusterKind::Agent | ClusterKind::Hub => self.name_host_root(&mut spec).await?,
            ClusterKind::Engine => {
                add_fixed_environment(&mut spec);
                None
            }
        };
        spec.times &= self.keeps_times();
        let encoded = spec.encode(self.function())?;
        let mut job = self.submit_encoded(spec, encoded).await?;
        job.note = note;
        Ok(job)
    }

    /// Submits an action whose messages were encoded before. Submitting the same encoded job twice is one submission. One
    /// that may be recorded should have its host root named ([`Cluster::name_host_root`]).
    pub async fn submit_encoded(
        &self,
        spec: JobSpec,
        encoded: EncodedJob,
    ) -> Result<Job, ClientError> {
        let action = encoded.action;
        let cached = match (self.kind(), spec.caching) {
            (ClusterKind::Engine, Caching::Cached) => operation::cached(self, &action).await?,
            _ => None,
        };
        let asked = SystemTime::now();
        let submission = Arc::new(Submission::Execute { spec, encoded, asked });
        let operations = match cached {
            Some(operation) => Operations::cached(operation),
            None => Operations::open(self, &submission, None).await?,
        };
        Ok(Job::new(self.clone(), submission, String::new(), Some(action), operations))
    }

    /// Follows an action that was submitted before: by its whole id, or a unique prefix. Its result is there for an
    /// hour at least, cached ones and detached ones longer. With `Logs::Live` its output comes from the beginning.
    pub async fn follow(&self, id: &str, logs: Logs) -> Result<Job, ClientError> {
        let id = match self.kind() {
            ClusterKind::Engine => id.to_owned(),
            ClusterKind::Agent | ClusterKind::Hub => self.get(id).await?.id,
        };
        let patience = Some(limits::ORPHAN);
        let submission = Arc::new(Submission::Follow { logs, patience });
        let operations = Operations::open(self, &submission, Some(id.clone())).await?;
        Ok(Job::new(self.clone(), submission, id, None, operations))
    }
}

impl Job {
    fn new(
        cluster: Cluster,
        submission: Arc<Submission>,
        id: String,
        action: Option<Digest>,
        operations: Operations,
    ) -> Self {
        let function = cluster.function();
        let logs = [JobStream::Stdout, JobStream::Stderr].map(|stream| match submission.logs() {
            Logs::Live => Log::idle(stream, function),
            Logs::No => Log::unwanted(stream, function),
        });
        Self {
            cluster,
            submission,
            id,
            action,
            operations,
            note: None,
            waiting: String::new(),
            logs,
            stage: Stage::Unknown,
            running: (0, String::new()),
            told_lost: 0,
            queue: VecDeque::new(),
            result: None,
            ended: false,
            announced: false,
            sent_again: false,
        }
    }

    /// The operation's id; empty before [`Event::Queued`] of a new submission.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What its user should know about the way it was submitted: a sentence.
    pub fn note(&self) -> Option<&'static str> {
        self.note
    }

    /// The action's digest, where it is known.
    pub fn action(&self) -> Option<Digest> {
        self.action
    }

    /// The next event; none after [`Event::Done`] or an error. A lost connection is waited out inside. May be dropped
    /// while it waits (as one branch of a `select!`) without losing anything.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        match self.step().await {
            Ok(event) => {
                self.ended = matches!(event, Event::Done(_));
                Ok(Some(event))
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }

    /// Has a stream begin anew when another attempt writes it: its bytes go where that can be seen, to a terminal or with the
    /// attempt's number beside them. Any other stream goes on only where the next attempt has written the same so far, and
    /// ends with [`ClientError::OtherOutput`] else.
    pub const fn restart(&mut self, stream: JobStream) {
        let [stdout, stderr] = &mut self.logs;
        match stream {
            JobStream::Stdout => stdout.restart(),
            JobStream::Stderr => stderr.restart(),
        }
    }

    /// Waits for the end; what comes before is dropped.
    pub async fn wait(self) -> Result<JobResult, ClientError> {
        self.wait_telling(|_| {}).await
    }

    /// Waits for the end; what comes before is handed to somebody.
    pub async fn wait_telling(
        mut self,
        mut told: impl FnMut(&Event),
    ) -> Result<JobResult, ClientError> {
        loop {
            match self.next().await? {
                Some(Event::Done(result)) => return Ok(*result),
                Some(event) => told(&event),
                None => return Err(self.broken("the operation has ended without a result")),
            }
        }
    }

    /// Waits until the hub has the action and returns its id: what `--detach` needs before it lets go.
    pub async fn accepted(&mut self) -> Result<String, ClientError> {
        while self.id.is_empty() {
            let heard = self.operations.message(&self.cluster, &self.submission, &self.id).await?;
            self.hear(heard)?;
        }
        Ok(self.id.clone())
    }

    /// Asks the hub to end the action at once. Its end comes as an event all the same.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        if self.id.is_empty() {
            // Not accepted yet: dropping the job is what ends it.
            return Ok(());
        }
        self.cluster.cancel_exactly(&self.id).await
    }

    /// Whether the action has ended: what comes from here on is what it wrote before.
    pub fn has_result(&self) -> bool {
        self.result.is_some() || self.ended
    }

    /// Tells the running action that nobody reads this stream any more: its next write there meets SIGPIPE. False where that
    /// can't be told: it does not run, it is cacheable or detached, others wait for it too, or its engine has no such call.
    pub async fn close_output(&self, stream: JobStream) -> bool {
        if self.id.is_empty() || self.cluster.kind() == ClusterKind::Engine {
            return false;
        }
        match self.cluster.close_output(&self.id, stream).await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a stream can't be closed");
                false
            }
        }
    }

    async fn step(&mut self) -> Result<Event, ClientError> {
        loop {
            if self.result.is_some() {
                self.settle_logs()?;
            }
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            if self.logs.iter().all(Log::is_settled)
                && let Some(result) = self.result.take()
            {
                return Ok(Event::Done(result));
            }
            let done = self.result.is_some();
            let [stdout, stderr] = &mut self.logs;
            tokio::select! {
                biased;
                data = stdout.next(&self.cluster) => self.output(JobStream::Stdout, data)?,
                data = stderr.next(&self.cluster) => self.output(JobStream::Stderr, data)?,
                heard = self.operations.message(&self.cluster, &self.submission, &self.id), if !done => {
                    self.hear(heard?)?;
                }
            }
        }
    }

    fn output(
        &mut self,
        stream: JobStream,
        data: Result<Option<Bytes>, ClientError>,
    ) -> Result<(), ClientError> {
        let [stdout, stderr] = &mut self.logs;
        let log = match stream {
            JobStream::Stdout => stdout,
            JobStream::Stderr => stderr,
        };
        match (data, &mut self.result) {
            (Ok(data), _) => {
                if let Some(data) = data.filter(|d| !d.is_empty()) {
                    let attempt = log.attempt();
                    self.queue.push_back(Event::Output { stream, attempt, data });
                }
            }
            (Err(error @ ClientError::OtherOutput { .. }), _) | (Err(error), None) => {
                return Err(error);
            }
            // It has been run, and what else it made is there.
            (Err(error), Some(result)) => {
                log.give_up();
                let name = crate::error::name_of(stream);
                result.unread.get_or_insert(format!("its {name} can't be had: {error}"));
            }
        }
        Ok(())
    }

    /// Compares what was shown with what the result says, and shows or fetches the rest.
    fn settle_logs(&mut self) -> Result<(), ClientError> {
        let result = self.result.as_ref().and_then(|r| r.result.as_ref());
        let attempt = self.running.0;
        for (log, stream) in self.logs.iter_mut().zip([JobStream::Stdout, JobStream::Stderr]) {
            let rest = match (result, stream) {
                (None, _) => log.settle_without_result(),
                (Some(r), JobStream::Stdout) => {
                    log.settle(&self.cluster, &r.stdout_raw, r.stdout_digest.as_ref(), attempt)?
                }
                (Some(r), JobStream::Stderr) => {
                    log.settle(&self.cluster, &r.stderr_raw, r.stderr_digest.as_ref(), attempt)?
                }
            };
            if let Some(data) = rest.filter(|data| !data.is_empty()) {
                self.queue.push_back(Event::Output { stream, attempt: log.attempt(), data });
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) -> Result<(), ClientError> {
        let operation = match heard {
            Heard::Operation(operation) => operation,
            Heard::SentAgain => {
                let lost = LostAttempt {
                    attempt: 0,
                    worker: String::new(),
                    reason: "the connection was lost before the engine had answered".to_owned(),
                    given_up: false,
                    overtaken: false,
                };
                let worker = String::new();
                self.queue.push_back(Event::Again { lost, attempt: 0, worker, anew: false });
                return Ok(());
            }
        };
        self.take_name(operation.name);
        let metadata: Option<ExecuteOperationMetadata> =
            operation.metadata.as_ref().and_then(|any| hands_proto::unpack(any).ok());
        let streams = metadata.as_ref().map(|metadata| {
            (metadata.stdout_stream_name.clone(), metadata.stderr_stream_name.clone())
        });
        let about = metadata.map(|metadata| self.take_metadata(metadata)).unwrap_or_default();
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
            Submission::Follow { .. } => (None, None),
        };
        let result = JobResult {
            asked,
            ..JobResult::new(self.id.clone(), self.action, response, foreign, timeout)
        };
        if let Submission::Execute { encoded, .. } = &*self.submission
            && !self.sent_again
            // Whether what was begun is begun anew is for the caller to say.
            && result.lost().is_empty()
            && result
                .failure
                .as_ref()
                .is_some_and(|f| f.is_missing(&[encoded.action, encoded.command]))
        {
            // What this connection uploaded before was evicted since.
            self.sent_again = true;
            self.cluster.uploader().forget(&[encoded.action, encoded.command]);
            self.operations = Operations::anew(&self.cluster, &self.submission);
            return Ok(());
        }
        if result.result.is_none() {
            let lost = result.lost().into_iter().filter(|lost| lost.attempt > self.told_lost);
            self.queue.extend(lost.map(|lost| Event::Lost { lost }));
        }
        match (&result.result, streams) {
            (None, Some((stdout, stderr))) if !foreign => {
                // What it wrote before it ended so has no other name.
                let [out, err] = &mut self.logs;
                out.open_left(&self.cluster, &stdout, about.attempt);
                err.open_left(&self.cluster, &stderr, about.attempt);
            }
            (Some(_), _) if about.attempt > 0 => {
                self.turn_to(about.attempt, &result.worker(), result.lost(), true, |log| {
                    log.turn_to(about.attempt)
                });
            }
            _ => {}
        }
        self.result = Some(Box::new(result));
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
        // A hub that lost the operation gives the same submission a new one.
        if !self.id.is_empty() && !id.is_empty() && self.id != id {
            self.turn_to_other_execution();
        }
        self.id = id;
    }

    /// Nothing that comes from now on belongs to what has come: also where attempts have the same numbers.
    fn turn_to_other_execution(&mut self) {
        let (attempt, worker) = mem::take(&mut self.running);
        let stage = mem::replace(&mut self.stage, Stage::Unknown);
        self.told_lost = 0;
        let anew =
            self.logs.iter_mut().fold(false, |anew, log| log.turn_to_other_execution() | anew);
        if attempt > 0 || stage == Stage::Executing {
            let (reason, given_up, overtaken) = Default::default();
            let lost = LostAttempt { attempt, worker, reason, given_up, overtaken };
            self.queue.push_back(Event::Again { lost, attempt: 0, worker: String::new(), anew });
        }
    }

    /// Says which attempts were lost before this one, and turns the streams to it.
    fn turn_to(
        &mut self,
        attempt: u32,
        worker: &str,
        mut lost: Vec<LostAttempt>,
        has_result: bool,
        mut turn: impl FnMut(&mut Log) -> bool,
    ) {
        let (before, its_worker) = mem::replace(&mut self.running, (attempt, worker.to_owned()));
        lost.retain(|lost| lost.attempt > self.told_lost && lost.attempt != attempt);
        let at = self.queue.len();
        let anew = self.logs.iter_mut().fold(false, |anew, log| turn(log) | anew);
        if lost.is_empty() && before > self.told_lost && before != attempt {
            // Otherwise a hub tells what was lost; one that was started again may not know.
            let overtaken = has_result;
            if anew || (before < attempt && !has_result) {
                let (worker, reason) = (its_worker, String::new());
                let given_up = false;
                lost.push(LostAttempt { attempt: before, worker, reason, given_up, overtaken });
            }
        }
        for (i, lost) in lost.into_iter().enumerate() {
            self.told_lost = lost.attempt;
            let again = Event::Again { lost, attempt, worker: worker.to_owned(), anew };
            self.queue.insert(at + i, again);
        }
    }

    /// Gives what a hub of ours says beside the times.
    fn take_metadata(&mut self, metadata: ExecuteOperationMetadata) -> v1::Job {
        let stage = Stage::try_from(metadata.stage).unwrap_or(Stage::Unknown);
        if self.action.is_none() {
            self.action =
                metadata.action_digest.and_then(|d| d.to_digest(self.cluster.function()).ok());
        }
        let partial = metadata.partial_execution_metadata.unwrap_or_default();
        // Our hub says beside the times why it waits, and which attempt this is.
        let about = partial
            .auxiliary_metadata
            .iter()
            .find_map(|any| hands_proto::unpack::<v1::Job>(any).ok());
        if let Some(about) = about.as_ref().filter(|about| about.waiting != self.waiting) {
            if !about.waiting.is_empty() {
                let reason = printable(&about.waiting).into_owned();
                self.queue.push_back(Event::Waiting { reason });
            }
            self.waiting.clone_from(&about.waiting);
        }
        let about = about.unwrap_or_default();
        let executing = stage == Stage::Executing;
        let is_new = executing && (self.stage, self.running.0) != (stage, about.attempt);
        self.stage = stage;
        if executing {
            let worker = printable(&partial.worker).into_owned();
            let cluster = self.cluster.clone();
            let mut names =
                [&metadata.stdout_stream_name, &metadata.stderr_stream_name].into_iter();
            let lost = about.lost.iter().cloned().map(LostAttempt::from).collect();
            self.turn_to(about.attempt, &worker, lost, false, |log| {
                names.next().is_some_and(|name| log.open(&cluster, name, about.attempt))
            });
            if is_new {
                self.queue.push_back(Event::Started { worker });
            }
        }
        about
    }

    fn broken(&self, why: &str) -> ClientError {
        ClientError::Protocol { peer: self.cluster.peer().to_owned(), why: why.to_owned() }
    }
}
