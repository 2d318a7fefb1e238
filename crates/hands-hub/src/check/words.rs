//! What a worker says beside its outputs: only what a worker may say is passed on to those who wait, in bounded length.

use hands_proto::{pack, reapi, rpc, unpack, v1};
use hands_types::Digest;
use hands_types::limits::MAX_SAID;
use hands_types::text::{check_name, said};
use prost_types::{Any, Duration, Timestamp};
use rpc::precondition_failure::Violation;

use super::Flaw;
use crate::logs::AttemptLog;
use crate::time::timestamp;

/// Codes of `Finished.status`, as `hands.v1` has them. Any other would make a client do something that has nothing to do
/// with its action: log in again, ask again for ever, upload everything.
const CODES: [rpc::Code; 6] = [
    rpc::Code::Ok,
    rpc::Code::DeadlineExceeded,
    rpc::Code::FailedPrecondition,
    rpc::Code::InvalidArgument,
    rpc::Code::ResourceExhausted,
    rpc::Code::Internal,
];
/// Missing blobs that are named to a client at once; it uploads those and hears of the rest.
const MAX_MISSING: usize = 10_000;
/// Largest of a worker's own figures, bytes.
const MAX_USAGE: usize = 1024;
/// Entries that were left out of the outputs which a result names, and the bytes of all that it says of them.
const MAX_LEFT_OUT: usize = 100;
const MAX_LEFT_OUT_SAID: usize = 64 << 10;
/// The last second of the year 9999, where protobuf's timestamps end.
const LAST_SECOND: i64 = 253_402_300_799;

/// The status as it may be passed on.
pub(super) fn status(said_by_worker: rpc::Status) -> Result<rpc::Status, Flaw> {
    let code = rpc::Code::try_from(said_by_worker.code).ok().filter(|code| CODES.contains(code));
    let code = code.ok_or(Flaw::Code(said_by_worker.code))?;
    let details = match code {
        rpc::Code::FailedPrecondition => missing(&said_by_worker.details),
        _ => Vec::new(),
    };
    let message = said(&said_by_worker.message, MAX_SAID);
    Ok(rpc::Status { code: code.into(), message, details })
}

/// One PreconditionFailure that names missing blobs, and nothing else.
fn missing(details: &[Any]) -> Vec<Any> {
    let failures = details.iter().filter_map(|any| unpack::<rpc::PreconditionFailure>(any).ok());
    let violations: Vec<Violation> = failures
        .flat_map(|failure| failure.violations)
        .filter(|violation| violation.r#type == "MISSING")
        .filter_map(|violation| violation.subject.strip_prefix("blobs/")?.parse::<Digest>().ok())
        .take(MAX_MISSING)
        .map(|digest| Violation {
            r#type: "MISSING".to_owned(),
            subject: format!("blobs/{digest}"),
            description: String::new(),
        })
        .collect();
    if violations.is_empty() {
        Vec::new()
    } else {
        vec![pack(&rpc::PreconditionFailure { violations })]
    }
}

/// Removes from a result everything that our own workers never say. Clients compute durations from its times as soon as a worker is named, so none
/// of them may be absent, nor be no time at all.
pub(super) fn tidy(result: &mut reapi::ActionResult, log: &AttemptLog, worker_name: &str) {
    for file in &mut result.output_files {
        // Only the blob that the digest names counts.
        file.contents = bytes::Bytes::new();
        keep_time(&mut file.node_properties);
    }
    let links = [
        &mut result.output_symlinks,
        &mut result.output_file_symlinks,
        &mut result.output_directory_symlinks,
    ];
    for link in links.into_iter().flatten() {
        keep_time(&mut link.node_properties);
    }
    let metadata = result.execution_metadata.get_or_insert_default();
    worker_name.clone_into(&mut metadata.worker);
    let usage = metadata.auxiliary_metadata.iter().find_map(usage);
    let left_out = metadata.auxiliary_metadata.iter().find_map(left_out);
    metadata.auxiliary_metadata = usage.iter().map(pack).collect();
    metadata.auxiliary_metadata.extend(left_out.iter().map(pack));
    metadata.virtual_execution_duration.take_if(|took| !is_duration(took));
    let queued = metadata.queued_timestamp.take().filter(is_time);
    let mut last = queued.unwrap_or_else(|| timestamp(log.record.created));
    metadata.queued_timestamp = Some(last);
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
        last = time.take().filter(is_time).unwrap_or(last);
        *time = Some(last);
    }
}

/// Leaves nothing of a node's properties but a modification time that is one.
fn keep_time(properties: &mut Option<reapi::NodeProperties>) {
    let mtime = reapi::NodeProperties::to_mtime(properties.as_ref()).ok().flatten();
    *properties = reapi::NodeProperties::of_mtime(mtime);
}

/// A worker's own figures, where they are ones.
pub(crate) fn usage(any: &Any) -> Option<v1::Usage> {
    let usage: v1::Usage = (any.value.len() <= MAX_USAGE).then(|| unpack(any).ok())??;
    check_name(&usage.isolation).is_ok().then_some(usage)
}

fn left_out(any: &Any) -> Option<v1::LeftOut> {
    let mut left_out: v1::LeftOut =
        (any.value.len() <= MAX_LEFT_OUT_SAID).then(|| unpack(any).ok())??;
    left_out.entries.truncate(MAX_LEFT_OUT);
    for entry in &mut left_out.entries {
        entry.path = said(&entry.path, MAX_SAID);
        entry.why = said(&entry.why, MAX_SAID);
    }
    Some(left_out)
}

fn is_time(time: &Timestamp) -> bool {
    (0..=LAST_SECOND).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}

fn is_duration(took: &Duration) -> bool {
    (0..=LAST_SECOND).contains(&took.seconds) && (0..1_000_000_000).contains(&took.nanos)
}
