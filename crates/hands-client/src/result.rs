//! How an action ended.

mod skew;
mod timeline;

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use hands_proto::reapi::{ActionResult, ExecuteResponse, ExecutedActionMetadata, OutputFile};
use hands_proto::rpc::PreconditionFailure;
use hands_proto::v1;
use hands_tree::Pattern;
use hands_types::text::NOT_ALL_OUTPUTS;
use hands_types::{Digest, ErrorClass, is_output_pattern};
use prost_types::Timestamp;

use crate::answers::moment;
use crate::error::class_of_code;
use crate::{Code, EncodedJob, JobInfo, LeftOut, LostAttempt, Usage, printable};
pub(crate) use skew::Skew;
pub use timeline::StageSpan;

/// How an action ended: with a result, or with a failure, or (a deadline) with both.
#[derive(Clone, Debug)]
pub struct JobResult {
    /// The operation's id without `operations/`; on other engines, its name.
    pub id: String,
    /// Digest of the action.
    pub action: Option<Digest>,
    /// What the action made; also there when it ran into its deadline.
    pub(crate) result: Option<ActionResult>,
    /// Why there is no result, or not a whole one.
    pub failure: Option<Failure>,
    /// Whether the result was recorded before.
    pub cached: bool,
    /// What the hub has to say about it, printable.
    pub message: String,
    /// What another engine adds to a result, printable: as a rule, where to see more of it.
    pub remark: String,
    /// What stood among the outputs and could not be brought; the result brings all others. Printable.
    pub left_out: LeftOut,
    /// Why some of what it wrote could not be shown, as a fragment of a sentence.
    pub unread: Option<String>,
    /// When this process asked for the action, by this machine's clock; none where another process did.
    pub asked: Option<SystemTime>,
    /// When it had the answer.
    pub answered: Option<SystemTime>,
    /// The attempt that brought it, or was the last to run; 0 where nobody counts.
    pub(crate) attempt: u32,
}

/// How long each stage of an execution took, by the clocks of hub and worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Waiting: for a worker, and there for a slot.
    pub queued: Duration,
    /// Bringing missing inputs to the worker.
    pub fetching: Duration,
    /// Making the input root and the sandbox; only our own workers tell it.
    pub staging: Option<Duration>,
    /// The command itself.
    pub executing: Duration,
    /// Collecting outputs and bringing them to the store.
    pub uploading: Duration,
}

/// Whether an action that is over, as lists have it, ran and not all of its outputs could be brought.
pub fn lacks_outputs(job: &JobInfo) -> bool {
    job.usage.is_some()
        && job.failure.as_ref().is_some_and(|failure| {
            failure.code == Code::InvalidArgument && failure.message.starts_with(NOT_ALL_OUTPUTS)
        })
}

/// Why an action has no whole result.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The code of `ExecuteResponse.status`. `DeadlineExceeded` with a result is the action's own deadline.
    pub code: Code,
    /// The hub's words, printable.
    pub message: String,
    /// Blobs that the hub has not got, as `hash/size`: upload them and submit again.
    pub missing: Vec<String>,
    /// Where there is no result: the attempts that were started and lost before.
    lost: Vec<LostAttempt>,
}

impl Failure {
    pub(crate) fn is_missing(&self, digests: &[Digest]) -> bool {
        digests.iter().any(|d| self.missing.contains(&d.to_string()))
    }

    /// Whose error it is.
    pub const fn class(&self) -> ErrorClass {
        class_of_code(self.code)
    }
}

impl JobResult {
    /// `foreign`: by another engine than our hub. `timeout`: how long the command was allowed to run.
    pub(crate) fn new(
        id: String,
        action: Option<Digest>,
        response: ExecuteResponse,
        foreign: bool,
        timeout: Option<Duration>,
    ) -> Self {
        let failure = response.status.filter(|s| s.code != 0).map(|status| Failure {
            code: Code::of(status.code),
            message: printable(&status.message).into_owned(),
            missing: missing_blobs(&status.details),
            lost: lost_attempts(&status.details),
        });
        let said = printable(&response.message).into_owned();
        // Where a command ended by itself, the words of an engine are none about its end.
        let is_remark = foreign && failure.is_none();
        let (message, remark) =
            if is_remark { (String::new(), said) } else { (said, String::new()) };
        let mut this = Self {
            id,
            action,
            result: response.result,
            failure,
            cached: response.cached_result,
            message,
            remark,
            left_out: LeftOut::default(),
            unread: None,
            asked: None,
            answered: Some(SystemTime::now()),
            attempt: 0,
        };
        if foreign {
            this.tell_deadline(timeout);
        }
        this.take_left_out();
        this
    }

    /// Whether the action was not run because its own messages are not in the store. Whether what was begun is begun anew is for
    /// the caller to say.
    pub(crate) fn lacks_messages(&self, encoded: &EncodedJob) -> bool {
        let messages = [encoded.action, encoded.command];
        self.failure.as_ref().is_some_and(|it| it.is_missing(&messages)) && self.lost().is_empty()
    }

    /// Where a worker tells what it left out, its status says the same in words, for clients that know only those.
    fn take_left_out(&mut self) {
        let Some(left_out) = self.told::<v1::LeftOut>() else { return };
        if self.failure.as_ref().is_some_and(|f| f.code == Code::InvalidArgument) {
            self.failure = None;
        }
        // It is told by the list.
        if let Some(at) = self.message.find(NOT_ALL_OUTPUTS) {
            self.message.truncate(at);
            self.message.truncate(self.message.trim_end_matches(['\n', ';', ' ']).len());
        }
        self.left_out = left_out.into();
    }

    /// What hub and worker add to a result, by its kind.
    fn told<M: prost::Name + hands_proto::Shaped + Default>(&self) -> Option<M> {
        self.metadata()?.auxiliary_metadata.iter().find_map(|any| hands_proto::unpack(any).ok())
    }

    /// One of a command that ended so and brought nothing, for whoever judges results.
    pub fn of_command(exit_code: i32) -> Self {
        let result = ActionResult { exit_code, ..ActionResult::default() };
        let response = ExecuteResponse { result: Some(result), ..ExecuteResponse::default() };
        Self { answered: None, ..Self::new(String::new(), None, response, false, None) }
    }

    /// The same without a command, and without a reason.
    pub fn of_nothing() -> Self {
        Self { result: None, ..Self::of_command(0) }
    }

    /// The same with a file among its outputs.
    #[must_use]
    pub fn with_output(mut self, path: &str) -> Self {
        let file = OutputFile { path: path.to_owned(), ..OutputFile::default() };
        self.result.get_or_insert_default().output_files.push(file);
        self
    }

    /// Tells an action's own deadline in our words. An engine's may be no more than how a connection within it ended. And where
    /// its runner's clock is a moment ahead of its worker's, Buildbarn tells nothing but the death by signal, as exit code -1.
    fn tell_deadline(&mut self, timeout: Option<Duration>) {
        const SENTENCE: &str = "the command was ended at its time limit";
        let was_killed = self.exit_code().is_some_and(|code| code < 0);
        let its_time_was_up =
            timeout.is_some_and(|limit| self.execution_time().is_some_and(|time| time >= limit));
        if was_killed && its_time_was_up {
            self.failure = Some(Failure {
                code: Code::DeadlineExceeded,
                message: SENTENCE.to_owned(),
                missing: Vec::new(),
                lost: Vec::new(),
            });
        } else if self.timed_out()
            && let Some(failure) = &mut self.failure
        {
            failure.message = format!("{SENTENCE}: {}", failure.message);
        }
    }

    /// The command's exit code, where it ended by itself. 128 + signal for a death by signal.
    pub fn exit_code(&self) -> Option<i32> {
        match (&self.failure, &self.result) {
            (None, Some(result)) => Some(result.exit_code),
            _ => None,
        }
    }

    /// Whether the command ran and ended with 0.
    pub fn is_success(&self) -> bool {
        self.exit_code() == Some(0)
    }

    /// Whether the action ran into its own deadline.
    pub fn timed_out(&self) -> bool {
        self.result.is_some()
            && self.failure.as_ref().is_some_and(|f| f.code == Code::DeadlineExceeded)
    }

    /// What its process ended with, whatever else is the matter: also where its time was up.
    pub fn process_code(&self) -> Option<i32> {
        self.result.as_ref().map(|result| result.exit_code)
    }

    /// When its command began, by the worker's clock.
    pub fn started(&self) -> Option<SystemTime> {
        moment(self.metadata()?.execution_start_timestamp)
    }

    /// Times and the worker, where the engine tells them.
    pub(crate) fn metadata(&self) -> Option<&ExecutedActionMetadata> {
        self.result.as_ref()?.execution_metadata.as_ref()
    }

    /// The worker that ran it, printable; empty where the engine does not tell.
    pub fn worker(&self) -> String {
        self.metadata().map_or(String::new(), |m| printable(&m.worker).into_owned())
    }

    /// What the attempt used, from our own workers.
    pub fn usage(&self) -> Option<Usage> {
        self.told::<v1::Usage>().map(Usage::from)
    }

    /// The attempts that were started and lost before this end, oldest first. None for a result that was recorded before:
    /// what happened then is no concern of this job's.
    pub fn lost(&self) -> Vec<LostAttempt> {
        if let (None, Some(failure)) = (&self.result, &self.failure) {
            return failure.lost.clone();
        }
        let lost = if self.cached { None } else { self.told::<v1::LostAttempts>() };
        lost.into_iter().flat_map(|all| all.lost).map(LostAttempt::from).collect()
    }

    /// How long the command itself ran.
    pub fn execution_time(&self) -> Option<Duration> {
        let metadata = self.metadata()?;
        between(
            metadata.execution_start_timestamp.as_ref()?,
            metadata.execution_completed_timestamp.as_ref()?,
        )
    }

    /// How long each stage of the execution took. None where the engine tells no times.
    pub fn stages(&self) -> Option<Stages> {
        let metadata = self.metadata()?;
        let span = |from: &Option<Timestamp>, to: &Option<Timestamp>| {
            between(from.as_ref()?, to.as_ref()?)
        };
        let fetching =
            span(&metadata.input_fetch_start_timestamp, &metadata.input_fetch_completed_timestamp);
        let staging = self.usage().map(|usage| Duration::from_micros(usage.staging_us));
        let queued = match staging {
            // Our workers take leases ahead of free slots: what is neither fetching nor staging is waiting, wherever.
            Some(staging) => span(&metadata.queued_timestamp, &metadata.execution_start_timestamp)?
                .saturating_sub(fetching.unwrap_or_default() + staging),
            None => span(&metadata.queued_timestamp, &metadata.worker_start_timestamp)?,
        };
        Some(Stages {
            queued,
            fetching: fetching.unwrap_or_default(),
            staging,
            executing: self.execution_time().unwrap_or_default(),
            uploading: span(
                &metadata.output_upload_start_timestamp,
                &metadata.output_upload_completed_timestamp,
            )
            .unwrap_or_default(),
        })
    }

    /// The signal that ended the command, where a worker of ours tells it.
    pub fn signal(&self) -> Option<u32> {
        self.usage().map(|usage| usage.signal).filter(|signal| *signal != 0)
    }

    /// Paths of everything that the result brings, as it names them (not made printable).
    pub fn output_paths(&self) -> impl Iterator<Item = &str> {
        let result = self.result.as_ref();
        let files = result.into_iter().flat_map(|r| r.output_files.iter().map(|o| o.path.as_str()));
        let directories =
            result.into_iter().flat_map(|r| r.output_directories.iter().map(|o| o.path.as_str()));
        let links = result.into_iter().flat_map(|r| {
            r.output_symlinks
                .iter()
                .chain(&r.output_file_symlinks)
                .chain(&r.output_directory_symlinks)
                .map(|o| o.path.as_str())
        });
        files.chain(directories).chain(links)
    }

    /// Those of the declared outputs that the result does not bring and does not name as left out. A pattern is missing
    /// where it matches nothing.
    pub fn missing_outputs<'a>(&self, declared: &'a [String]) -> Vec<&'a str> {
        let there: HashSet<Cow<'_, str>> =
            self.output_paths().chain(self.left_out_paths()).map(plain).collect();
        let declared = declared.iter().map(String::as_str);
        declared.filter(|path| !there.contains(&plain(path)) && !self.has_match(path)).collect()
    }

    fn left_out_paths(&self) -> impl Iterator<Item = &str> {
        self.left_out.entries.iter().map(|entry| entry.path.as_str())
    }

    /// Whether what is declared is a pattern for some of the outputs.
    fn has_match(&self, declared: &str) -> bool {
        // Nothing matches what is no pattern.
        let Ok(pattern) = Pattern::new(declared) else { return false };
        is_output_pattern(declared)
            && (self.output_paths().any(|there| pattern.matches(there, &mut 0))
                || self.left_out_paths().any(|path| matches_above(&pattern, path)))
    }
}

fn lost_attempts(details: &[prost_types::Any]) -> Vec<LostAttempt> {
    let lost = details.iter().find_map(|any| hands_proto::unpack::<v1::LostAttempts>(any).ok());
    lost.into_iter().flat_map(|all| all.lost).map(LostAttempt::from).collect()
}

/// The blobs that a FAILED_PRECONDITION names (REAPI: violations of type MISSING, subject `blobs/HASH/SIZE`).
pub(crate) fn missing_blobs(details: &[prost_types::Any]) -> Vec<String> {
    details
        .iter()
        .filter_map(|any| hands_proto::unpack::<PreconditionFailure>(any).ok())
        .flat_map(|failure| failure.violations)
        .filter(|violation| violation.r#type == "MISSING")
        .filter_map(|violation| violation.subject.strip_prefix("blobs/").map(str::to_owned))
        .collect()
}

/// Whether a pattern matches a path or a directory above it: what is left out may stand within an output.
fn matches_above(pattern: &Pattern, path: &str) -> bool {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| pattern.matches(&path[..end], &mut 0))
}

/// The one way to write a path among many.
fn plain(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|name| matches!(name, "" | ".")) {
        return Cow::Borrowed(path);
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Cow::Owned(names.join("/"))
}

fn between(from: &Timestamp, to: &Timestamp) -> Option<Duration> {
    let nanos = |t: &Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    u64::try_from(nanos(to) - nanos(from)).ok().map(Duration::from_nanos)
}
