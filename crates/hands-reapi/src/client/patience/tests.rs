use std::time::Duration;

use hands_proto::{Charge, MessageBound, MessageBudget};
use tokio::time::Instant;
use tonic::{Code, Response, Status};

use super::{PATIENCE, patiently};

/// What a server without room says, as it says it.
fn no_room() -> Status {
    let bound = MessageBound { request: 1, memory: 1, answer: 1, streams: false };
    Charge::new(MessageBudget::new(8, |_, work| work()).account(), bound).reserve(8).unwrap_err()
}

async fn after(refusals: usize, refusal: impl Fn() -> Status) -> (Result<usize, Code>, Duration) {
    let began = Instant::now();
    let mut calls = 0;
    let answer = patiently(PATIENCE, || {
        calls += 1;
        let answer = if calls > refusals { Ok(Response::new(calls)) } else { Err(refusal()) };
        async move { answer }
    });
    (answer.await.map_err(|status| status.code()), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_there_was_no_room_for_is_made_again_and_not_for_ever() {
    assert_eq!(after(3, no_room).await, (Ok(4), Duration::from_secs(3)));
    let (answer, waited) = after(usize::MAX, no_room).await;
    assert_eq!(answer, Err(Code::ResourceExhausted));
    assert!(waited < PATIENCE && waited > PATIENCE / 2, "{waited:?}");
    // A full disk has the same code, and does not pass.
    let full = || Status::resource_exhausted("the store is full");
    assert_eq!(after(1, full).await, (Err(Code::ResourceExhausted), Duration::ZERO));
}
