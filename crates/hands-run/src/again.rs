//! What is said when an action is run again. Always: it may have done something twice.

use hands_client::{Event, LostAttempt};

/// The sentence for an action that its cluster forgot, and of which nobody knows how far it was.
pub(crate) const FORGOTTEN: &str = "the cluster does not know the action any more, which may have been run; it is run again from the start";

/// The sentence for an event; none for any other event.
pub(crate) fn sentence(event: &Event) -> Option<String> {
    let Event::Again { lost, attempt, worker, anew } = event else { return None };
    let LostAttempt { attempt: first, worker: whose, reason, given_up, overtaken } = lost;
    let on = |worker: &str| if worker.is_empty() { String::new() } else { format!(" on {worker}") };
    let what = if *attempt == 0 {
        let what = if *first == 0 { String::new() } else { format!(", attempt {first}") };
        format!(
            "the cluster does not know the action any more, which was being run{what}{}; it is run again from the start",
            on(whose)
        )
    } else if *overtaken {
        format!("attempt {first}{} was overtaken; the result is attempt {attempt}'s", on(whose))
    } else {
        let whose = if whose.is_empty() { String::new() } else { format!(" {whose}") };
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        let how = if *given_up { "brought no result on" } else { "was lost with" };
        format!(
            "attempt {first} {how} its worker{whose}{why}; it is run again, attempt {attempt}{}",
            on(worker)
        )
    };
    let then = if *anew { "; its output begins anew" } else { "" };
    Some(format!("{what}{then}"))
}
