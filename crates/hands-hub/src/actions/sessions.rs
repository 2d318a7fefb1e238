//! Sessions that are open, by whose they are and by their names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{NAME, Outbox};
use crate::core::Owner;

/// Whose a session is, and its name.
pub(super) type Key = (Owner, [u8; NAME]);

/// A session has one stream. Whoever opens it once more has lost the one before, which its hub may notice only much later.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Key, Weak<Outbox>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Outbox>>> {
        // Nothing in here leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a stream. Gives the one whose place it takes.
    pub(super) fn open(&self, key: Key, outbox: &Arc<Outbox>) -> Option<Arc<Outbox>> {
        self.lock().insert(key, Arc::downgrade(outbox))?.upgrade()
    }

    /// A stream has ended.
    pub(super) fn close(&self, key: &Key, outbox: &Arc<Outbox>) {
        let mut open = self.lock();
        if open.get(key).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(outbox))) {
            open.remove(key);
        }
    }
}
