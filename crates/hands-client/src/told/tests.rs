use super::{State, Told};
use crate::{Event, JobResult, LostAttempt};

fn runs(attempt: u32, lost: &[u32]) -> State {
    let lost = lost.iter().map(|lost| LostAttempt::unexplained(*lost, "w".to_owned())).collect();
    State { runs: true, attempt, lost, ..State::default() }
}

/// One word for each event.
fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Started { attempt, .. } => format!("started {attempt}"),
        Event::Again { lost, attempt, .. } => format!("again {} {attempt}", lost.attempt),
        Event::Lost { lost } => format!("lost {}", lost.attempt),
        Event::Waiting { reason } => reason.clone(),
        Event::Done(_) => "done".to_owned(),
        Event::Queued { .. } | Event::Output { .. } => "other".to_owned(),
    };
    events.iter().map(word).collect()
}

#[test]
fn each_loss_is_told_once_and_before_the_next_attempt() {
    let mut told = Told::default();
    let waits = State { waiting: "no worker".to_owned(), ..State::default() };
    assert_eq!(words(&told.changed(waits, false)), ["no worker"]);
    assert_eq!(words(&told.changed(runs(1, &[]), false)), ["started 1"]);
    assert!(told.changed(runs(1, &[]), false).is_empty(), "it is the same");
    assert_eq!(words(&told.changed(runs(1, &[]), true)), ["started 1"], "for streams that broke");
    assert!(told.changed(State::default(), false).is_empty(), "it waits for the next worker");
    assert_eq!(words(&told.changed(runs(2, &[1]), false)), ["again 1 2", "started 2"]);
    // A hub that was started again tells nothing of attempt 2.
    assert_eq!(words(&told.changed(runs(3, &[1]), false)), ["again 2 3", "started 3"]);
    let result = JobResult { attempt: 3, ..JobResult::of_command(0) };
    assert_eq!(words(&told.ended(result)), ["done"]);
}

#[test]
fn an_action_that_begins_anew_says_so_where_it_was_begun() {
    assert!(Told::default().begins_anew().is_none());
    let mut told = Told::default();
    assert_eq!(words(&told.changed(runs(0, &[]), false)), ["started 0"], "nobody counts");
    assert_eq!(words(told.begins_anew().as_slice()), ["again 0 0"]);
    assert!(told.begins_anew().is_none(), "it is told once");
    assert_eq!(words(&told.changed(runs(2, &[1]), false)), ["again 1 2", "started 2"]);
    assert_eq!(words(told.begins_anew().as_slice()), ["again 2 0"]);
    assert_eq!(words(&told.changed(runs(1, &[]), false)), ["started 1"], "counted from the first");
}
