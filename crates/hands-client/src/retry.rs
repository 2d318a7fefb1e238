//! Waiting for a hub that has gone: how long, and how often it is asked.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ClientError;

pub(crate) const FIRST: Duration = Duration::from_millis(20);
pub(crate) const LAST: Duration = Duration::from_secs(1);
/// What is back before anyone could read about it is not told.
pub(crate) const UNTIL_TOLD: Duration = Duration::from_secs(1);

/// When the hub last answered any of the requests that share this: what one finds out, all know. Many wait for a hub that
/// is killed again and again, and each by itself might miss the moments when it is there.
#[derive(Debug)]
pub(crate) struct Contact {
    answered: watch::Sender<Instant>,
    /// What somebody waits for, as a sentence.
    trouble: watch::Sender<Option<String>>,
}

impl Contact {
    /// It has answered now.
    pub(crate) fn new() -> Self {
        Self { answered: watch::Sender::new(Instant::now()), trouble: watch::Sender::new(None) }
    }

    /// It has answered: whoever pauses tries at once.
    pub(crate) fn made(&self) {
        self.answered.send_replace(Instant::now());
        self.trouble.send_if_modified(|told| told.take().is_some());
    }

    /// Waits before a try that nobody is told of: others of this connection try, too, and tell.
    pub(crate) async fn quiet_pause(&self, pause: Duration) {
        let mut answers = self.answered.subscribe();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Its error means that nobody is left to answer to.
            _ = answers.changed() => {}
        }
    }

    /// What is waited for, whenever it is another than before.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.subscribe()
    }

    pub(crate) fn tell(&self, sentence: String) {
        self.trouble.send_if_modified(|told| {
            let is_new = told.as_ref() != Some(&sentence);
            *told = Some(sentence);
            is_new
        });
    }
}

/// The pauses between tries of one request. A hub is back within a second of a restart, so the first are short.
#[derive(Debug)]
pub(crate) struct Backoff {
    since: Instant,
    patience: Option<Duration>,
    next: Duration,
    /// It answers, and what it answers ends at once: that somebody has an answer is no sign.
    in_vain: bool,
    /// It answers at once, and nothing new: asking more often brings no more.
    is_polled: bool,
}

impl Backoff {
    pub(crate) fn new(patience: Option<Duration>) -> Self {
        Self { since: Instant::now(), patience, next: FIRST, in_vain: false, is_polled: false }
    }

    /// What was asked for came, and has ended after so long. Only what was of use, or held for a while, begins the pauses anew.
    pub(crate) fn ended(&mut self, has_served: bool, lasted: Duration) {
        if has_served || lasted >= LAST {
            *self = Self::new(self.patience);
        } else {
            self.in_vain = true;
        }
    }

    /// What was asked for came at once, said what it had said before, and has ended. It is asked for as long as it answers, and
    /// less and less often.
    pub(crate) fn said_nothing_new(&mut self) {
        *self = Self { next: self.next, is_polled: true, ..Self::new(self.patience) };
    }

    /// Whether that it answers is no sign that it is of use.
    pub(crate) const fn is_in_vain(&self) -> bool {
        self.in_vain
    }

    /// Pauses before the next try, or gives up with an error that says how long nobody had an answer. What is not there for
    /// a while is told by [`Contact::trouble`].
    pub(crate) async fn pause(
        &mut self,
        contact: &Contact,
        peer: &str,
        error: &ClientError,
    ) -> Result<(), ClientError> {
        let mut answers = contact.answered.subscribe();
        let waited = match error {
            // It is there. That it answers others says nothing of this request.
            ClientError::NotNow { .. } => self.since.elapsed(),
            _ if self.in_vain => self.since.elapsed(),
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
        if self.since.elapsed() >= UNTIL_TOLD {
            contact.tell(self.sentence(peer, error));
        }
        tracing::debug!(peer, %error, pause_ms = self.next.as_millis(), "trying again");
        tokio::select! {
            () = tokio::time::sleep(self.next) => self.next = (self.next * 2).min(LAST),
            // Its error means that nobody is left to answer to.
            _ = answers.changed(), if !self.in_vain && !self.is_polled => self.next = FIRST,
        }
        Ok(())
    }

    /// Why there is a pause.
    pub(crate) fn sentence(&self, peer: &str, error: &ClientError) -> String {
        let trying = self
            .patience
            .map_or_else(|| "trying".to_owned(), |time| format!("trying for {} s", time.as_secs()));
        match error {
            ClientError::NotNow { message, .. } => {
                format!("{peer} says that it can't now; {trying}: {message}")
            }
            ClientError::Connect { why, .. } => {
                format!("{peer} can't be reached; {trying}: {why}")
            }
            other => format!("{peer} can't be reached; {trying}: {other}"),
        }
    }
}
