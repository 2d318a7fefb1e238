//! When actions of a session were sent, as their ids say: counted by the client from the epoch, which is the hub's clock.

use tokio::time::Instant;
use tonic::Status;

use crate::core::unix_millis;

/// Milliseconds by which a client's clock, counted from the epoch, may run ahead of the hub's.
const AHEAD: u64 = 60_000;
/// The same of a session that was opened before: by how much a hub's clock may have been set back since.
const SET_BACK: u64 = 86_400_000;
/// Bits of an id that say when.
const BITS: u32 = 48;

/// A session's epoch, milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) epoch: u64,
    /// When that was; none where the session began at another hub, or over an earlier stream.
    began: Option<Instant>,
}

impl Clock {
    /// With the epoch that the client brings, or 0 where the session begins.
    pub(super) fn of(brought: u64) -> Self {
        match brought {
            0 => Self { epoch: now(), began: Some(Instant::now()) },
            epoch => Self { epoch, began: None },
        }
    }

    /// When an action was sent, by milliseconds from the epoch. None of a session that begins says to be sent in the future. Of one
    /// that was opened before nobody knows: the hub's clock, by which it counts, may have been set back since.
    pub(super) fn sent(&self, at_ms: u32) -> Result<u64, Status> {
        let sent = self.epoch.saturating_add(at_ms.into());
        // Not brought down to the hub's clock: it would have another name when it is sent again.
        let most = match self.began {
            None => now().saturating_add(SET_BACK),
            Some(began) => {
                let counted = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                now().max(self.epoch.saturating_add(counted)).saturating_add(AHEAD)
            }
        };
        if sent > most || sent >> BITS != 0 {
            return Err(Status::invalid_argument(format!(
                "it says to be sent at {sent}, and the hub's clock is at {}",
                now()
            )));
        }
        Ok(sent)
    }
}

fn now() -> u64 {
    u64::try_from(unix_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
