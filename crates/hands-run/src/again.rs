//! What is said when an action is run again. Always: it may have done something twice.

use hands_client::{Event, LostAttempt};

/// The sentence for an action that its cluster forgot, and of which nobody knows how far it was.
pub(crate) const FORGOTTEN: &str = "the cluster does not know the action any more, which may have been run; it is run again from the start";

/// The same for an action that had been started, when its inputs went from the store.
pub(crate) const SENT_AGAIN: &str =
    "its inputs had gone from the store; they are sent again, and it is run again from the start";

/// The sentence for an event; none for any other event.
pub(crate) fn sentence(event: &Event) -> Option<String> {
    let (lost, attempt, worker, anew) = match event {
        Event::Again { lost, attempt, worker, anew } => (lost, attempt, worker, anew),
        Event::Lost { lost } => {
            let LostAttempt { attempt, worker, reason, given_up, .. } = lost;
            let lost = loss(*attempt, worker, reason, *given_up);
            return Some(format!("{lost}; the command may have been run"));
        }
        _ => return None,
    };
    let LostAttempt { attempt: first, worker: whose, reason, given_up, overtaken } = lost;
    let on = |worker: &str| if worker.is_empty() { String::new() } else { format!(" on {worker}") };
    let what = if *attempt == 0 && !reason.is_empty() {
        format!("{reason}; the action is sent again, and may be run twice")
    } else if *attempt == 0 {
        let what = if *first == 0 { String::new() } else { format!(", attempt {first}") };
        format!(
            "the cluster does not know the action any more, which was being run{what}{}; it is run again from the start",
            on(whose)
        )
    } else if *overtaken {
        format!("attempt {first}{} was overtaken; the result is attempt {attempt}'s", on(whose))
    } else {
        let loss = loss(*first, whose, reason, *given_up);
        format!("{loss}; it is run again, attempt {attempt}{}", on(worker))
    };
    let then = if *anew { "; its output begins anew" } else { "" };
    Some(format!("{what}{then}"))
}

fn loss(attempt: u32, worker: &str, reason: &str, given_up: bool) -> String {
    let worker = if worker.is_empty() { String::new() } else { format!(" {worker}") };
    let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let how = if given_up { "brought no result on" } else { "was lost with" };
    format!("attempt {attempt} {how} its worker{worker}{why}")
}
