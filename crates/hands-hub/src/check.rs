//! The look at a worker's result before it may count: are its entries outputs of the Command, are the streams whole and
//! what the worker says they are, and is every blob that the result names in the store. A worker can't poison: what fails
//! here is done again elsewhere.

mod entries;
mod words;

use bytes::Bytes;
use hands_proto::{reapi, rpc, v1};
use hands_reapi::Invocation;
use hands_store::{Store, StoreError};
use hands_types::Digest;
use hands_types::limits::{INLINE_STREAM, MAX_SAID};
use hands_types::text::{cut, said};
use prost::Message as _;

use crate::logs::{AttemptLog, Stream};

/// What the look brought.
#[derive(Debug)]
pub(crate) enum Checked {
    /// It may count, if the scheduler still wants it.
    Usable {
        /// None if the command was never started.
        result: Option<Box<reapi::ActionResult>>,
        status: rpc::Status,
        /// A hint for people.
        message: String,
    },
    /// It can't be used, and not for a reason of the action's.
    Unusable {
        /// Why not.
        reason: String,
        /// Whether the command ran, as far as the worker says.
        ran: bool,
    },
    /// No such lease was granted to this worker.
    Unknown,
}

/// Entries and bytes of a Command that are compared within a moment.
const FEW: usize = 64;
const SMALL: usize = 16 << 10;

/// Whether a result has entries, so that [`check`] compares them with the Command.
pub(crate) fn has_entries(finished: &v1::Finished) -> bool {
    finished.result.as_ref().is_some_and(|result| entries::count(result) > 0)
}

/// Whether [`check`] takes a moment only.
pub(crate) fn is_quick(log: &AttemptLog, finished: &v1::Finished, command: Option<&Bytes>) -> bool {
    let few = finished.result.as_ref().is_none_or(|result| {
        let n = entries::count(result);
        let is_small = n == 0
            || command
                .is_some_and(|command| command.len() <= SMALL && !entries::has_patterns(command));
        result.output_directories.is_empty() && n <= FEW && is_small
    });
    few && !log.stdout.is_large() && !log.stderr.is_large()
}

/// Looks at a result. `command` is the encoded Command where it is in memory; else it is read. Blocks.
pub(crate) fn check(
    store: &Store,
    log: &AttemptLog,
    worker_name: &str,
    finished: v1::Finished,
    command: Option<Bytes>,
) -> Checked {
    let ran = finished.result.is_some();
    match look(store, log, worker_name, finished, command) {
        Ok(checked) => checked,
        Err(flaw) => Checked::Unusable { reason: said(&flaw.to_string(), MAX_SAID), ran },
    }
}

fn look(
    store: &Store,
    log: &AttemptLog,
    worker_name: &str,
    finished: v1::Finished,
    command: Option<Bytes>,
) -> Result<Checked, Flaw> {
    let status = words::status(finished.status.unwrap_or_default())?;
    if finished.try_elsewhere {
        return Ok(Checked::Unusable { reason: status.message, ran: finished.result.is_some() });
    }
    let message = said(&finished.message, MAX_SAID);
    let Some(mut result) = finished.result else {
        if status.code == rpc::Code::Ok as i32 {
            return Err(Flaw::NoResult);
        }
        return Ok(Checked::Usable { result: None, status, message });
    };
    if !(0..=255).contains(&result.exit_code) {
        return Err(Flaw::ExitCode(result.exit_code));
    }
    if entries::count(&result) > 0 {
        let command = command.map_or_else(|| read_command(store, log), Ok)?;
        entries::compare(&command, &result)?;
    }
    words::tidy(&mut result, log, worker_name);
    let checked = streams(store, log, &mut result, finished.stdout_size, finished.stderr_size)
        .and_then(|()| outputs(store, log, &result));
    match checked {
        Ok(()) => Ok(Checked::Usable { result: Some(Box::new(result)), status, message }),
        Err(Flaw::Store(error)) if error.is_full() => Ok(Checked::Usable {
            result: None,
            status: rpc::Status {
                code: rpc::Code::ResourceExhausted as i32,
                message: format!("the action's output can't be stored: {error}"),
                details: Vec::new(),
            },
            message,
        }),
        Err(flaw) => Err(flaw),
    }
}

/// The Command of an attempt from before a restart. It is pinned for as long as the operation lives.
fn read_command(store: &Store, log: &AttemptLog) -> Result<Bytes, Flaw> {
    let digest = log.record.digest;
    let action = store.read(&digest).map_err(Flaw::Store)?;
    let action =
        action.and_then(|bytes| reapi::Action::decode(bytes).ok()).ok_or(Flaw::NoCommand)?;
    let command = action.command_digest.unwrap_or_default().to_digest(digest.function)?;
    store.read(&command).map_err(Flaw::Store)?.ok_or(Flaw::NoCommand)
}

/// Why a result can't be used.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("the worker reported success without a result")]
    NoResult,
    #[error("a worker does not end an action with the gRPC code {0}")]
    Code(i32),
    #[error("no command ends with the exit code {0}")]
    ExitCode(i32),
    #[error(transparent)]
    Entries(#[from] entries::Foreign),
    #[error(
        "the command is not in the store any more, so the result's outputs can't be compared with it"
    )]
    NoCommand,
    #[error("the hub has {have} of {said} bytes of {stream}")]
    Short { stream: &'static str, have: u64, said: u64 },
    #[error("the worker says that {stream} is {said}, and it is {actual}")]
    Different { stream: &'static str, said: String, actual: Digest },
    #[error("{n} blobs that the result names are not in the store, {first} among them")]
    Missing { n: usize, first: Digest },
    #[error("the result has a bad digest: {0}")]
    Digest(#[from] hands_proto::BadDigest),
    #[error("the action's output can't be stored: {0}")]
    Store(StoreError),
}

fn streams(
    store: &Store,
    log: &AttemptLog,
    result: &mut reapi::ActionResult,
    stdout_size: u64,
    stderr_size: u64,
) -> Result<(), Flaw> {
    let sides = [
        (Stream::Stdout, stdout_size, &mut result.stdout_digest, &mut result.stdout_raw),
        (Stream::Stderr, stderr_size, &mut result.stderr_digest, &mut result.stderr_raw),
    ];
    for (stream, said, digest, raw) in sides {
        let spool = log.stream(stream);
        let have = spool.mark().length;
        if have != said {
            return Err(Flaw::Short { stream: stream.name(), have, said });
        }
        let actual = spool.store(store, log.record.digest.function).map_err(Flaw::Store)?;
        let expected = reapi::Digest::from(actual);
        if let Some(said) = digest.take()
            && said != expected
        {
            let said = format!("{}/{}", cut(&said.hash, 64), said.size_bytes);
            return Err(Flaw::Different { stream: stream.name(), said, actual });
        }
        *digest = Some(expected);
        *raw = match usize::try_from(have) {
            Ok(length) if length <= INLINE_STREAM => spool.read(0, length).unwrap_or_default(),
            _ => bytes::Bytes::new(),
        };
    }
    Ok(())
}

fn outputs(store: &Store, log: &AttemptLog, result: &reapi::ActionResult) -> Result<(), Flaw> {
    // Its client fetches them next.
    let invocation = Invocation::named(&log.record.metadata.tool_invocation_id);
    let missing = hands_reapi::missing_of(store, result, log.record.digest.function, &invocation)
        .map_err(Flaw::Store)?
        .map_err(Flaw::Digest)?;
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(Flaw::Missing { n: missing.len(), first: *first }),
    }
}
