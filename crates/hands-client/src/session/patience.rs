//! How long a session asks a hub that can't take its actions now, and how often (pure).

use std::time::Duration;

use hands_types::limits;
use tokio::time::Instant;

use crate::retry::LAST;

/// The first pause after a refusal that passes; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// A refusal that passes: the action is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What the hub says.
    pub(super) message: String,
    /// Actions of this session have what this one waits for, so that there is room when they end.
    pub(super) for_own: bool,
}

/// What a hub said of being able to take actions.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// It refuses what it is sent.
    refuses: Option<Since>,
    /// It can't make anything durable, and answers nothing.
    troubled: Option<Since>,
    pause: Duration,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Since {
    at: Instant,
    message: String,
}

impl Since {
    fn or_now(earlier: Option<Self>, now: Instant, message: String) -> Option<Self> {
        Some(Self { at: earlier.map_or(now, |earlier| earlier.at), message })
    }
}

impl Patience {
    /// The hub has said something, a refusal or not. True if it takes actions.
    pub(super) fn heard(&mut self, now: Instant, refused: Option<Refused>) -> bool {
        let Some(Refused { message, for_own }) = refused else {
            if self.troubled.is_none() {
                self.refuses = None;
                self.pause = Duration::ZERO;
            }
            return self.troubled.is_none();
        };
        self.pause = (self.pause * 2).clamp(PAUSE, LAST);
        self.paused_until = Some(now + self.pause);
        self.refuses = match self.refuses.take() {
            _ if for_own => None,
            earlier => Since::or_now(earlier, now, message),
        };
        false
    }

    /// Why the hub can make nothing durable; empty when that is over.
    pub(super) fn trouble(&mut self, now: Instant, sentence: &str) {
        self.troubled = match self.troubled.take() {
            _ if sentence.is_empty() => None,
            earlier => Since::or_now(earlier, now, sentence.to_owned()),
        };
    }

    /// Whether nothing new is to be sent now.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// When there is something to do next: to go on, or to give up.
    pub(super) fn due(&self) -> Option<Instant> {
        let ends = [&self.refuses, &self.troubled].into_iter().flatten();
        ends.map(|since| since.at + limits::ORPHAN).chain(self.paused_until).min()
    }

    /// Some time has passed. Gives for how long the hub took nothing, and what it says, if that was too long; then the time
    /// begins anew, for what is submitted from now on.
    pub(super) fn passed(&mut self, now: Instant) -> Option<(Duration, String)> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let mut ended = None;
        for since in [&mut self.refuses, &mut self.troubled].into_iter().flatten() {
            let waited = now - since.at;
            if waited >= limits::ORPHAN {
                since.at = now;
                ended = Some((waited, since.message.clone()));
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests;
