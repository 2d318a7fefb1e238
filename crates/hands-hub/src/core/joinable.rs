//! Which operation an equal Execute joins, in 24 bytes for each, where a table by instance and digest takes 80. What is found
//! may be another one: whoever looks compares its record.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use hands_types::OperationId;

use super::{Key, ROOMY};

/// Operations by the hash of what makes them equal. It is a keyed one, so that nobody can choose two that collide; of two that
/// do all the same, the later can be joined.
#[derive(Debug, Default)]
pub(super) struct Joinable {
    hashing: RandomState,
    /// Ids as bytes: as a number each would be aligned to 16.
    ids: HashMap<u64, [u8; 16]>,
}

impl Joinable {
    pub(super) fn insert(&mut self, key: &Key, id: OperationId) {
        self.ids.insert(self.hashing.hash_one(key), id.0.to_ne_bytes());
    }

    /// The only one that may be equal.
    pub(super) fn get(&self, key: &Key) -> Option<OperationId> {
        let id = self.ids.get(&self.hashing.hash_one(key))?;
        Some(OperationId(u128::from_ne_bytes(*id)))
    }

    /// It has ended.
    pub(super) fn remove(&mut self, key: &Key, id: OperationId) {
        if self.get(key) == Some(id) {
            self.ids.remove(&self.hashing.hash_one(key));
        }
    }

    pub(super) fn let_go(&mut self) {
        self.ids.shrink_to(ROOMY);
    }
}
