//! What an action wrote that ended without a result: cancelled, lost with its workers, beyond a bound. People want to
//! read it all the same, so its streams become blobs and its row names them, as logs of the server's.

use std::sync::{Arc, Weak};

use hands_proto::reapi;
use hands_store::{Store, StoreError};
use prost::Message;
use tokio::runtime::Handle;

use crate::db::{Commit, Db, Write};
use crate::logs::{AttemptLog, Logs, Stream};

/// Makes blobs of streams, away from the core and from the table's thread.
pub(super) struct Keeper {
    pub(super) logs: Arc<Logs>,
    pub(super) store: Store,
    /// Not held meanwhile: a hub that ends does not wait for this.
    pub(super) db: Weak<Db>,
    pub(super) runtime: Handle,
}

impl Keeper {
    /// Begins to. The streams stay readable where they are until the row that names their blobs is durable.
    pub(super) fn keep(self, left: Arc<AttemptLog>, response: &Arc<reapi::ExecuteResponse>) {
        let mut response = reapi::ExecuteResponse::clone(response);
        let _inside = self.runtime.enter();
        let Self { logs, store, db, runtime: _ } = self;
        crate::task::spawn("keep what an action left", async move {
            let (id, log) = (left.record.id, Arc::clone(&left));
            let stored = crate::task::blocking(move || blobs(&store, &log)).await;
            let named = match stored {
                Ok(Ok(named)) => named,
                Ok(Err(error)) => {
                    tracing::warn!(%error, operation = %id, "what an action wrote can't be kept");
                    return logs.forget(&left);
                }
                // The hub ends.
                Err(_) => return,
            };
            let before = response.encoded_len();
            response.server_logs.extend(named);
            let added = response.encoded_len() - before;
            let Some(db) = db.upgrade() else { return };
            db.submit(Commit {
                writes: vec![Write::Left { id, response: Box::new(response), added }],
                then: vec![Box::new(move || logs.forget(&left))],
                is_crowded: false,
            });
        });
    }
}

/// Its streams as blobs, by their names. Blocks.
fn blobs(store: &Store, left: &AttemptLog) -> Result<Vec<(String, reapi::LogFile)>, StoreError> {
    [Stream::Stdout, Stream::Stderr]
        .into_iter()
        .map(|stream| {
            let digest = left.stream(stream).store(store, left.record.digest.function)?;
            let file = reapi::LogFile { digest: Some(digest.into()), human_readable: true };
            Ok((stream.name().to_owned(), file))
        })
        .collect()
}
