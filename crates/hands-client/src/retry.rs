//! Waiting for a hub that has gone: how long, and how often it is asked.

use std::time::Duration;

use tokio::time::Instant;

use crate::ClientError;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// The pauses between tries of one request. A hub is back within a second of a restart, so the first are short.
#[derive(Debug)]
pub(crate) struct Backoff {
    since: Instant,
    patience: Option<Duration>,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { since: Instant::now(), patience, next: FIRST }
    }

    /// How long it has been.
    pub(crate) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Pauses before the next try, or gives up with an error that says how long it was.
    pub(crate) async fn pause(
        &mut self,
        peer: &str,
        error: &ClientError,
    ) -> Result<(), ClientError> {
        let waited = self.since.elapsed();
        if self.patience.is_some_and(|patience| waited >= patience) {
            let peer = peer.to_owned();
            return Err(match error {
                ClientError::NotNow { message, .. } => {
                    ClientError::Never { peer, waited, message: message.clone() }
                }
                _ => ClientError::Lost { peer, waited, message: error.to_string() },
            });
        }
        tracing::debug!(peer, %error, pause_ms = self.next.as_millis(), "trying again");
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(LAST);
        Ok(())
    }
}
