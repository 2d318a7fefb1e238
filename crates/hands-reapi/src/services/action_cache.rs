//! GetActionResult and UpdateActionResult.

use bytes::Bytes;
use hands_proto::Charge;
use hands_proto::reapi::action_cache_server::ActionCache;
use hands_proto::reapi::{ActionResult, GetActionResultRequest, UpdateActionResultRequest};
use hands_store::StoreError;
use hands_types::limits::MAX_BATCH;
use prost::Message as _;
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};

use super::{blocking, digest, function, reserve_later};
use crate::complete::{CachedResult, fill_inline, missing_of, normalize};
use crate::{Backend, Invocation, bad_digest, check_instance, missing_blobs, store_status};

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
        let request = request.into_inner();
        let function = function(request.digest_function)?;
        let action = digest(request.action_digest.as_ref(), "action_digest", function)?;
        let store = self.backend.store.clone();
        let cached = CachedResult::find(&store, &request.instance_name, action)
            .map_err(|e| store_status(&e))?;
        let is_quick = cached.as_ref().is_none_or(CachedResult::is_quick)
            && request.inline_output_files.is_empty();
        // What it becomes.
        let memory = cached.as_ref().map_or(0, CachedResult::memory);
        let answer = move || -> Result<Option<ActionResult>, StoreError> {
            let Some(cached) = cached else { return Ok(None) };
            let Some(mut result) = cached.read(&store, &invocation)? else { return Ok(None) };
            fill_inline(
                &store,
                &mut result,
                function,
                request.inline_stdout,
                request.inline_stderr,
                &request.inline_output_files,
            )?;
            Ok(Some(result))
        };
        // A small hit is answered from memory, and a thread's hand-over would cost more than it.
        let found = if is_quick {
            answer()
        } else {
            // And the contents that are put into it.
            let contents = usize::try_from(MAX_BATCH).unwrap_or(usize::MAX);
            reserve_later(charge.as_ref(), memory.saturating_add(contents)).await?;
            blocking(answer).await?
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
        let request = request.into_inner();
        check_instance(&request.instance_name)?;
        let function = function(request.digest_function)?;
        let action = digest(request.action_digest.as_ref(), "action_digest", function)?;
        let mut result = request
            .action_result
            .ok_or_else(|| Status::invalid_argument("the field action_result is not set"))?;
        let store = self.backend.store.clone();
        let (result, bytes, missing) = blocking(move || {
            normalize(&store, &mut result, function)?;
            let missing = missing_of(&store, &result, function, &invocation)?;
            let bytes = Bytes::from(result.encode_to_vec());
            Ok((result, bytes, missing))
        })
        .await?
        .map_err(|e| store_status(&e))?;
        let missing = missing.map_err(|e| bad_digest(&e))?;
        if !missing.is_empty() {
            return Err(missing_blobs(Code::FailedPrecondition, &missing));
        }
        let (done, stored) = oneshot::channel();
        self.backend.store.action_put_then(&request.instance_name, action, bytes, |outcome| {
            // A client that went away does not want to know.
            let _gone = done.send(outcome);
        });
        stored
            .await
            .map_err(|_| Status::unavailable("the hub is shutting down"))?
            .map_err(|e| store_status(&e))?;
        Ok(Response::new(result))
    }
}
