//! From the messages of a hub to what is said of an action.

use std::time::SystemTime;

use hands_proto::{reapi, rpc, v1};
use prost::Message as _;
use tonic::{Code, Status};

use super::patience::Refused;
use crate::result::missing_blobs;
use crate::told::State;
use crate::{ClientError, Event, JobResult, LostAttempt, printable};

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<'a> {
    pub(super) name: &'a str,
}

/// An action's state as the hub says it.
pub(super) fn state(state: v1::ActionState) -> State {
    State {
        runs: state.state == i32::from(v1::JobState::Running),
        attempt: state.attempt,
        worker: printable(&state.worker).into_owned(),
        waiting: printable(&state.waiting).into_owned(),
        lost: state.lost.into_iter().map(LostAttempt::from).collect(),
    }
}

/// An action's end: its result, or why it was not taken.
pub(super) fn end(
    ended: v1::ActionEnded,
    asked: SystemTime,
    peer: &Peer<'_>,
) -> Result<JobResult, ClientError> {
    let response = ended.response.unwrap_or_default();
    let is_refused = ended.operation.is_empty() && response.result.is_none();
    if is_refused && let Some(error) = refusal(&response, peer) {
        return Err(error);
    }
    let result = JobResult::new(ended.operation, None, response, false, None);
    Ok(JobResult { asked: Some(asked), attempt: ended.attempt, ..result })
}

/// Why an action was not taken. None where blobs are missing: that is told as a result, because they can be sent again.
fn refusal(response: &reapi::ExecuteResponse, peer: &Peer<'_>) -> Option<ClientError> {
    let status = response.status.as_ref().filter(|status| status.code != 0)?;
    if !missing_blobs(&status.details).is_empty() {
        return None;
    }
    Some(ClientError::rpc("Execute", peer.name, &with_details(status)))
}

/// A status that keeps its details: by these a refusal says that it passes.
fn with_details(status: &rpc::Status) -> Status {
    let details = status.encode_to_vec().into();
    Status::with_details(Code::from(status.code), status.message.clone(), details)
}

/// What the hub says where the same is to be sent again a little later. `has_accepted`: the session has actions that it took.
pub(super) fn for_now(
    ended: &v1::ActionEnded,
    has_accepted: impl FnOnce() -> bool,
) -> Option<Refused> {
    let status = ended.response.as_ref()?.status.as_ref()?;
    if !ended.operation.is_empty() {
        return None;
    }
    let for_own = match Code::from(status.code) {
        Code::Unavailable => false,
        // So much memory, of which each of its actions takes some.
        Code::ResourceExhausted if hands_reapi::passes(&with_details(status)) => has_accepted(),
        _ => return None,
    };
    Some(Refused { message: status.message.clone(), for_own })
}

/// The end of an action that was never sent.
pub(super) fn cancelled(asked: Option<SystemTime>) -> Event {
    let status = rpc::Status {
        code: Code::Cancelled.into(),
        message: "the action was cancelled".to_owned(),
        details: Vec::new(),
    };
    let response = reapi::ExecuteResponse { status: Some(status), ..Default::default() };
    let result = JobResult::new(String::new(), None, response, false, None);
    Event::Done(Box::new(JobResult { asked, ..result }))
}
