//! GetActionResult and UpdateActionResult.

use std::sync::Arc;

use bytes::Bytes;
use hands_proto::reapi::action_cache_server::ActionCache;
use hands_proto::reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use hands_proto::{Charge, Room, Tight};
use hands_store::StoreError;
use hands_types::limits::MAX_BATCH;
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};

use super::{ROOM_WITHIN, blocking, digest, function, reserve, reserve_later};
use crate::complete::{CachedResult, LookError, expected, fill_inline, missing_of, normalize};
use crate::status::bad_result;
use crate::{Apart, Backend, Invocation, check_instance, looking, missing_blobs, store_status};

/// Serves the results that are whole.
#[derive(Debug)]
pub struct ActionCacheService {
    backend: Backend,
}

impl ActionCacheService {
    pub(super) fn new(backend: &Backend) -> Self {
        Self { backend: backend.clone() }
    }
}

#[tonic::async_trait]
impl ActionCache for ActionCacheService {
    async fn get_action_result(
        &self,
        request: Request<GetActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let request = Apart::of(charge.as_ref(), request.into_inner());
        let function = function(request.digest_function)?;
        let action = digest(request.action_digest.as_ref(), "action_digest", function)?;
        let store = self.backend.store.clone();
        let cached = CachedResult::find(&store, &request.instance_name, action)
            .map_err(|e| store_status(&e))?;
        let is_quick = cached.as_ref().is_none_or(CachedResult::is_quick)
            && request.inline_output_files.is_empty();
        let memory = cached.as_ref().map_or(0, CachedResult::memory);
        let expected = cached.as_ref().map_or(0, CachedResult::expected);
        let answer =
            move |room: &mut Room| -> Result<Result<Option<ActionResult>, StoreError>, Tight> {
                let Some(cached) = &cached else { return Ok(Ok(None)) };
                let mut result = match cached.read(&store, &invocation, room)? {
                    Ok(Some(result)) => result,
                    other => return Ok(other),
                };
                let filled = fill_inline(
                    &store,
                    &mut result,
                    function,
                    request.inline_stdout,
                    request.inline_stderr,
                    &request.inline_output_files,
                );
                Ok(filled.map(|()| Some(result)))
            };
        // A small hit is answered from memory, and a thread's hand-over would cost more than it.
        let found = if is_quick {
            // Nothing of it is too much for any room.
            answer(&mut Room::new(usize::MAX)).unwrap_or(Ok(None))
        } else {
            // What it becomes, and the contents that are put into it.
            let contents = usize::try_from(MAX_BATCH).unwrap_or(usize::MAX);
            reserve_later(charge.as_ref(), memory.saturating_add(contents)).await?;
            looking(charge.as_ref(), expected, ROOM_WITHIN, answer).await?.found
        };
        found
            .map_err(|e| store_status(&e))?
            .map(Response::new)
            .ok_or_else(|| Status::not_found(format!("no result of the action {action} is cached")))
    }

    async fn update_action_result(
        &self,
        request: Request<UpdateActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        if !self.backend.update_enabled {
            return Err(Status::permission_denied("this client may not write the action cache"));
        }
        let invocation = Invocation::of(&request);
        let charge = Charge::of(&request);
        let mut request = Apart::of(charge.as_ref(), request.into_inner());
        check_instance(&request.instance_name)?;
        let function = function(request.digest_function)?;
        let action = digest(request.action_digest.as_ref(), "action_digest", function)?;
        let result = request
            .action_result
            .take()
            .ok_or_else(|| Status::invalid_argument("the field action_result is not set"))?;
        let mut result = Apart::of(charge.as_ref(), result);
        let store = self.backend.store.clone();
        let normal = blocking(move || normalize(&store, &mut result, function).map(|()| result));
        let result = Arc::new(normal.await?.map_err(|e| store_status(&e))?);
        let (store, looked_at) = (self.backend.store.clone(), Arc::clone(&result));
        let missing =
            looking(charge.as_ref(), expected(&result), ROOM_WITHIN, move |room| match missing_of(
                &store,
                &looked_at,
                function,
                &invocation,
                room,
            ) {
                Err(LookError::Tight(tight)) => Err(tight),
                Ok(missing) => Ok(Ok(missing)),
                Err(LookError::Store(error)) => Ok(Err(store_status(&error))),
                Err(LookError::Bad(bad)) => Ok(Err(bad_result(&bad))),
            });
        let missing = missing.await?.found?;
        if !missing.is_empty() {
            return Err(missing_blobs(Code::FailedPrecondition, &missing));
        }
        // Once more, as it is kept.
        reserve(charge.as_ref(), result.encoded_len())?;
        let encoded = Arc::clone(&result);
        let bytes = blocking(move || Bytes::from(encoded.encode_to_vec())).await?;
        let (done, stored) = oneshot::channel();
        self.backend.store.action_put_then(&request.instance_name, action, bytes, |outcome| {
            // A client that went away does not want to know.
            let _gone = done.send(outcome);
        });
        stored
            .await
            .map_err(|_| Status::unavailable("the hub is shutting down"))?
            .map_err(|e| store_status(&e))?;
        let result =
            Arc::try_unwrap(result).map_or_else(|shared| (**shared).clone(), Apart::into_inner);
        Ok(Response::new(result))
    }
}
