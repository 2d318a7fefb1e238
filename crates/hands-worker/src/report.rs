//! What is told of an attempt's end.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hands_exec::{CollectError, End, ExecError, Isolation, LeftOut, Ran, Stream};
use hands_proto::{pack, reapi, rpc, v1};
use hands_reapi::BlobError;
use hands_store::StoreError;
use hands_types::limits::{COLLECT, INLINE_STREAM, MAX_STREAM};
use hands_types::text::NOT_ALL_OUTPUTS;
use hands_types::{Attempt, Digest, ErrorClass, error::exit};

use crate::action::Plan;
use crate::output::Streams;

/// Missing blobs that are named: more would not fit into what clients take.
const NAMED: usize = 1000;

const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const INTERNAL: i32 = 13;

/// Entries that were left out of the outputs which a status names in words.
const SAID_OF_LEFT_OUT: usize = 5;

/// Why there is no result, or not a whole one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conclusion {
    pub(crate) status: rpc::Status,
    /// Another worker may do better.
    pub(crate) try_elsewhere: bool,
    /// It was the hub that had no room.
    pub(crate) hub_full: bool,
}

impl Conclusion {
    fn new(code: i32, message: impl Into<String>, try_elsewhere: bool) -> Self {
        let status = rpc::Status { code, message: message.into(), details: Vec::new() };
        Self { status, try_elsewhere, hub_full: false }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status.code == 0
    }

    /// The user's error.
    pub(crate) fn invalid(error: &dyn std::error::Error) -> Self {
        Self::invalid_text(&with_causes(error))
    }

    pub(crate) fn invalid_text(message: &str) -> Self {
        Self::new(INVALID_ARGUMENT, message, false)
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(INTERNAL, message, true)
    }

    pub(crate) fn exhausted(message: impl Into<String>) -> Self {
        Self::new(RESOURCE_EXHAUSTED, message, true)
    }

    /// Exactly one PreconditionFailure that names them, of many the first: Bazel uploads these and tries again.
    pub(crate) fn missing(digests: &[Digest]) -> Self {
        let violations = digests
            .iter()
            .take(NAMED)
            .map(|digest| rpc::precondition_failure::Violation {
                r#type: "MISSING".to_owned(),
                subject: format!("blobs/{digest}"),
                description: String::new(),
            })
            .collect();
        let message =
            format!("{} blobs of the action's inputs are not in the store", digests.len());
        let mut this = Self::new(FAILED_PRECONDITION, message, false);
        this.status.details.push(pack(&rpc::PreconditionFailure { violations }));
        this
    }

    pub(crate) fn of_store(error: &StoreError) -> Self {
        if error.is_full() {
            return Self::exhausted(format!("the worker's disk is full: {}", with_causes(error)));
        }
        Self::by_class(error.class(), with_causes(error), is_out_of_descriptors(error))
    }

    pub(crate) fn of_blobs(what: &str, error: &BlobError) -> Self {
        let text = format!("could not {what}: {}", with_causes(error));
        Self::by_class(error.class(), text, is_out_of_descriptors(error))
    }

    /// The hub had no room for the outputs, for as long as they were kept.
    pub(crate) fn no_room(error: &BlobError) -> Self {
        let text = format!("the hub had no room for the outputs: {}", with_causes(error));
        Self { hub_full: true, ..Self::exhausted(text) }
    }

    pub(crate) fn of_exec(error: &ExecError) -> Self {
        Self::by_class(error.class(), with_causes(error), is_out_of_descriptors(error))
    }

    pub(crate) fn of_collect(error: &CollectError) -> Self {
        let full = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |e| {
            e.source()
        })
        .any(|e| e.downcast_ref::<StoreError>().is_some_and(StoreError::is_full));
        if full {
            return Self::exhausted(format!("the worker's disk is full: {}", with_causes(error)));
        }
        Self::by_class(error.class(), with_causes(error), is_out_of_descriptors(error))
    }

    /// What to say where not all outputs could be brought; none if they were.
    pub(crate) fn of_left_out(left_out: &LeftOut) -> Option<Self> {
        if left_out.total == 0 {
            return None;
        }
        let mut words: Vec<String> = left_out
            .entries
            .iter()
            .take(SAID_OF_LEFT_OUT)
            .map(|entry| format!("the output `{}` {}", entry.path, entry.why))
            .collect();
        let more = left_out.total.saturating_sub(words.len() as u64);
        if more > 0 {
            words.push(format!("{more} more"));
        }
        Some(Self::new(INVALID_ARGUMENT, format!("{NOT_ALL_OUTPUTS}: {}", words.join("; ")), false))
    }

    /// The outputs of an action are more than the hub's store may ever hold.
    pub(crate) fn beyond_hub(bytes: u64, quota: u64) -> Self {
        let full = StoreError::beyond_quota(bytes, quota);
        let message =
            format!("the hub can't hold the action's outputs, and none of them was sent: {full}");
        Self::new(RESOURCE_EXHAUSTED, message, false)
    }

    /// The outputs of an action are too large for this worker. Those that its quota can never hold end the action: to run
    /// the command again would bring as much.
    pub(crate) fn of_outputs(error: &StoreError) -> Self {
        if error.is_beyond_quota() {
            let message = format!(
                "the action's worker can't hold its outputs, and nothing of them was taken in: {}",
                with_causes(error)
            );
            return Self::new(RESOURCE_EXHAUSTED, message, false);
        }
        Self::exhausted(format!(
            "the action's outputs do not fit on this worker, and nothing of them was taken in: {}",
            with_causes(error)
        ))
    }

    /// The spool of a stream can't be written.
    pub(crate) fn of_spool(error: &std::io::Error) -> Self {
        Self::exhausted(format!("the worker can't keep the action's output: {error}"))
    }

    fn by_class(class: ErrorClass, text: String, descriptors: bool) -> Self {
        if descriptors {
            return Self::exhausted(format!(
                "the worker is out of file descriptors; raise its limit (`ulimit -n`): {text}"
            ));
        }
        match class {
            ErrorClass::User | ErrorClass::Config => Self::new(INVALID_ARGUMENT, text, false),
            ErrorClass::Environment => Self::new(RESOURCE_EXHAUSTED, text, true),
            ErrorClass::Infra { .. } | ErrorClass::Bug => Self::new(INTERNAL, text, true),
        }
    }
}

fn is_out_of_descriptors(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustix::io::Errno;
    std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .filter_map(std::io::Error::raw_os_error)
        .any(|code| code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error())
}

/// An error with all of its causes, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |e| e.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// An action's end as REAPI tells it: the exit code, what goes with it, and a line that a shell would write.
#[derive(Debug)]
pub(crate) struct Ending {
    /// None if the command was never started.
    pub(crate) exit_code: Option<i32>,
    pub(crate) conclusion: Conclusion,
    /// A line for stderr.
    pub(crate) line: Option<String>,
    /// For people.
    pub(crate) hint: String,
}

/// What was left out of the outputs, for clients that know the message.
pub(crate) fn left_out(left_out: &LeftOut) -> Option<prost_types::Any> {
    let entries = left_out
        .entries
        .iter()
        .map(|entry| v1::left_out::Entry { path: entry.path.clone(), why: entry.why.clone() });
    let message = v1::LeftOut { entries: entries.collect(), total: left_out.total };
    (left_out.total > 0).then(|| pack(&message))
}

/// Why an output was left out whose collecting took too long.
pub(crate) fn late(limit: Duration, deadline: Option<Duration>, ran: Duration) -> String {
    let minutes = COLLECT.as_secs() / 60;
    match deadline {
        Some(deadline) if limit < COLLECT => format!(
            "was not collected within {limit:.1?}, which is what the action's time limit of {deadline:?} left after {ran:.1?}, and \
             a minute at least: write less, or raise --timeout"
        ),
        Some(_) | None => {
            format!(
                "was not collected within {minutes} minutes, the most for any action: write less"
            )
        }
    }
}

/// Reads how an action ended.
pub(crate) fn ending(ran: &Ran, plan: &Plan) -> Ending {
    let program =
        || plan.command.arguments.first().map(|p| p.escape_debug().to_string()).unwrap_or_default();
    let errno = |code: i32| std::io::Error::from_raw_os_error(code);
    let with = |code: i32| Ending {
        exit_code: Some(code),
        conclusion: Conclusion::default(),
        line: None,
        hint: String::new(),
    };
    let killed = 128 + 9;
    let mut ending = match &ran.end {
        End::Exited(code) => with(*code),
        End::Signaled(signal) => with(128 + signal),
        End::TimedOut => {
            let limit = plan.deadline.unwrap_or_default();
            let message = format!("the action was killed at its deadline of {limit:?}");
            Ending {
                conclusion: Conclusion::new(DEADLINE_EXCEEDED, message, false),
                ..with(killed)
            }
        }
        End::TooMuchOutput(stream) => {
            let message = format!(
                "the action was killed because it wrote more than {} MiB to {}",
                MAX_STREAM >> 20,
                stream.name()
            );
            Ending { conclusion: Conclusion::new(INVALID_ARGUMENT, message, false), ..with(killed) }
        }
        End::NotFound => Ending {
            line: Some(format!("hands: {}: command not found\n", program())),
            ..with(i32::from(exit::NOT_FOUND))
        },
        End::NotExecutable(code) => Ending {
            line: Some(format!("hands: {}: {}\n", program(), strerror(*code))),
            ..with(i32::from(exit::CANNOT_EXECUTE))
        },
        End::BadWorkingDirectory(code) => {
            let message = format!(
                "the working directory `{}` can't be entered: {}",
                plan.outputs.working_directory,
                strerror(*code)
            );
            Ending { exit_code: None, conclusion: Conclusion::invalid_text(&message), ..with(0) }
        }
        End::NotStarted(step, code) => {
            let text = format!("{step}: {}", errno(*code));
            let source = std::io::Error::from_raw_os_error(*code);
            let conclusion = if is_out_of_descriptors(&source)
                || *code == rustix::io::Errno::NOSPC.raw_os_error()
            {
                Conclusion::exhausted(text)
            } else {
                Conclusion::internal(&text)
            };
            Ending { exit_code: None, conclusion, ..with(0) }
        }
        End::Cancelled => Ending {
            exit_code: None,
            conclusion: Conclusion::internal("the action was killed by its worker"),
            ..with(0)
        },
    };
    if ran.oom_killed {
        ending.hint = format!(
            "a process of the action was killed because the action used more memory than it asked for, {} MiB at its peak; \
             ask for more with --memory",
            ran.usage.peak_memory.div_ceil(1 << 20)
        );
    }
    ending
}

/// The signal that a command died of; 0 when it ended by itself.
fn signal(end: &End) -> u32 {
    match end {
        End::Signaled(signal) => u32::try_from(*signal).unwrap_or_default(),
        End::TimedOut | End::TooMuchOutput(_) | End::Cancelled => 9,
        End::Exited(_)
        | End::NotFound
        | End::NotExecutable(_)
        | End::BadWorkingDirectory(_)
        | End::NotStarted(..) => 0,
    }
}

/// The kernel's words, without the number that Rust appends.
fn strerror(code: i32) -> String {
    let text = std::io::Error::from_raw_os_error(code).to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// When things happened to an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) received: SystemTime,
    pub(crate) fetch_start: SystemTime,
    pub(crate) fetch_end: SystemTime,
    /// The slot was given to it. REAPI has no name for this moment.
    pub(crate) stage_start: SystemTime,
    pub(crate) run_start: SystemTime,
    pub(crate) run_end: SystemTime,
    pub(crate) upload_start: SystemTime,
    pub(crate) upload_end: SystemTime,
}

impl Times {
    /// All at once; later stages overwrite theirs. Bazel computes nonsense from times that are not set.
    pub(crate) fn starting(now: SystemTime) -> Self {
        Self {
            received: now,
            fetch_start: now,
            fetch_end: now,
            stage_start: now,
            run_start: now,
            run_end: now,
            upload_start: now,
            upload_end: now,
        }
    }
}

/// Completes a result: streams, exit code, metadata.
pub(crate) fn complete(
    mut result: reapi::ActionResult,
    exit_code: i32,
    streams: &Streams,
    metadata: reapi::ExecutedActionMetadata,
) -> reapi::ActionResult {
    result.exit_code = exit_code;
    let (out, err) = (streams.spool(Stream::Stdout), streams.spool(Stream::Stderr));
    let inline = |bytes: Option<Bytes>| bytes.unwrap_or_default();
    result.stdout_digest = Some(out.digest().into());
    result.stderr_digest = Some(err.digest().into());
    result.stdout_raw = inline(out.whole(INLINE_STREAM));
    result.stderr_raw = inline(err.whole(INLINE_STREAM));
    result.execution_metadata = Some(metadata);
    result
}

/// The metadata of an executed action.
pub(crate) fn metadata(
    worker: &str,
    plan: &Plan,
    times: &Times,
    ran: Option<&Ran>,
    isolation: Isolation,
    attempt: Attempt,
) -> reapi::ExecutedActionMetadata {
    let at = |time: SystemTime| Some(prost_types::Timestamp::from(time));
    let took = times.run_end.duration_since(times.run_start).unwrap_or_default();
    let staging = times.run_start.duration_since(times.stage_start).unwrap_or_default();
    let usage = ran.map(|ran| v1::Usage {
        user_us: ran.usage.user_us,
        system_us: ran.usage.system_us,
        peak_memory: ran.usage.peak_memory,
        isolation: isolation.name().to_owned(),
        attempt: attempt.0,
        oom_killed: ran.oom_killed,
        network_attempted: ran.network_attempted,
        signal: signal(&ran.end),
        staging_us: u64::try_from(staging.as_micros()).unwrap_or(u64::MAX),
        output_closed: ran.output_closed,
    });
    reapi::ExecutedActionMetadata {
        worker: worker.to_owned(),
        queued_timestamp: plan.queued.or_else(|| at(times.received)),
        worker_start_timestamp: at(times.received),
        worker_completed_timestamp: at(SystemTime::now()),
        input_fetch_start_timestamp: at(times.fetch_start),
        input_fetch_completed_timestamp: at(times.fetch_end),
        execution_start_timestamp: at(times.run_start),
        execution_completed_timestamp: at(times.run_end),
        output_upload_start_timestamp: at(times.upload_start),
        output_upload_completed_timestamp: at(times.upload_end),
        auxiliary_metadata: usage.iter().map(pack).collect(),
        virtual_execution_duration: prost_types::Duration::try_from(took).ok(),
    }
}
