//! Waiting for a hub that has gone: how long, and how often it is asked.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ClientError;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// When the hub last answered any of the requests that share this: what one finds out, all know. Many wait for a hub that
/// is killed again and again, and each by itself might miss the moments when it is there.
#[derive(Debug)]
pub(crate) struct Contact(watch::Sender<Instant>);

impl Contact {
    /// It has answered now.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    /// It has answered: whoever pauses tries at once.
    pub(crate) fn made(&self) {
        self.0.send_replace(Instant::now());
    }
}

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

    /// Pauses before the next try, or gives up with an error that says how long nobody had an answer.
    pub(crate) async fn pause(
        &mut self,
        contact: &Contact,
        peer: &str,
        error: &ClientError,
    ) -> Result<(), ClientError> {
        let mut answers = contact.0.subscribe();
        let waited = match error {
            // It is there. That it answers others says nothing of this request.
            ClientError::NotNow { .. } => self.since.elapsed(),
            _ => self.since.elapsed().min(answers.borrow().elapsed()),
        };
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
        tokio::select! {
            () = tokio::time::sleep(self.next) => self.next = (self.next * 2).min(LAST),
            // Its error means that nobody is left to answer to.
            _ = answers.changed() => self.next = FIRST,
        }
        Ok(())
    }
}
