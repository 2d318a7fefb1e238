use std::sync::Arc;

use hands_link::StreamEnd;
use hands_proto::reapi;
use hands_types::{Attempt, OperationId};

use super::{HELD, Outbox, Size};
use crate::core::{OpState, Stage};
use crate::db::Done;
use crate::told::Teller;

const OPERATION: OperationId = OperationId(7);

fn outbox(credit: u64) -> Arc<Outbox> {
    Outbox::new(None, credit).unwrap()
}

fn done(bytes: usize) -> Done {
    Done {
        response: Arc::new(reapi::ExecuteResponse {
            message: "x".repeat(bytes),
            ..Default::default()
        }),
        finished: 0,
        started: None,
        attempt: Attempt(1),
        worker_name: "w".into(),
        retained: false,
    }
}

fn ends(outbox: &Outbox, id: u64, bytes: usize) {
    let done = done(bytes);
    outbox.ended(id, OPERATION, &done, Size::of(&done.response));
}

fn waits(outbox: &Outbox, id: u64, follow: bool) -> Teller<OpState> {
    let state = Teller::new(OpState::default());
    assert_eq!(outbox.waits_for(id, OPERATION, 1, state.hearer(), follow), Ok(()));
    state
}

#[test]
fn an_acceptance_comes_first_and_costs_no_credit() {
    let outbox = outbox(0);
    let _state = waits(&outbox, 3, false);
    outbox.accepted(3);
    ends(&outbox, 3, 10);
    let words = outbox.next().unwrap().unwrap();
    assert_eq!(words.events.accepted[0].id, 3);
    assert!(words.ended.is_empty(), "its client takes nothing more");
    assert!(outbox.next().unwrap().is_none());
    outbox.grant(1);
    assert_eq!(outbox.next().unwrap().unwrap().ended[0].id, 3);
}

#[test]
fn what_exceeds_the_credit_is_paid_back_first() {
    let outbox = outbox(1);
    let say = |id, bytes| {
        let _state = waits(&outbox, id, false);
        ends(&outbox, id, bytes);
    };
    let said = || {
        let words = outbox.next().unwrap();
        words.map(|words| words.ended.iter().map(|ended| ended.id).collect::<Vec<_>>())
    };
    say(1, 100 << 10);
    assert_eq!(said(), Some(vec![1]));
    outbox.spend(100 << 10);
    say(2, 70 << 10);
    say(3, 70 << 10);
    // Its client has read it, and never has more than one of them ahead of its reader.
    outbox.grant(100 << 10);
    assert_eq!(said(), Some(vec![2]));
    outbox.spend(70 << 10);
    assert_eq!(said(), None, "the client takes a byte at a time");
    outbox.grant(70 << 10);
    assert_eq!(said(), Some(vec![3]));
}

#[test]
fn results_that_find_no_room_are_left_in_the_table() {
    let outbox = outbox(u64::MAX);
    let states: Vec<_> = (0..3).map(|id| waits(&outbox, id, false)).collect();
    for id in 0..3 {
        ends(&outbox, id, HELD / 2);
    }
    assert!(outbox.next().is_ok_and(|words| words.is_some_and(|w| w.ended[0].response.is_some())));
    let rest = outbox.next().unwrap().unwrap();
    let mut all = rest.ended;
    while let Ok(Some(words)) = outbox.next() {
        all.extend(words.ended);
    }
    assert_eq!(
        all.iter().map(|e| (e.id, e.response.is_some())).collect::<Vec<_>>(),
        [(1, false), (2, false)]
    );
    drop(states);
}

#[test]
fn states_are_told_to_those_who_follow_and_losses_to_all() {
    let outbox = outbox(u64::MAX);
    let (followed, other) = (waits(&outbox, 1, true), waits(&outbox, 2, false));
    for state in [&followed, &other] {
        state.change(|state| {
            state.stage = Stage::Executing;
            state.attempt = 1;
        });
    }
    outbox.changed(1);
    outbox.changed(2);
    outbox.changed(1);
    let words = outbox.next().unwrap().unwrap();
    assert_eq!(words.events.states.iter().map(|s| (s.id, s.attempt)).collect::<Vec<_>>(), [(1, 1)]);
    let lost = hands_proto::v1::LostAttempt { attempt: 1, ..Default::default() };
    other.change(|state| {
        state.stage = Stage::Queued;
        state.lost.push(lost);
    });
    outbox.changed(2);
    assert!(outbox.next().unwrap().is_none(), "it is told with the attempt that comes next");
    other.change(|state| {
        state.stage = Stage::Executing;
        state.attempt = 2;
    });
    outbox.changed(2);
    outbox.changed(2);
    let words = outbox.next().unwrap().unwrap();
    assert_eq!(
        words.events.states.iter().map(|s| (s.id, s.attempt, s.lost.len())).collect::<Vec<_>>(),
        [(2, 2, 1)]
    );
    assert!(outbox.next().unwrap().is_none(), "it is told once");
}

#[test]
fn nothing_is_said_of_what_was_given_up_with_all() {
    let outbox = outbox(u64::MAX);
    let _states = [waits(&outbox, 1, false), waits(&outbox, 2, false)];
    outbox.accepted(1);
    assert_eq!(outbox.take_all().0.len(), 2);
    ends(&outbox, 1, 1);
    outbox.accepted(2);
    assert!(outbox.next().unwrap().is_none());
    outbox.all_cancelled();
    assert!(outbox.next().unwrap().unwrap().events.all_cancelled);
    outbox.finish();
    assert!(outbox.next().is_err_and(|status| status.is_none()), "nothing is left");
}

#[test]
fn until_it_is_known_how_a_stream_ended_its_actions_can_be_given_up() {
    let outbox = outbox(u64::MAX);
    let _states = [waits(&outbox, 1, true), waits(&outbox, 2, false)];
    outbox.close();
    let late = waits(&outbox, 3, false);
    outbox.accepted(3);
    ends(&outbox, 2, 1);
    assert_eq!(outbox.held(), 0, "nobody hears of it");
    assert_eq!(outbox.waiters_of(&[1, 2]), [(OPERATION, 1)]);
    assert_eq!(outbox.ends_by(StreamEnd::Cancelled).0.len(), 2, "they end as the stream did");
    let late = outbox.waits_for(4, OPERATION, 2, late.hearer(), false);
    assert_eq!(late, Err(StreamEnd::Cancelled), "and so does this");
    assert!(outbox.ends_by(StreamEnd::Lost).0.is_empty(), "each leaves once");
}
