//! The look at a worker's result before it may count: are the streams whole and what the worker says they are, and is
//! every blob that the result names in the store. A worker can't poison: what fails here is done again elsewhere.

use hands_proto::{reapi, rpc, v1};
use hands_reapi::Invocation;
use hands_store::{Store, StoreError};
use hands_types::Digest;
use hands_types::limits::INLINE_STREAM;

use crate::logs::{AttemptLog, Stream};
use crate::time::timestamp;

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
    Unusable(String),
    /// No such lease was granted to this worker.
    Unknown,
}

/// Whether [`check`] takes a moment only.
pub(crate) fn is_quick(log: &AttemptLog, finished: &v1::Finished) -> bool {
    let few = finished.result.as_ref().is_none_or(|result| {
        result.output_directories.is_empty() && result.output_files.len() <= 64
    });
    few && !log.stdout.is_large() && !log.stderr.is_large()
}

/// Looks at a result. Blocks.
pub(crate) fn check(
    store: &Store,
    log: &AttemptLog,
    worker_name: &str,
    finished: v1::Finished,
) -> Checked {
    let status = finished.status.unwrap_or_default();
    if finished.try_elsewhere {
        return Checked::Unusable(status.message);
    }
    let Some(mut result) = finished.result else {
        if status.code == rpc::Code::Ok as i32 {
            return Checked::Unusable("the worker reported success without a result".to_owned());
        }
        return Checked::Usable { result: None, status, message: finished.message };
    };
    let checked = streams(store, log, &mut result, finished.stdout_size, finished.stderr_size)
        .and_then(|()| outputs(store, log, &result));
    match checked {
        Ok(()) => {
            complete_metadata(&mut result, log, worker_name);
            Checked::Usable { result: Some(Box::new(result)), status, message: finished.message }
        }
        Err(Flaw::Store(error)) if error.is_full() => Checked::Usable {
            result: None,
            status: rpc::Status {
                code: rpc::Code::ResourceExhausted as i32,
                message: format!("the action's output can't be stored: {error}"),
                details: Vec::new(),
            },
            message: finished.message,
        },
        Err(flaw) => Checked::Unusable(flaw.to_string()),
    }
}

/// Why a result can't be used.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("the hub has {have} of {said} bytes of {stream}")]
    Short { stream: &'static str, have: u64, said: u64 },
    #[error("the worker says that {stream} is {said}, and it is {actual}")]
    Different { stream: &'static str, said: String, actual: Digest },
    #[error("{n} blobs that the result names are not in the store, {first} among them")]
    Missing { n: usize, first: Digest },
    #[error("the result has a bad digest: {0}")]
    Digest(hands_proto::BadDigest),
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
            let said = format!("{}/{}", said.hash, said.size_bytes);
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

/// Clients compute durations from these times as soon as a worker is named, so none may be absent.
fn complete_metadata(result: &mut reapi::ActionResult, log: &AttemptLog, worker_name: &str) {
    let metadata = result.execution_metadata.get_or_insert_default();
    if metadata.worker.is_empty() {
        worker_name.clone_into(&mut metadata.worker);
    }
    let mut last = *metadata.queued_timestamp.get_or_insert_with(|| timestamp(log.record.created));
    for time in [
        &mut metadata.worker_start_timestamp,
        &mut metadata.input_fetch_start_timestamp,
        &mut metadata.input_fetch_completed_timestamp,
        &mut metadata.execution_start_timestamp,
        &mut metadata.execution_completed_timestamp,
        &mut metadata.output_upload_start_timestamp,
        &mut metadata.output_upload_completed_timestamp,
        &mut metadata.worker_completed_timestamp,
    ] {
        last = *time.get_or_insert(last);
    }
}
