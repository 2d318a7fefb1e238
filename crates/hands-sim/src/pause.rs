//! A hub that stands still: what comes meanwhile waits for it, and its clock goes on.

use std::time::Duration;

use hands_sched::{Input, RequeueReason};

use crate::audit::Verdict;
use crate::faults::Bug;
use crate::work::SECOND;
use crate::world::{Event, World};

/// What a hub that stands still has not noticed yet.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    since: Option<u64>,
    waiting: Vec<Event>,
    /// When it went on.
    pub(crate) ended: Option<u64>,
}

impl Pause {
    pub(crate) const fn is_on(&self) -> bool {
        self.since.is_some()
    }

    pub(crate) fn keep(&mut self, event: Event) {
        self.waiting.push(event);
    }

    /// Ends it, and gives what waited.
    pub(crate) fn end(&mut self) -> Vec<Event> {
        self.since = None;
        std::mem::take(&mut self.waiting)
    }
}

impl World {
    pub(crate) fn pause_hub(&mut self) {
        if self.hub.sched.is_none() || self.hub.is_paused() {
            return;
        }
        self.hub.pause.since = Some(self.now);
        let time = 3 * SECOND + self.rng.below(30 * SECOND);
        self.after(time, Event::ResumeHub { life: self.hub.life });
    }

    pub(crate) fn resume_hub(&mut self, life: u64) -> Verdict {
        let Some(since) = self.hub.pause.since.take().filter(|_| life == self.hub.life) else {
            return Ok(());
        };
        self.outcome.n_pauses += 1;
        self.hub.pause.ended = Some(self.now);
        if self.bug != Some(Bug::IgnoresPauses) {
            self.hub_step(Input::Late { by: Duration::from_micros(self.now - since) })?;
        }
        for event in self.hub.pause.end() {
            self.say(|_| format!("{event:?}, late"));
            self.perform(event)?;
        }
        Ok(())
    }

    /// Where no connection stands still, a worker that is connected is heard all the time.
    pub(crate) fn check_requeued(&self, reason: &RequeueReason) -> Verdict {
        match reason {
            RequeueReason::LeaseExpired { worker }
                if self.drawn.stall == 0 && self.is_connected(*worker) =>
            {
                Err(format!("a lease of {worker} ran out although it was connected all the time"))
            }
            RequeueReason::LeaseExpired { .. }
            | RequeueReason::NotHeld { .. }
            | RequeueReason::HandedBack { .. } => Ok(()),
        }
    }
}
