//! Results that their worker takes back: what they were made from was found damaged on its disk.

use std::sync::Arc;

use hands_proto::{reapi, v1};
use hands_store::{Store, StoreError};
use hands_types::Digest;
use prost::Message as _;

/// Results of one message that are read.
const MOST: usize = 10_000;
/// Operations that are named in the log.
const NAMED: usize = 32;

/// Takes a worker's doubted results out of the action cache, and says which there are. Blocks.
pub(crate) fn withdraw(store: &Store, worker: &Arc<str>, doubted: &v1::Doubted) {
    let mut withdrawn = 0_u32;
    let results = &doubted.results[..doubted.results.len().min(MOST)];
    for result in results {
        let Ok(action) = result.action.parse::<Digest>() else { continue };
        match withdraw_one(store, worker, &result.instance_name, &action) {
            Ok(true) => withdrawn += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, %action, "a doubted result stays in the action cache");
            }
        }
    }
    let named = results.iter().take(NAMED).map(|r| &r.operation[..]).collect::<Vec<_>>().join(" ");
    tracing::error!(
        %worker, reason = %doubted.reason.escape_debug(), results = results.len(), withdrawn,
        operations = %named.escape_debug(),
        "results of a worker may be wrong; those in the action cache were taken out, and what else they went into should be made again"
    );
}

/// A worker takes back what is its own, and nothing else.
fn withdraw_one(
    store: &Store,
    worker: &str,
    instance: &str,
    action: &Digest,
) -> Result<bool, StoreError> {
    let Some(bytes) = store.action(instance, action)? else { return Ok(false) };
    let by = reapi::ActionResult::decode(bytes)
        .ok()
        .and_then(|result| result.execution_metadata)
        .map(|metadata| metadata.worker);
    if by.as_deref() != Some(worker) {
        return Ok(false);
    }
    store.action_delete(instance, action)
}
