//! What an action wrote that ended without a result: cancelled, lost with its workers, beyond a bound. People want to
//! read it all the same, so its streams become blobs and its row names them, as logs of the server's.

use std::sync::{Arc, Weak};

use hands_proto::reapi;
use hands_store::{Store, StoreError};
use prost::Message;
use tokio::runtime::Handle;

use crate::db::{Commit, Db, Write};
use crate::logs::{AttemptLog, Logs, Stream};

/// What is kept of a stream. The end is what people look for, and whoever is cancelled may have written at full speed.
const MOST: u64 = 8 << 20;

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
            // One at a time: many may be cancelled at once. Held until the row is handed over, so that a hub that ends
            // has those that were begun.
            let Some(_turn) = logs.turn().await else { return };
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
fn blobs(store: &Store, left: &AttemptLog) -> Result<Vec<(String, reapi::LogFile)>, LeftError> {
    [Stream::Stdout, Stream::Stderr]
        .into_iter()
        .map(|stream| {
            let digest = store.put_bytes(left.record.digest.function, &end_of(left, stream)?)?;
            let file = reapi::LogFile { digest: Some(digest.into()), human_readable: true };
            Ok((stream.name().to_owned(), file))
        })
        .collect()
}

/// A stream, or of a long one its end, which says so itself.
fn end_of(left: &AttemptLog, stream: Stream) -> std::io::Result<Vec<u8>> {
    let spool = left.stream(stream);
    let length = spool.mark().length;
    let from = length.saturating_sub(MOST);
    let mut text = match from {
        0 => Vec::new(),
        from => format!("[hands: the first {from} bytes are not kept]\n").into_bytes(),
    };
    // It has ended: there is no more than that.
    let rest = usize::try_from(length - from).unwrap_or(usize::MAX);
    text.extend_from_slice(&spool.read(from, rest)?);
    Ok(text)
}

/// Why a stream could not become a blob.
#[derive(Debug, thiserror::Error)]
enum LeftError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its spool can't be read")]
    Spool(#[from] std::io::Error),
}
