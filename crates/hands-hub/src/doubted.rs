//! Results that their worker takes back: what they were made from was found damaged on its disk.

use std::collections::HashSet;
use std::sync::Arc;

use hands_proto::{fields, reapi, unpack, v1};
use hands_store::{Store, StoreError};
use hands_types::limits::MAX_SAID;
use hands_types::text::said;
use hands_types::{Digest, OperationId, WorkerId};
use prost::Message as _;

/// Operations that are named in the log.
const NAMED: usize = 32;

/// The number of `ActionResult.execution_metadata`, and the most bytes of it that are read.
const METADATA: u32 = 9;
const MAX_METADATA: usize = 256 << 10;

/// A worker that takes results back.
#[derive(Clone, Debug)]
pub(crate) struct Doubter {
    pub(crate) worker: WorkerId,
    pub(crate) name: Arc<str>,
}

/// Takes a worker's doubted results out of the action cache, and says which there are. Blocks.
pub(crate) fn withdraw(store: &Store, doubter: &Doubter, doubted: &v1::Doubted) {
    let (mut withdrawn, mut of_others) = (0_u32, 0_u32);
    let mut seen = HashSet::new();
    // All of them, for a wrong result stays wrong: a message holds no more than a minute's worth. Each once, or a message that
    // names a large one a hundred thousand times has it read as often.
    for result in &doubted.results {
        let Ok(action) = result.action.parse::<Digest>() else { continue };
        if !seen.insert((result.instance_name.as_str(), action)) {
            continue;
        }
        match withdraw_one(store, doubter, &result.instance_name, &action) {
            Ok(Some(true)) => withdrawn += 1,
            Ok(Some(false)) => of_others += 1,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, %action, "a doubted result stays in the action cache");
            }
        }
    }
    let ids = doubted.results.iter().filter_map(|r| r.operation.parse::<OperationId>().ok());
    let named = ids.take(NAMED).map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
    tracing::error!(
        worker = %doubter.name, reason = said(&doubted.reason, MAX_SAID), results = doubted.results.len(),
        withdrawn, of_others, operations = named,
        "results of a worker may be wrong; those in the action cache were taken out, and what else they went into should be made again"
    );
}

/// Takes out what is the worker's own; false where another made it, none where there is no such result.
fn withdraw_one(
    store: &Store,
    doubter: &Doubter,
    instance: &str,
    action: &Digest,
) -> Result<Option<bool>, StoreError> {
    let Some(bytes) = store.action(instance, action)? else { return Ok(None) };
    if !metadata_of(&bytes).is_some_and(|metadata| is_own(&metadata, doubter)) {
        return Ok(Some(false));
    }
    store.action_delete(instance, action)?;
    Ok(Some(true))
}

/// Who made a result, from its bytes: decoded as a whole it may take five times as much, and nobody has counted that.
fn metadata_of(result: &[u8]) -> Option<reapi::ExecutedActionMetadata> {
    let metadata = fields(result).filter_map(Result::ok).find(|(number, _)| *number == METADATA);
    let (_, metadata) = metadata.filter(|(_, metadata)| metadata.len() <= MAX_METADATA)?;
    reapi::ExecutedActionMetadata::decode(metadata).ok()
}

/// By the worker's id. Results of earlier versions have its name alone.
fn is_own(metadata: &reapi::ExecutedActionMetadata, doubter: &Doubter) -> bool {
    let made_by = metadata.auxiliary_metadata.iter().find_map(|it| unpack::<v1::MadeBy>(it).ok());
    match made_by {
        Some(made_by) => made_by.worker_id.parse() == Ok(doubter.worker),
        None => metadata.worker == *doubter.name,
    }
}
