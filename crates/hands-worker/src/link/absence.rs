//! What is said about a hub that is away: one line, one more when it turns out to refuse, then one a minute.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

/// How often an absent hub is mentioned.
const MENTION: Duration = Duration::from_secs(60);

/// Whether the hub is away, and what was said of it. Has no clock of its own.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    lost: Option<Lost>,
    /// Whether there ever was a session.
    was_there: bool,
}

/// A hub that is away.
#[derive(Debug)]
struct Lost {
    since: Instant,
    /// When that was last said.
    said: Instant,
    /// Whether it was said that the hub does not want us: that is news after "no connection".
    is_refusal: bool,
}

/// How a hub is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// For the first time.
    First,
    /// After so long.
    Again(Duration),
}

impl Absence {
    /// The hub can't be reached, or refuses. Whether that is to be said.
    pub(crate) fn lost(&mut self, now: Instant, is_refusal: bool) -> bool {
        let say = self
            .lost
            .as_ref()
            .is_none_or(|lost| now - lost.said >= MENTION || (is_refusal && !lost.is_refusal));
        if say {
            let since = self.lost.as_ref().map_or(now, |lost| lost.since);
            self.lost = Some(Lost { since, said: now, is_refusal });
        }
        say
    }

    /// A session works.
    pub(crate) fn ends(&mut self, now: Instant) -> Return {
        let lost = self.lost.take();
        match (std::mem::replace(&mut self.was_there, true), lost) {
            (true, Some(lost)) => Return::Again(now - lost.since),
            (true, None) => Return::Again(Duration::ZERO),
            (false, _) => Return::First,
        }
    }
}
