use futures_util::FutureExt as _;
use hands_proto::{reapi, rpc, v1};
use prost::Message as _;

use super::each::STREAMS;
use super::patience::Heard;
use super::shared::Shared;
use super::state::{CREDIT, Next};
use super::told::Peer;
use crate::fake::{self, Engine, Script};
use crate::{ClientError, Event, JobSpec};

const TOOK: Heard = Heard { took: true, refused: None };
const PEER: Peer<'_> = Peer { name: "hub" };

fn spec() -> JobSpec {
    JobSpec { follow: false, ..JobSpec::new(vec!["true".to_owned()]) }
}

async fn submit(shared: &Shared) -> u64 {
    let spec = spec();
    let encoded = spec.encode(hands_types::DigestFunction::Sha256).unwrap();
    shared.submit(&spec, encoded, false).await.unwrap()
}

fn sent(shared: &Shared, at: u32) -> Vec<(u64, u32, bool)> {
    match shared.next(at, false) {
        Next::Message(v1::actions_request::Kind::Submit(message)) => {
            message.actions.iter().map(|a| (a.id, a.at_ms, a.sent_before)).collect()
        }
        _ => Vec::new(),
    }
}

fn accepted(id: u64) -> v1::ActionEvents {
    let accepted = vec![v1::ActionAccepted { id, operation: "0".repeat(26) }];
    v1::ActionEvents { accepted, ..Default::default() }
}

fn ended(id: u64, operation: bool, code: i32) -> v1::ActionEvents {
    let status = Some(rpc::Status { code, ..Default::default() });
    let result = (code == 0).then(reapi::ActionResult::default);
    let response = Some(reapi::ExecuteResponse { status, result, ..Default::default() });
    let operation = if operation { "0".repeat(26) } else { String::new() };
    let ended = vec![v1::ActionEnded { id, operation, attempt: 1, response }];
    v1::ActionEvents { ended, ..Default::default() }
}

#[tokio::test]
async fn what_has_no_answer_is_sent_again_as_the_same_and_what_was_accepted_is_taken_up() {
    let shared = Shared::default();
    let (first, second) = (submit(&shared).await, submit(&shared).await);
    assert_eq!(sent(&shared, 5), [(first, 5, false), (second, 5, false)]);
    assert_eq!(shared.hear(accepted(first), 0, &PEER), TOOK);
    assert_eq!(shared.hear(accepted(first), 0, &PEER), Heard::default(), "it was told before");
    shared.lost();
    let resumed = shared.welcome(1 << 20);
    assert_eq!(resumed.iter().map(|r| r.id).collect::<Vec<_>>(), [first]);
    let third = submit(&shared).await;
    assert_eq!(sent(&shared, 9), [(second, 5, true), (third, 9, false)]);
    shared.hear(ended(second, true, 0), 0, &PEER);
    shared.hear(ended(second, true, 0), 0, &PEER);
    let (id, event) = shared.next_event().await;
    assert!(id == second && matches!(event, Ok(Event::Done(_))));
    let unknown = v1::ActionEvents { unknown: vec![first], ..Default::default() };
    shared.hear(unknown, 0, &PEER);
    let (id, event) = shared.next_event().await;
    assert!(id == first && matches!(event, Err(ClientError::Forgotten { .. })), "and one end each");
    assert_eq!(shared.live(), 1);
}

#[tokio::test]
async fn a_hub_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let shared = Shared::default();
    let id = submit(&shared).await;
    assert_eq!(sent(&shared, 1).len(), 1);
    let heard = shared.hear(ended(id, false, tonic::Code::Unavailable.into()), 0, &PEER);
    assert!(heard.refused.is_some() && !heard.took);
    assert_eq!(sent(&shared, 2), [(id, 1, true)]);
    let refused = shared.hear(ended(id, false, tonic::Code::InvalidArgument.into()), 0, &PEER);
    assert_eq!(refused, TOOK);
    assert!(shared.next_event().await.1.is_err());
    assert_eq!(shared.live(), 0);
    // One that stays busy is given up for what it has not taken, and for that only.
    let (kept, left) = (submit(&shared).await, submit(&shared).await);
    assert_eq!(sent(&shared, 3).len(), 2);
    shared.hear(accepted(kept), 0, &PEER);
    let oldest = shared.oldest_unaccepted().unwrap();
    let _late = submit(&shared).await;
    let (peer, message, waited) = ("hub".to_owned(), String::new(), std::time::Duration::ZERO);
    shared.fail_unaccepted(oldest, &ClientError::Never { peer, waited, message });
    let (id, event) = shared.next_event().await;
    assert!(id == left && matches!(event, Err(ClientError::Never { .. })));
    assert_eq!((shared.live(), shared.has_left_behind()), (2, true), "one was submitted later");
    // It may have it, and must not run it for nobody.
    shared.hear(ended(kept, true, 0), 0, &PEER);
    let mut giving_up = std::pin::pin!(shared.cancel_all("hub"));
    assert!((&mut giving_up).now_or_never().is_none());
    let next = shared.next(1, false);
    assert!(matches!(next, Next::Message(v1::actions_request::Kind::Cancel(c)) if c.all));
    assert!(!shared.has_left_behind());
}

#[tokio::test]
async fn credit_is_granted_for_what_was_read() {
    let shared = Shared::default();
    let id = submit(&shared).await;
    assert_eq!(sent(&shared, 1).len(), 1);
    shared.hear(ended(id, true, 0), CREDIT, &PEER);
    assert!(matches!(shared.next(1, false), Next::Nothing), "nobody has read it");
    let _read = shared.next_event().await;
    let next = shared.next(1, false);
    assert!(matches!(next, Next::Message(v1::actions_request::Kind::Credit(CREDIT))));
}

#[tokio::test]
async fn all_are_given_up_by_one_message_and_nothing_is_heard_of_them() {
    let shared = Shared::default();
    let id = submit(&shared).await;
    assert!(shared.cancel_all("hub").await.is_ok(), "nobody knew of it");
    let second = submit(&shared).await;
    assert_eq!(sent(&shared, 1), [(second, 1, false)], "{id} is not sent");
    let mut giving_up = std::pin::pin!(shared.cancel_all("hub"));
    assert!((&mut giving_up).now_or_never().is_none());
    let next = shared.next(1, false);
    assert!(matches!(next, Next::Message(v1::actions_request::Kind::Cancel(c)) if c.all));
    shared.hear(ended(second, true, 0), 10, &PEER);
    shared.hear(v1::ActionEvents { all_cancelled: true, ..Default::default() }, 0, &PEER);
    giving_up.await.unwrap();
    assert!(shared.next_event().now_or_never().is_none());
}

#[tokio::test]
async fn giving_up_all_without_a_stream_is_no_success() {
    let shared = Shared::default();
    let id = submit(&shared).await;
    assert_eq!(sent(&shared, 1), [(id, 1, false)]);
    shared.hear(accepted(id), 0, &PEER);
    shared.lost();
    assert!(shared.cancel_all("hub").await.is_err(), "the hub has not heard it");
    assert!(shared.welcome(1 << 20).is_empty());
    assert!(matches!(shared.next(2, false), Next::Nothing), "nor does it hear it of others");
}

fn cancels(shared: &Shared) -> Vec<u64> {
    match shared.next(9, false) {
        Next::Message(v1::actions_request::Kind::Cancel(cancel)) => cancel.ids,
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_cancel_is_said_again_after_a_lost_stream_and_ends_what_was_refused_for_now() {
    let shared = Shared::default();
    let (kept, busy) = (submit(&shared).await, submit(&shared).await);
    assert_eq!(sent(&shared, 1).len(), 2);
    shared.hear(accepted(kept), 0, &PEER);
    shared.cancel(kept);
    assert_eq!(cancels(&shared), [kept]);
    shared.lost();
    assert_eq!(shared.welcome(1 << 20).len(), 1);
    shared.cancel(busy);
    assert_eq!(sent(&shared, 2), [(busy, 1, true)], "the hub may know it");
    let mut said = cancels(&shared);
    said.sort_unstable();
    assert_eq!(said, [kept, busy]);
    shared.hear(ended(busy, false, tonic::Code::Unavailable.into()), 0, &PEER);
    let (id, event) = shared.next_event().await;
    assert!(id == busy && matches!(event, Ok(Event::Done(_))), "it is not sent again");
    // The hub has said that it does not have this one.
    let third = submit(&shared).await;
    assert_eq!(sent(&shared, 3).len(), 1);
    shared.hear(ended(third, false, tonic::Code::Unavailable.into()), 0, &PEER);
    shared.cancel(third);
    let told = shared.next_event().now_or_never();
    assert!(matches!(told, Some((id, Ok(Event::Done(_)))) if id == third), "{told:?}");
    assert!(matches!(shared.next(4, false), Next::Nothing), "nor does it hear of it again");
    // One that is in line again, and may have been begun before, is given up once it was sent.
    let fourth = submit(&shared).await;
    assert_eq!(sent(&shared, 5).len(), 1);
    shared.lost();
    shared.welcome(1 << 20);
    shared.cancel(fourth);
    let again = shared.next(6, true);
    assert!(
        matches!(&again, Next::Message(v1::actions_request::Kind::Cancel(c)) if c.ids == [kept]),
        "{again:?}"
    );
    assert!(matches!(shared.next(6, true), Next::Nothing), "while it pauses");
    assert_eq!(sent(&shared, 6), [(fourth, 5, true)]);
    assert_eq!(cancels(&shared), [fourth]);
}

#[tokio::test]
async fn all_who_wait_to_submit_hear_that_it_is_over() {
    let shared = Shared::default();
    let large = JobSpec { argv: vec!["x".repeat(100 << 10); 2], ..spec() };
    let encode = || large.encode(hands_types::DigestFunction::Sha256).unwrap();
    let _first = shared.submit(&large, encode(), false).await.unwrap();
    let mut waiting: Vec<_> =
        (0..3).map(|_| Box::pin(shared.submit(&large, encode(), false))).collect();
    for waits in &mut waiting {
        assert!(waits.now_or_never().is_none());
    }
    let error = ClientError::Forgotten { peer: "hub".to_owned() };
    shared.fail(error);
    for waits in waiting {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), waits).await;
        assert!(ended.expect("it waits for ever").is_err());
    }
}

/// A refusal of the hub's for want of memory, which says when to ask again.
fn crowded(id: u64) -> v1::ActionEvents {
    let status = hands_proto::Charge::crowded();
    let status = rpc::Status::decode(status.details()).unwrap();
    let response = Some(reapi::ExecuteResponse { status: Some(status), ..Default::default() });
    let ended = vec![v1::ActionEnded { id, response, ..Default::default() }];
    v1::ActionEvents { ended, ..Default::default() }
}

#[tokio::test]
async fn a_refusal_that_says_when_it_passes_is_no_end() {
    let shared = Shared::default();
    let (last, other) = (submit(&shared).await, submit(&shared).await);
    assert_eq!(sent(&shared, 1).len(), 2);
    let refused = shared.hear(crowded(last), 0, &PEER).refused.unwrap();
    assert!(!refused.for_own && refused.message.contains("try again"), "{refused:?}");
    shared.hear(accepted(other), 0, &PEER);
    assert_eq!(sent(&shared, 2), [(last, 1, true)]);
    assert!(
        shared.hear(crowded(last), 0, &PEER).refused.unwrap().for_own,
        "it waits for the other"
    );
    assert!(shared.next_event().now_or_never().is_none());
    // The same code without that is one, such as the limit of one member.
    assert_eq!(sent(&shared, 3).len(), 1);
    let full = ended(last, false, tonic::Code::ResourceExhausted.into());
    assert_eq!(shared.hear(full, 0, &PEER), TOOK);
    let (id, event) = shared.next_event().await;
    assert!(id == last && event.is_err_and(|error| error.is_for_want_of_room()));
}

#[tokio::test]
async fn an_engine_gets_no_more_actions_than_are_read_of() {
    let response = reapi::ExecuteResponse {
        result: Some(reapi::ActionResult::default()),
        ..Default::default()
    };
    let execute =
        Box::new(move |n, _| Ok(fake::these([Ok(fake::done(&format!("op-{n}"), &response))])));
    let engine = Engine::start(Script { execute, ..Script::default() }).await;
    let session = engine.cluster.session().await.unwrap();
    let ended = async {
        for _ in 0..STREAMS {
            session.submit(spec()).await.unwrap();
        }
        while session.live() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, ended).await.expect("they do not end");
    let mut one_more = std::pin::pin!(session.submit(spec()));
    assert!((&mut one_more).now_or_never().is_none(), "nobody has read an end yet");
    assert!(matches!(session.next_event().await.1, Ok(Event::Done(_))));
    tokio::time::timeout(patience, one_more).await.expect("it waits for ever").unwrap();
}

#[tokio::test]
async fn a_session_that_fails_says_what_it_has_left_behind() {
    let error = || ClientError::Forgotten { peer: "hub".to_owned() };
    let shared = Shared::default();
    let _unsent = submit(&shared).await;
    shared.fail(error());
    assert!(!shared.has_left_behind(), "the hub has nothing of it");
    assert!(shared.cancel_all("hub").await.is_ok());
    let shared = Shared::default();
    let id = submit(&shared).await;
    assert_eq!(sent(&shared, 1), [(id, 1, false)]);
    shared.hear(accepted(id), 0, &PEER);
    shared.fail(error());
    assert!(shared.next_event().await.1.is_err());
    assert!(shared.has_left_behind(), "it goes on for nobody");
    assert!(shared.cancel_all("hub").await.is_err(), "the hub has not heard of that");
}

#[tokio::test]
async fn a_hub_without_sessions_lets_nobody_wait_for_its_answer() {
    let shared = Shared::new(true);
    let spec = spec();
    let encoded = spec.encode(hands_types::DigestFunction::Sha256).unwrap();
    let id = shared.submit(&spec, encoded, true).await.unwrap();
    assert_eq!(sent(&shared, 0), [(id, 0, false)]);
    let mut giving_up = std::pin::pin!(shared.cancel_all("hub"));
    assert!((&mut giving_up).now_or_never().is_none());
    shared.is_served(false);
    assert!(giving_up.now_or_never().is_some(), "nobody else answers");
}

#[tokio::test]
async fn whoever_waits_for_room_has_it_once_all_was_given_up() {
    let large = JobSpec { argv: vec!["x".repeat(100 << 10); 2], ..spec() };
    let encode = || large.encode(hands_types::DigestFunction::Sha256).unwrap();
    let is_sent = [false, true];
    for is_sent in is_sent {
        let shared = Shared::default();
        let _first = shared.submit(&large, encode(), false).await.unwrap();
        if is_sent {
            assert_eq!(sent(&shared, 1).len(), 1);
            shared.lost();
        }
        let waits = std::pin::pin!(shared.submit(&large, encode(), false));
        let mut waits = waits;
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(shared.cancel_all("hub").await.is_ok(), !is_sent);
        let submitted = tokio::time::timeout(std::time::Duration::from_secs(20), waits).await;
        assert!(submitted.expect("it waits for ever").is_ok());
    }
}

#[tokio::test]
async fn what_is_sent_ahead_of_a_welcome_is_sent_again_however_often_that_does_not_come() {
    let shared = Shared::new(true);
    let spec = spec();
    let encoded = spec.encode(hands_types::DigestFunction::Sha256).unwrap();
    let id = shared.submit(&spec, encoded, true).await.unwrap();
    assert_eq!(sent(&shared, 0), [(id, 0, false)]);
    for _ in 0..2 {
        shared.lost();
        assert_eq!(sent(&shared, 0), [(id, 0, true)]);
    }
    shared.lost();
    assert_eq!(shared.welcome(1 << 20), []);
    assert_eq!(sent(&shared, 3), [(id, 0, true)]);
}

#[tokio::test]
async fn a_session_of_one_action_grants_again_what_little_it_has_granted() {
    let shared = Shared::new(true);
    let spec = JobSpec { follow: true, ..spec() };
    let encoded = spec.encode(hands_types::DigestFunction::Sha256).unwrap();
    let id = shared.submit(&spec, encoded, true).await.unwrap();
    sent(&shared, 0);
    shared.hear(accepted(id), 0, &PEER);
    assert!(matches!(shared.next_event().await.1, Ok(Event::Queued { .. })));
    let waits = v1::ActionState { id, waiting: "no worker".to_owned(), ..Default::default() };
    let waits = v1::ActionEvents { states: vec![waits], ..Default::default() };
    shared.hear(waits, 48 << 10, &PEER);
    assert!(matches!(shared.next_event().await.1, Ok(Event::Waiting { .. })));
    let next = shared.next(0, false);
    assert!(matches!(next, Next::Message(v1::actions_request::Kind::Credit(_))), "{next:?}");
}
