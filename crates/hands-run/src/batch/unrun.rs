//! Why commands were not run. Where a cluster stays away that is one reason for very many.

/// Commands that are told with the same reason, one after the other; of more of them it is told how many.
const NAMED: usize = 5;

/// The reason that was told last.
#[derive(Debug, Default)]
pub(super) struct Unrun {
    why: String,
    told: usize,
    more: usize,
}

/// What is said of a command that was not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Of those before it, whose reason was another one.
    pub(super) before: Option<String>,
    /// Whether it is named itself.
    pub(super) is_named: bool,
}

impl Unrun {
    /// A command was not run for this reason.
    pub(super) fn note(&mut self, why: &str) -> Said {
        let before = if self.why == why { None } else { self.rest() };
        if self.why != why {
            *self = Self { why: why.to_owned(), told: 0, more: 0 };
        }
        let is_named = self.told < NAMED;
        let count = if is_named { &mut self.told } else { &mut self.more };
        *count += 1;
        Said { before, is_named }
    }

    /// How many were not named, once.
    pub(super) fn rest(&mut self) -> Option<String> {
        let more = std::mem::take(&mut self.more);
        let were = if more == 1 { "command was" } else { "commands were" };
        (more > 0).then(|| format!("{more} more {were} not run, for the same reason"))
    }
}
