//! A hub that has no room for outputs: they are kept and sent again for a while, as the command that made them has run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hands_reapi::BlobError;
use tokio::time::Instant;
use tonic::Code;

/// How long outputs are kept for a hub without room: as long as a client waits for an engine.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause, and how much later than the room a result may come.
const LONGEST: Duration = Duration::from_secs(2);

/// Whether an upload was refused because the hub has no room.
pub(crate) fn is_no_room(error: &BlobError) -> bool {
    matches!(error, BlobError::Rpc { source, .. } if source.status().code() == Code::ResourceExhausted)
}

/// The actions whose outputs wait for room at the hub.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

impl Crowd {
    /// Begins the upload of an action's outputs.
    pub(crate) fn begin(&self) -> Patience {
        Patience { crowd: self.clone(), waits: None, pause: FIRST }
    }
}

/// One action's part in it.
#[derive(Debug)]
pub(crate) struct Patience {
    crowd: Crowd,
    /// Until when, once it was refused.
    waits: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Waits before the next try. False where it has been tried for long enough.
    pub(crate) async fn wait(&mut self, error: &BlobError) -> bool {
        let now = Instant::now();
        let until = *self.waits.get_or_insert_with(|| {
            // Once for all that wait.
            if self.crowd.0.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the hub has no room for outputs; keeping them and trying again for {} s",
                    PATIENCE.as_secs()
                );
            }
            now + PATIENCE
        });
        if now >= until {
            return false;
        }
        tokio::time::sleep_until(until.min(now + self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

impl Drop for Patience {
    // Also where the attempt was given up meanwhile.
    fn drop(&mut self) {
        if self.waits.is_some() {
            self.crowd.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hub_without_room_is_asked_for_a_minute_with_pauses() {
        let refused = BlobError::Interrupted;
        let crowd = Crowd::default();
        let (mut one, other) = (crowd.begin(), crowd.begin());
        let begun = Instant::now();
        let mut tries = 1;
        while one.wait(&refused).await {
            tries += 1;
            assert_eq!(crowd.0.load(Ordering::Relaxed), 1, "what was not refused does not wait");
        }
        assert_eq!(begun.elapsed(), PATIENCE);
        assert!((30..=40).contains(&tries), "{tries}");
        drop((one, other));
        assert_eq!(crowd.0.load(Ordering::Relaxed), 0);
        // Given up in the middle of a pause.
        let mut third = crowd.begin();
        let cut = tokio::time::timeout(Duration::from_millis(50), third.wait(&refused)).await;
        assert!(cut.is_err());
        assert_eq!(crowd.0.load(Ordering::Relaxed), 1);
        drop(third);
        assert_eq!(crowd.0.load(Ordering::Relaxed), 0);
    }
}
