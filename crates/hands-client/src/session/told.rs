//! From what a hub says of an action to the events of its caller.

use std::time::SystemTime;

use hands_proto::{reapi, rpc, v1};
use prost::Message as _;
use tonic::{Code, Status};

use super::patience::Refused;
use crate::job::LostAttempt;
use crate::result::missing_blobs;
use crate::{ClientError, Event, JobResult, printable};

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<'a> {
    pub(super) name: &'a str,
}

/// What was told of one action so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The attempt that was seen running last.
    attempt: u32,
    /// The highest number of an attempt that was told to be lost.
    lost: u32,
}

impl Told {
    /// The action's state is another one.
    pub(super) fn changed(&mut self, state: v1::ActionState, follow: bool) -> Vec<Event> {
        let worker = printable(&state.worker).into_owned();
        let lost = state.lost.into_iter().map(LostAttempt::from).collect();
        let mut events = self.again(lost, state.attempt, &worker);
        if !follow {
            return events;
        }
        if !state.waiting.is_empty() {
            events.push(Event::Waiting { reason: printable(&state.waiting).into_owned() });
        }
        if state.state == i32::from(v1::JobState::Running) && self.attempt != state.attempt {
            self.attempt = state.attempt;
            events.push(Event::Started { worker });
        }
        events
    }

    /// The action has ended.
    pub(super) fn ended(
        &mut self,
        ended: v1::ActionEnded,
        asked: SystemTime,
        peer: &Peer<'_>,
    ) -> Vec<Result<Event, ClientError>> {
        let response = ended.response.unwrap_or_default();
        let is_refused = ended.operation.is_empty() && response.result.is_none();
        if is_refused && let Some(error) = refusal(&response, peer) {
            return vec![Err(error)];
        }
        let result = JobResult::new(ended.operation, None, response, false, None);
        let result = JobResult { asked: Some(asked), ..result };
        let told = if result.result.is_some() {
            self.again(result.lost(), ended.attempt, &result.worker())
        } else {
            let lost = result.lost().into_iter().filter(|lost| lost.attempt > self.lost);
            lost.map(|lost| Event::Lost { lost }).collect()
        };
        told.into_iter().chain([Event::Done(Box::new(result))]).map(Ok).collect()
    }

    /// Says which attempts were lost before this one, if that is new.
    fn again(&mut self, mut lost: Vec<LostAttempt>, attempt: u32, worker: &str) -> Vec<Event> {
        // The next one is told with its number.
        if attempt == 0 {
            return Vec::new();
        }
        lost.retain(|lost| lost.attempt > self.lost && lost.attempt != attempt);
        let events = lost.into_iter().map(|lost| {
            self.lost = lost.attempt;
            Event::Again { lost, attempt, worker: worker.to_owned(), anew: false }
        });
        events.collect()
    }
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
