//! How long a session asks a hub that can't take its actions now, and how often (pure).

use std::time::Duration;

use hands_types::limits;
use tokio::time::Instant;

use crate::retry::{LAST, UNTIL_TOLD};

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

/// What a message of the hub says of being able to take actions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// It has accepted one, or answered one that waited for that.
    pub(super) took: bool,
    /// What it refused for now.
    pub(super) refused: Option<Refused>,
}

impl Heard {
    /// One more was refused. What does not wait for the session itself is what has a limit.
    pub(super) fn refuses(&mut self, refused: Refused) {
        if self.refused.as_ref().is_none_or(|before| before.for_own) {
            self.refused = Some(refused);
        }
    }
}

/// What a hub said of being able to take actions.
#[derive(Debug)]
pub(super) struct Patience {
    /// For how long a hub may say that it can make nothing durable.
    troubled_for: Duration,
    /// It refuses what it is sent.
    refuses: Option<Since>,
    /// It can't make anything durable, and answers nothing.
    troubled: Option<Since>,
    pause: Duration,
    paused_until: Option<Instant>,
    /// The refusal that was told last.
    told: Option<String>,
}

#[derive(Debug)]
struct Since {
    at: Instant,
    /// When somebody may have waited for too long.
    check: Instant,
    message: String,
}

impl Since {
    fn or_now(
        earlier: Option<Self>,
        now: Instant,
        most: Duration,
        message: String,
    ) -> Option<Self> {
        let (at, check) = earlier.map_or((now, now + most), |earlier| (earlier.at, earlier.check));
        Some(Self { at, check, message })
    }
}

impl Patience {
    /// Of a session of many actions; or of one alone, whose user sits before it. Its answer may be there already, and then comes
    /// right behind.
    pub(super) fn of(alone: bool) -> Self {
        let troubled_for = if alone { UNTIL_TOLD } else { limits::ORPHAN };
        let (refuses, troubled, pause, paused_until, told) = Default::default();
        Self { troubled_for, refuses, troubled, pause, paused_until, told }
    }

    /// The hub has said something. True if as far as is known it takes actions.
    pub(super) fn heard(&mut self, now: Instant, heard: Heard) -> bool {
        if heard.took && self.troubled.is_none() {
            self.refuses = None;
            self.told = None;
            self.pause = Duration::ZERO;
        }
        let Some(Refused { message, for_own }) = heard.refused else {
            return self.refuses.is_none() && self.troubled.is_none();
        };
        self.pause = (self.pause * 2).clamp(PAUSE, LAST);
        self.paused_until = Some(now + self.pause);
        self.refuses = match self.refuses.take() {
            _ if for_own => None,
            earlier => Since::or_now(earlier, now, limits::ORPHAN, message),
        };
        false
    }

    /// Why the hub can make nothing durable; empty when that is over.
    pub(super) fn trouble(&mut self, now: Instant, sentence: &str) {
        self.troubled = match self.troubled.take() {
            _ if sentence.is_empty() => None,
            earlier => Since::or_now(earlier, now, self.troubled_for, sentence.to_owned()),
        };
    }

    /// Whether nothing new is to be sent now.
    pub(super) const fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// A refusal that has not passed in a second, once.
    pub(super) fn tells(&mut self, now: Instant) -> Option<String> {
        let since = self.untold().filter(|since| now >= since.at + UNTIL_TOLD)?;
        let message = since.message.clone();
        self.told = Some(message.clone());
        Some(message)
    }

    fn untold(&self) -> Option<&Since> {
        self.refuses.as_ref().filter(|since| self.told.as_ref() != Some(&since.message))
    }

    /// When there is something to do next: to go on, to tell, or to give up.
    pub(super) fn due(&self) -> Option<Instant> {
        let ends = [&self.refuses, &self.troubled].into_iter().flatten().map(|since| since.check);
        let told = self.untold().map(|since| since.at + UNTIL_TOLD);
        ends.chain(told).chain(self.paused_until).min()
    }

    /// Some time has passed. `oldest`: since when that waits to be taken which waits longest. Gives for how long it waits for a
    /// hub that takes nothing, and what that says, if it is too long.
    pub(super) fn passed(
        &mut self,
        now: Instant,
        oldest: impl Fn() -> Option<Instant>,
    ) -> Option<(Duration, String)> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let mut ended = None;
        let limits = [(&mut self.refuses, limits::ORPHAN), (&mut self.troubled, self.troubled_for)];
        for (since, most) in limits {
            let Some(said) = since.as_mut().filter(|since| now >= since.check) else { continue };
            // What is submitted from now on has its own time, too.
            let from = oldest().unwrap_or(now).max(said.at);
            said.check = from + most;
            if now >= said.check {
                ended = Some((now - from, said.message.clone()));
                // Others may have waited nearly as long.
                said.check = now;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests;
