//! Whether an action may be run again after an attempt was lost: the one count of it that hubs and clients have.

/// Attempts after the first, at most, whatever its user says.
pub const MOST: u32 = 2;

/// The attempts of one action that were begun and lost, beside how many these may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reruns {
    said: Option<u32>,
    has_effects: bool,
    lost: u32,
}

impl Reruns {
    /// None was lost yet. `said` is what its user said, if anything.
    pub const fn new(said: Option<u32>, has_effects: bool) -> Self {
        Self { said, has_effects, lost: 0 }
    }

    /// So many more attempts were begun, or may have been, and lost. Fails where it is not to be run again, with the reason.
    pub fn lose(&mut self, attempts: u32) -> Result<(), &'static str> {
        self.lost = self.lost.saturating_add(attempts);
        match self.said {
            _ if self.lost <= self.most() => Ok(()),
            None if self.has_effects => Err("it may have had effects outside"),
            Some(_) | None => Err("no retries are left"),
        }
    }

    /// How many were lost.
    pub const fn lost(&self) -> u32 {
        self.lost
    }

    /// What its next submission says, so that it is not run more often than one submission would be.
    pub fn left(&self) -> Option<u32> {
        if self.lost == 0 { self.said } else { Some(self.most().saturating_sub(self.lost)) }
    }

    fn most(&self) -> u32 {
        match self.said {
            Some(said) => said.min(MOST),
            None if self.has_effects => 0,
            None => MOST,
        }
    }
}
