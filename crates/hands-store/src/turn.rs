//! Who has the index: one short look may come between any two parts of a long one.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::db::lock;
use crate::index::Index;
use crate::store::Inner;

/// Digests of a long look that are looked up before others have their turn: some 20 µs.
pub(crate) const TURN: usize = 256;
/// No long look waits longer for those who are before it.
const PATIENCE: Duration = Duration::from_millis(1);

impl Inner {
    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index_waiting.fetch_add(1, Ordering::Relaxed);
        let index = lock(&self.index);
        self.index_waiting.fetch_sub(1, Ordering::Relaxed);
        index
    }

    /// The index for the next part of a long look, once those have had it who wait for it now. A lock that is given up and
    /// taken again at once would go to nobody else, and long looks run on threads that stand back: others would wait for all
    /// of it.
    pub(crate) fn index_in_turn(&self) -> MutexGuard<'_, Index> {
        if self.index_waiting.load(Ordering::Relaxed) > 0 {
            let until = Instant::now() + PATIENCE;
            while self.index_waiting.load(Ordering::Relaxed) > 0 && Instant::now() < until {
                std::thread::yield_now();
            }
        }
        lock(&self.index)
    }
}
