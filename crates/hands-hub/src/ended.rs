//! Answers of operations that have ended. Most are small; one may have megabytes, which are read, decoded and packed aside, each
//! within what its client may take.

use std::sync::Arc;

use hands_proto::longrunning::Operation;
use hands_proto::{Charge, Look, reapi};
use hands_reapi::{ROOM_WITHIN, reserve_later};
use hands_types::limits::{INLINE_STREAM, MAX_BATCH};
use hands_types::{Digest, OperationId};
use prost::Message as _;
use tonic::Status;

use crate::db::{Done, Record, Stored};
use crate::follow::ended_operation;
use crate::shared::{Shared, table_status};

/// Bytes of an answer that takes a moment only.
const QUICK: usize = 64 << 10;
/// What an answer in the table becomes for each of its bytes: the row, what is decoded of it, a copy of that with contents, and
/// what is packed of it.
const MEMORY: usize = 13;
/// Entries of a result that takes a moment only.
const FEW: usize = 64;

/// Where the memory for an answer comes from.
#[derive(Debug)]
pub(crate) enum Memory<'a> {
    /// It is there already, where the answer is large.
    Paid(Option<Look>),
    /// It is still to be waited for.
    Of(Option<&'a Arc<Charge>>),
}

impl Shared {
    /// An operation as the table has it, for an answer with all of it. Nobody waits for one kind of
    /// memory who has the other, but in the order in which all do.
    pub(crate) async fn stored_answer(
        self: &Arc<Self>,
        id: OperationId,
        charge: Option<&Arc<Charge>>,
    ) -> Result<(Option<Stored>, Option<Look>), Status> {
        let size = self.db.answer_size(id).map_err(|e| table_status(&e))?;
        if size > QUICK {
            reserve_later(charge, size).await?;
        }
        self.stored(id, charge).await
    }

    /// An operation as the table has it, with the memory that a large one takes.
    pub(crate) async fn stored(
        self: &Arc<Self>,
        id: OperationId,
        charge: Option<&Arc<Charge>>,
    ) -> Result<(Option<Stored>, Option<Look>), Status> {
        let size = self.db.answer_size(id).map_err(|e| table_status(&e))?;
        if size <= QUICK {
            return Ok((self.db.operation(id).map_err(|e| table_status(&e))?, None));
        }
        let look = hands_reapi::look(charge, size.saturating_mul(MEMORY), ROOM_WITHIN).await?;
        let hub = Arc::clone(self);
        let reading = crate::task::blocking(move || (hub.db.large_operation(id), look));
        let (stored, look) = reading.await?;
        Ok((stored.map_err(|e| table_status(&e))?, look))
    }

    /// The answer that a salted digest got since a time, in milliseconds since 1970.
    pub(crate) async fn retained(
        self: &Arc<Self>,
        instance: Arc<str>,
        digest: Digest,
        since: i64,
        charge: Option<&Arc<Charge>>,
    ) -> Result<(Option<Stored>, Option<Look>), Status> {
        let size = self.db.retained_size(&digest, since).map_err(|e| table_status(&e))?;
        if size == 0 {
            return Ok((None, None));
        }
        let contents = usize::try_from(MAX_BATCH).unwrap_or(usize::MAX);
        if size > QUICK {
            reserve_later(charge, size.saturating_add(contents)).await?;
        }
        let memory = size.saturating_mul(MEMORY).saturating_add(contents);
        let look = hands_reapi::look(charge, memory, ROOM_WITHIN).await?;
        let hub = Arc::clone(self);
        let read = move || (hub.db.retained(&instance, &digest, since), look);
        let (stored, look) = crate::task::blocking(read).await?;
        Ok((stored.map_err(|e| table_status(&e))?, look))
    }
}

/// Whether an answer is looked through within a moment.
pub(crate) fn is_small(response: &reapi::ExecuteResponse) -> bool {
    response.server_logs.len() <= FEW
        && response.result.as_ref().is_none_or(|result| {
            let streams = result.stdout_raw.len() + result.stderr_raw.len();
            crate::check::n_entries(result) <= FEW && streams <= 2 * INLINE_STREAM
        })
}

/// An operation that has ended, as its client gets it: once there is memory for the answer.
pub(crate) async fn ended(
    record: Arc<Record>,
    done: Done,
    memory: Memory<'_>,
) -> Result<Operation, Status> {
    if is_small(&done.response) {
        return Ok(ended_operation(&record, &done));
    }
    let look = match memory {
        Memory::Paid(look) => look,
        Memory::Of(charge) => {
            reserve_later(charge, size_of(&done.response).await?).await?;
            None
        }
    };
    let pack = move || {
        let _look = look;
        ended_operation(&record, &done)
    };
    crate::task::blocking(pack).await
}

/// The bytes of an answer that is not small.
pub(crate) async fn size_of(response: &Arc<reapi::ExecuteResponse>) -> Result<usize, Status> {
    let response = Arc::clone(response);
    crate::task::blocking(move || response.encoded_len()).await
}
