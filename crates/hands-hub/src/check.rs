//! The look at a worker's result before it may count: are its entries outputs of the Command, are the streams whole and
//! what the worker says they are, and is every blob that the result names in the store. A worker can't poison: what fails
//! here is done again elsewhere.

mod entries;
mod keep;
pub(crate) mod words;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hands_proto::{Charge, FIRST_LOOK, Room, Tight, reapi, rpc, v1};
use hands_reapi::{BadResult, Invocation, LookError};
use hands_store::{Store, StoreError};
use hands_types::Digest;
use hands_types::limits::{INLINE_STREAM, MAX_COMMAND, MAX_SAID};
use hands_types::text::{cut, said};
use prost::Message as _;
use tonic::Status;

use crate::logs::{AttemptLog, Stream};
pub(crate) use keep::Kept;

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
        /// Whether it was the hub that had no room, as far as the worker says.
        hub_full: bool,
    },
    /// No such lease was granted to this worker.
    Unknown,
}

/// Entries and bytes of a Command that are compared within a moment.
const FEW: usize = 64;
const SMALL: usize = 16 << 10;
/// What a Command and the paths in it become for each of its bytes.
const DECODED: usize = 10;
/// What may be read of one that is not in memory.
#[expect(clippy::cast_possible_truncation, reason = "it is 5 MiB")]
const MAX_COMMAND_READ: usize = MAX_COMMAND as usize;

/// How many entries a result has.
pub(crate) fn n_entries(result: &reapi::ActionResult) -> usize {
    entries::count(result)
}

/// Whether a result has entries, so that a look compares them with the Command.
pub(crate) fn has_entries(finished: &v1::Finished) -> bool {
    finished.result.as_ref().is_some_and(|result| entries::count(result) > 0)
}

/// Whether [`Lookout::check`] takes a moment only.
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

/// What a look at a result needs.
#[derive(Clone, Debug)]
pub(crate) struct Lookout {
    pub(crate) store: Store,
    pub(crate) log: Arc<AttemptLog>,
    pub(crate) worker_name: Arc<str>,
    /// The encoded Command where it is in memory; else it is read.
    pub(crate) command: Option<Bytes>,
}

/// A result, but for the blobs that it names.
enum Begun {
    Checked(Checked),
    Outputs(Box<Outputs>),
}

struct Outputs {
    result: reapi::ActionResult,
    status: rpc::Status,
    message: String,
}

impl Lookout {
    /// Looks at a result that [`is_quick`], with what [`Self::keep`] said of it.
    pub(crate) fn check(&self, finished: v1::Finished, kept: Result<Kept, StoreError>) -> Checked {
        match self.begin(finished, kept) {
            Begun::Checked(checked) => checked,
            Begun::Outputs(outputs) => {
                // Nothing of it is too much for any room.
                let found = self.outputs(&outputs.result, &mut Room::new(usize::MAX));
                outputs.checked(found.unwrap_or(Ok(())))
            }
        }
    }

    /// Looks at any other one, within the memory that its worker may take.
    pub(crate) async fn check_large(
        self,
        finished: v1::Finished,
        charge: Option<&Arc<Charge>>,
    ) -> Checked {
        let ran = finished.result.is_some();
        self.look_at_large(finished, charge).await.unwrap_or_else(|status| Checked::Unusable {
            reason: said(status.message(), MAX_SAID),
            ran,
            hub_full: false,
        })
    }

    async fn look_at_large(
        self,
        finished: v1::Finished,
        charge: Option<&Arc<Charge>>,
    ) -> Result<Checked, Status> {
        let kept = self.keep_in_time(&finished).await?;
        // The Command once decoded, and the paths of both side by side.
        let command = self.command.as_ref().map_or(MAX_COMMAND_READ, Bytes::len);
        let memory = command.saturating_mul(DECODED).saturating_add(FIRST_LOOK);
        // A worker has to wait for others, and is not refused for them.
        let look = hands_reapi::look(charge, memory, Duration::MAX).await?;
        let (begun, lookout) = crate::task::blocking(move || {
            let _look = look;
            (self.begin(finished, kept), self)
        })
        .await?;
        let outputs = match begun {
            Begun::Checked(checked) => return Ok(checked),
            Begun::Outputs(outputs) => Arc::new(*outputs),
        };
        let looked_at = Arc::clone(&outputs);
        let expected = hands_reapi::expected(&outputs.result);
        let look = move |room: &mut Room| lookout.outputs(&looked_at.result, room);
        let looked = hands_reapi::looking(charge, expected, Duration::MAX, look).await?;
        let outputs = Arc::into_inner(outputs);
        let outputs =
            outputs.ok_or_else(|| Status::internal("a look at a result has not ended"))?;
        Ok(outputs.checked(looked.found))
    }

    fn begin(&self, finished: v1::Finished, kept: Result<Kept, StoreError>) -> Begun {
        let ran = finished.result.is_some();
        let reason = |flaw: Flaw| said(&flaw.to_string(), MAX_SAID);
        self.look(finished, kept).unwrap_or_else(|flaw| {
            Begun::Checked(Checked::Unusable { reason: reason(flaw), ran, hub_full: false })
        })
    }

    /// Whether the blobs that a result names are there, and its directories can be put in place.
    fn outputs(
        &self,
        result: &reapi::ActionResult,
        room: &mut Room,
    ) -> Result<Result<(), Flaw>, Tight> {
        let record = &self.log.record;
        // Its client fetches them next.
        let invocation = Invocation::named(&record.metadata.tool_invocation_id);
        let function = record.digest.function;
        match hands_reapi::missing_of(&self.store, result, function, &invocation, room) {
            Ok(missing) => Ok(match missing.first() {
                None => Ok(()),
                Some(first) => Err(Flaw::Missing { n: missing.len(), first: *first }),
            }),
            Err(LookError::Tight(tight)) => Err(tight),
            Err(LookError::Store(error)) => Ok(Err(Flaw::Store(error))),
            Err(LookError::Bad(bad)) => Ok(Err(Flaw::Bad(bad))),
        }
    }

    fn look(&self, finished: v1::Finished, kept: Result<Kept, StoreError>) -> Result<Begun, Flaw> {
        let Self { store, log, worker_name, command } = self;
        look(store, log, worker_name, (finished, kept), command.clone())
    }
}

impl Outputs {
    fn checked(self, found: Result<(), Flaw>) -> Checked {
        let Self { result, status, message } = self;
        match found {
            Ok(()) => Checked::Usable { result: Some(Box::new(result)), status, message },
            Err(Flaw::Store(error)) if error.is_full() => full(&error, message),
            Err(flaw) => {
                let reason = said(&flaw.to_string(), MAX_SAID);
                Checked::Unusable { reason, ran: true, hub_full: false }
            }
        }
    }
}

/// The end of an action whose output the hub has no room for.
fn full(error: &StoreError, message: String) -> Checked {
    Checked::Usable {
        result: None,
        status: rpc::Status {
            code: rpc::Code::ResourceExhausted as i32,
            message: format!("the action's output can't be stored: {error}"),
            details: Vec::new(),
        },
        message,
    }
}

fn look(
    store: &Store,
    log: &AttemptLog,
    worker_name: &str,
    (finished, kept): (v1::Finished, Result<Kept, StoreError>),
    command: Option<Bytes>,
) -> Result<Begun, Flaw> {
    let status = words::status(finished.status.unwrap_or_default())?;
    if finished.try_elsewhere {
        let (ran, hub_full) = (finished.result.is_some(), finished.hub_full);
        return Ok(Begun::Checked(Checked::Unusable { reason: status.message, ran, hub_full }));
    }
    let message = said(&finished.message, MAX_SAID);
    let Some(mut result) = finished.result else {
        if status.code == rpc::Code::Ok as i32 {
            return Err(Flaw::NoResult);
        }
        return Ok(Begun::Checked(Checked::Usable { result: None, status, message }));
    };
    if !(0..=255).contains(&result.exit_code) {
        return Err(Flaw::ExitCode(result.exit_code));
    }
    if entries::count(&result) > 0 {
        let command = command.map_or_else(|| read_command(store, log), Ok)?;
        entries::compare(&command, &result)?;
    }
    words::tidy(&mut result, log, worker_name);
    let sizes = [finished.stdout_size, finished.stderr_size];
    let kept = kept.map_err(Flaw::Store);
    match kept.and_then(|kept| streams((store, log), kept, &mut result, sizes)) {
        Ok(()) => Ok(Begun::Outputs(Box::new(Outputs { result, status, message }))),
        Err(Flaw::Store(error)) if error.is_full() => Ok(Begun::Checked(full(&error, message))),
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
    if command.size > MAX_COMMAND {
        return Err(Flaw::NoCommand);
    }
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
    #[error("the result names what is not in the store: the blob {first}{}", match *n { 0 | 1 => String::new(), n => format!(" and {} more", n - 1) })]
    Missing { n: usize, first: Digest },
    #[error("the result has a bad digest: {0}")]
    Digest(#[from] hands_proto::BadDigest),
    #[error(transparent)]
    Bad(BadResult),
    #[error("the action's output can't be stored: {0}")]
    Store(StoreError),
}

fn streams(
    (store, log): (&Store, &AttemptLog),
    kept: Kept,
    result: &mut reapi::ActionResult,
    [stdout_size, stderr_size]: [u64; 2],
) -> Result<(), Flaw> {
    let [stdout, stderr] = kept.map_or([None; 2], |kept| kept.map(Some));
    let sides = [
        (Stream::Stdout, stdout, stdout_size, &mut result.stdout_digest, &mut result.stdout_raw),
        (Stream::Stderr, stderr, stderr_size, &mut result.stderr_digest, &mut result.stderr_raw),
    ];
    for (stream, kept, said, digest, raw) in sides {
        let spool = log.stream(stream);
        let have = spool.mark().length;
        if have != said {
            return Err(Flaw::Short { stream: stream.name(), have, said });
        }
        let store = || spool.store(store, log.record.digest.function).map_err(Flaw::Store);
        let actual = kept.map_or_else(store, Ok)?;
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
