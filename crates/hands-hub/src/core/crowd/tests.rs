//! Who gets a place.

use std::sync::Arc;

use bytes::Bytes;
use hands_types::limits::{MAX_ACTIONS, MAX_ACTIONS_OF_ONE, MAX_PLATFORMS_OF_ONE};
use hands_types::{DigestFunction, MemberId, OperationId};
use tonic::Code;

use super::{Crowd, Owner};
use crate::db::Record;

fn record(title: &str) -> Record {
    let root = hands_tree::empty(DigestFunction::Sha256);
    Record {
        id: OperationId(1),
        instance: Arc::from(""),
        digest: root,
        joinable: false,
        cacheable: false,
        salted: false,
        ours: true,
        cached: false,
        priority: 0,
        shape: 0,
        metadata: Default::default(),
        options: Default::default(),
        title: title.into(),
        created: 0,
    }
}

#[test]
fn one_that_sends_without_an_end_leaves_room_for_others() {
    let mut crowd = Crowd::default();
    let (evil, good) = (Owner::Member(MemberId(6)), Owner::Local);
    let (record, none) = (record("make"), Bytes::new());
    let seats: Vec<_> =
        (0..MAX_ACTIONS_OF_ONE).map(|_| crowd.enter(evil, &record, &none).unwrap()).collect();
    // So many as one batch may bring.
    assert!(seats.len() >= 200_000);
    let refused = crowd.enter(evil, &record, &none).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains(&MAX_ACTIONS_OF_ONE.to_string()), "{refused:?}");
    const { assert!(MAX_ACTIONS >= 2 * MAX_ACTIONS_OF_ONE) };
    crowd.enter(good, &record, &none).unwrap();
    crowd.leave(&seats[0]);
    crowd.enter(evil, &record, &none).unwrap();
}

#[test]
fn long_texts_take_more_room() {
    let mut crowd = Crowd::default();
    let record = record(&"x".repeat(1 << 20));
    let taken = (0..MAX_ACTIONS_OF_ONE)
        .take_while(|_| crowd.enter(Owner::Local, &record, &Bytes::new()).is_ok());
    assert!(taken.count() < 1000);
}

/// The scheduler's kinds of actions are for all.
#[test]
fn one_that_asks_for_ever_other_workers_is_told_to_wait() {
    let mut crowd = Crowd::default();
    let record = record("make");
    let platform = |n: usize| Bytes::from(n.to_string());
    let seats: Vec<_> = (0..MAX_PLATFORMS_OF_ONE)
        .map(|n| crowd.enter(Owner::Local, &record, &platform(n)).unwrap())
        .collect();
    crowd.enter(Owner::Local, &record, &platform(0)).unwrap();
    let refused = crowd.enter(Owner::Local, &record, &platform(usize::MAX)).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    crowd.enter(Owner::Member(MemberId(7)), &record, &platform(usize::MAX)).unwrap();
    crowd.leave(&seats[1]);
    crowd.enter(Owner::Local, &record, &platform(usize::MAX)).unwrap();
}
