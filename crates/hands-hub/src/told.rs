//! A value that one changes and others wait for: tokio's `watch` in a fifth of its memory, of which each action has one. It has
//! one list of those who wait where `watch` has nine, so that many may wait for many, and few for each.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

struct Shared<T> {
    value: RwLock<T>,
    /// Counts changes by [`CHANGE`]; the lowest bit says that there will be none any more. Changed while the value is locked.
    version: AtomicU64,
    changed: Notify,
}

const ENDED: u64 = 1;
const CHANGE: u64 = 2;

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, T> {
        // Whatever a change leaves that panics is a value.
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes the value. Dropped, it says that there will be no change any more.
pub(crate) struct Teller<T>(Arc<Shared<T>>);

/// Hears of changes.
pub(crate) struct Hearer<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// There will be no change any more.
#[derive(Debug)]
pub(crate) struct Ended;

impl<T> Teller<T> {
    pub(crate) fn new(value: T) -> Self {
        let (value, version, changed) = (RwLock::new(value), AtomicU64::new(0), Notify::new());
        Self(Arc::new(Shared { value, version, changed }))
    }

    /// One that hears of changes from now on.
    pub(crate) fn hearer(&self) -> Hearer<T> {
        let seen = self.0.version.load(Ordering::Acquire);
        Hearer { shared: Arc::clone(&self.0), seen }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut value);
        self.0.version.fetch_add(CHANGE, Ordering::AcqRel);
        drop(value);
        self.0.changed.notify_waiters();
    }

    /// The value, which can't change as long as this is held.
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        self.0.version.fetch_or(ENDED, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl<T> Hearer<T> {
    /// The value, which can't change as long as this is held.
    pub(crate) fn borrow(&self) -> RwLockReadGuard<'_, T> {
        self.shared.read()
    }

    /// The same, whose changes up to now were heard of then.
    pub(crate) fn hear(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version.load(Ordering::Acquire);
        value
    }

    /// Returns when there is a change that was not heard of, and has heard of it then. Dropped while it waits, it loses nothing.
    pub(crate) async fn changed(&mut self) -> Result<(), Ended> {
        loop {
            let mut waiting = std::pin::pin!(self.shared.changed.notified());
            // In the list before the look, so that no change comes between.
            waiting.as_mut().enable();
            let now = self.shared.version.load(Ordering::Acquire);
            if now / CHANGE != self.seen / CHANGE {
                self.seen = now;
                return Ok(());
            }
            if now & ENDED != 0 {
                return Err(Ended);
            }
            waiting.await;
        }
    }

    /// Returns when the value is so.
    pub(crate) async fn until(
        &mut self,
        is: impl Fn(&T) -> bool,
    ) -> Result<RwLockReadGuard<'_, T>, Ended> {
        while !is(&self.hear()) {
            self.changed().await?;
        }
        Ok(self.shared.read())
    }
}

impl<T> Clone for Hearer<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Teller<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Teller").field(&self.0.value).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Hearer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hearer").field(&self.shared.value).finish()
    }
}

#[cfg(test)]
mod tests;
