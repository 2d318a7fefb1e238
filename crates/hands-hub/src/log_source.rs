//! Log streams by name, for `hands-reapi`'s ByteStream.

use std::sync::Arc;

use futures_util::stream;
use hands_reapi::{LogName, LogSource, LogStream};
use hands_types::Attempt;
use hands_types::limits::CHUNK;
use tonic::Status;

use crate::logs::{LogError, Stream};
use crate::shared::Shared;

/// Log streams by name.
#[derive(Clone, Debug)]
pub(crate) struct Logs(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl LogSource for Logs {
    async fn read(&self, name: &LogName, offset: u64) -> Result<LogStream, Status> {
        let hub = &self.0;
        let stream = if name.stderr { Stream::Stderr } else { Stream::Stdout };
        let not_found = || Status::not_found(format!("no log {name}"));
        let id = name.operation.parse().map_err(|_| not_found())?;
        let attempt = name.attempt.map(Attempt);
        let mut reader = hub.logs.reader(id, attempt, stream, offset);
        // One that has no attempt yet has no streams until somebody asks for them.
        if reader.is_none() && hub.ask(move |core| core.opens_streams(id)).await? {
            reader = hub.logs.reader(id, attempt, stream, offset);
        }
        if let Some(reader) = reader {
            let reader = reader.map_err(|e| status(&e))?;
            return Ok(Box::pin(stream::unfold(reader, |mut reader| async move {
                let piece = reader.next().await?;
                Some((piece.map_err(|e| status(&e)), reader))
            })));
        }
        // It was forgotten only after its row was durable and its stream a blob.
        // The call is not known here, so that it counts as one of the hub's own.
        let (stored, _look) = hub.stored(id, Some(hub.trees.charge())).await?;
        let stored = stored.ok_or_else(not_found)?;
        let done = stored.done.ok_or_else(not_found)?;
        if let Some(attempt) = attempt.filter(|attempt| *attempt != done.attempt) {
            return Err(status(&LogError::Lost { attempt }));
        }
        let digest = match (&done.response.result, stream) {
            (Some(result), Stream::Stdout) => result.stdout_digest.clone(),
            (Some(result), Stream::Stderr) => result.stderr_digest.clone(),
            // What it wrote although it ended without a result.
            (None, stream) => {
                done.response.server_logs.get(stream.name()).and_then(|log| log.digest.clone())
            }
        };
        let Some(digest) = digest else { return Ok(Box::pin(tokio_stream::empty())) };
        let digest = digest
            .to_digest(stored.record.digest.function)
            .map_err(|e| hands_reapi::bad_digest(&e))?;
        if offset > digest.size {
            return Err(Status::out_of_range(format!("the log {name} has {} bytes", digest.size)));
        }
        if digest.is_empty() {
            return Ok(Box::pin(tokio_stream::empty()));
        }
        let blob = hub.store.reader(&digest).map_err(|e| hands_reapi::store_status(&e))?;
        let blob = Arc::new(blob.ok_or_else(|| {
            Status::not_found(format!("the log {name} is not in the store any more"))
        })?);
        Ok(Box::pin(stream::unfold((blob, offset), |(blob, at)| async move {
            if at >= blob.size() {
                return None;
            }
            let reader = Arc::clone(&blob);
            let piece = match crate::task::blocking(move || reader.read_at(at, CHUNK)).await {
                Ok(piece) => piece.map_err(|e| hands_reapi::store_status(&e)),
                Err(status) => Err(status),
            };
            // After a failure nothing follows.
            let next = piece.as_ref().map_or(u64::MAX, |piece| at + piece.len() as u64);
            Some((piece, (blob, next)))
        })))
    }
}

/// ABORTED: the same read again does not help, the action's next attempt does.
fn status(error: &LogError) -> Status {
    match error {
        LogError::Lost { .. } => Status::aborted(error.to_string()),
        LogError::Unnamed { .. } => Status::failed_precondition(error.to_string()),
        LogError::Io(_) => Status::internal(error.to_string()),
    }
}
