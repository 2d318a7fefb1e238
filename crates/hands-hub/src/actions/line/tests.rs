use hands_proto::v1;

use super::{Line, RESUMED, WINDOW};

fn action(id: u64, sent_before: bool) -> v1::SubmitAction {
    v1::SubmitAction { id, sent_before, command: vec![0; 1000].into(), ..Default::default() }
}

#[test]
fn what_is_given_up_again_and_again_is_noted_once() {
    let mut line = Line::default();
    let ids: Vec<u64> = (0..RESUMED as u64).collect();
    let resume = |id| v1::ResumeAction { id, ..Default::default() };
    let resume = ids.iter().copied().map(resume).collect();
    let actions = vec![action(9000, true), action(9001, false)];
    line.push(v1::Submissions { resume, actions, ..Default::default() }, None).unwrap();
    let mut given_up = ids;
    // The last is in no message.
    given_up.extend([9000, 9001, 9002]);
    assert_eq!(line.take_out(&given_up), [9001]);
    for _ in 0..3 {
        assert!(line.take_out(&given_up).is_empty());
    }
    let first = line.pop().unwrap();
    assert_eq!(first.cancelled.len(), RESUMED + 1);
    assert_eq!(first.message.actions.len(), 1);
    assert_eq!(line.bytes, 0);
}

#[test]
fn what_was_given_up_takes_no_place_in_the_window() {
    let mut line = Line::default();
    let message = |id| v1::Submissions { actions: vec![action(id, false)], ..Default::default() };
    let mut n = 0;
    while line.push(message(n), None).is_ok() {
        n += 1;
    }
    assert!(n * 1000 > WINDOW);
    assert_eq!(line.take_out(&[3]), [3]);
    line.push(message(n), None).unwrap();
    assert!(line.push(message(n + 1), None).is_err());
}

#[test]
fn a_message_with_nothing_in_it_is_not_kept() {
    let mut line = Line::default();
    line.push(v1::Submissions::default(), None).unwrap();
    assert!(line.is_empty());
}
