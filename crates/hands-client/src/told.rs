//! From what a cluster says of an action to events: the same by whichever way it is heard (pure).

#[cfg(test)]
mod tests;

use crate::{Event, JobResult, LostAttempt};

/// What was told of one action so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The attempt that was seen running last; 0 where there was none, or nobody counts.
    attempt: u32,
    /// The highest number of an attempt that was told to be lost.
    lost: u32,
    runs: bool,
}

/// An action that has not ended.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) runs: bool,
    /// Which attempt runs; 0 where nobody counts.
    pub(crate) attempt: u32,
    /// The worker that runs it, printable.
    pub(crate) worker: String,
    /// Why it waits, printable.
    pub(crate) waiting: String,
    /// Attempts before this one that may have been started.
    pub(crate) lost: Vec<LostAttempt>,
}

impl Told {
    /// The action's state, which may be another one. `all`: that it runs is said each time, for whoever reads its streams, which
    /// may have broken.
    pub(crate) fn changed(&mut self, state: State, all: bool) -> Vec<Event> {
        let State { runs, attempt, worker, waiting, mut lost } = state;
        let mut events = Vec::new();
        if !waiting.is_empty() {
            events.push(Event::Waiting { reason: waiting });
        }
        let is_new = all || !self.runs || self.attempt != attempt;
        self.runs = runs;
        if !runs {
            return events;
        }
        let (before, told) = (self.attempt, self.lost);
        self.attempt = attempt;
        lost.retain(|lost| lost.attempt > told && lost.attempt != attempt);
        // A hub tells what was lost; one that was started again may not know.
        if lost.is_empty() && before > told && before < attempt {
            lost.push(LostAttempt::unexplained(before, String::new()));
        }
        events.extend(self.again(lost, attempt, &worker));
        if is_new {
            events.push(Event::Started { worker, attempt });
        }
        events
    }

    /// The action has ended.
    pub(crate) fn ended(&mut self, result: JobResult) -> Vec<Event> {
        let told = self.lost;
        let mut lost = result.lost();
        lost.retain(|lost| lost.attempt > told);
        let mut events: Vec<Event> = if result.result.is_some() {
            // The next one is told with its number.
            lost.retain(|lost| result.attempt > 0 && lost.attempt != result.attempt);
            self.again(lost, result.attempt, &result.worker()).collect()
        } else {
            lost.into_iter().map(|lost| Event::Lost { lost }).collect()
        };
        events.push(Event::Done(Box::new(result)));
        events
    }

    /// The cluster has forgotten the action, and begins it anew: attempts are counted from the first. Gives what is told of
    /// that where something had been begun.
    pub(crate) fn begins_anew(&mut self) -> Option<Event> {
        let Self { attempt, runs, .. } = std::mem::take(self);
        let lost = LostAttempt::unexplained(attempt, String::new());
        let worker = String::new();
        (attempt > 0 || runs).then_some(Event::Again { lost, attempt: 0, worker, anew: false })
    }

    /// Says which attempts were lost before this one.
    fn again(
        &mut self,
        lost: Vec<LostAttempt>,
        attempt: u32,
        worker: &str,
    ) -> impl Iterator<Item = Event> {
        lost.into_iter().map(move |lost| {
            self.lost = lost.attempt;
            Event::Again { lost, attempt, worker: worker.to_owned(), anew: false }
        })
    }
}
