//! Time that passes only when a test says so.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::PATIENCE;

/// Stops the runtime's clock until it is dropped. Signs of life of test workers go on: time passes in short steps, and
/// after each everything that can happen in memory happens.
#[derive(Debug)]
pub(crate) struct Clock {
    _hold: mpsc::Sender<()>,
}

impl Drop for Clock {
    fn drop(&mut self) {
        tokio::time::resume();
    }
}

/// Shorter than any lease.
const STEP: Duration = Duration::from_secs(1);
/// More than any message within this process needs to arrive.
const POLLS: usize = 200;

impl Clock {
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (hold, held) = mpsc::channel();
        // A runtime with nothing to do would let time jump, and must not: the table's thread works outside of it. It does
        // not jump while a blocking task runs. A test that hangs is ended by its own patience all the same.
        drop(tokio::task::spawn_blocking(move || held.recv_timeout(PATIENCE * 2)));
        Self { _hold: hold }
    }

    /// Lets time pass, and a moment more: timers count whole milliseconds and are never early.
    pub(crate) async fn pass(&self, time: Duration) {
        let mut time = time + Duration::from_millis(2);
        while !time.is_zero() {
            let step = time.min(STEP);
            tokio::time::advance(step).await;
            for _ in 0..POLLS {
                tokio::task::yield_now().await;
            }
            time -= step;
        }
    }

    /// Lets time pass until something is so.
    pub(crate) async fn pass_until(&self, what: &str, is: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if is() {
                return;
            }
            self.pass(STEP).await;
        }
        panic!("{what} did not come");
    }
}
