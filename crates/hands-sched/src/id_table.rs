//! Operations by id: a hash table without randomness. A tree of a million ids costs a cache miss for each of its levels, and
//! each decision looks here a few times. Ids are the hub's own, so that nobody can choose colliding ones.

use std::num::NonZeroU32;

use hands_types::OperationId;

use crate::state::OperationAt;

/// Places that an empty table keeps.
const ROOMY: usize = 4096;

/// An open-addressing table with linear probing, at most three quarters full.
#[derive(Debug)]
pub(crate) struct IdTable {
    /// A power of two of them, or none.
    places: Vec<Option<Entry>>,
    len: usize,
}

/// Eight bytes: the id stands in the operation's row, where the caller looks next.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    /// Plus one, so that a place without an entry takes no word more.
    next_at: NonZeroU32,
}

impl Entry {
    const fn at(self) -> OperationAt {
        self.next_at.get() - 1
    }
}

const _: () = assert!(size_of::<Option<Entry>>() == 8);

impl IdTable {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Where an operation is; `id_at` reads the id of a row.
    pub(crate) fn get(
        &self,
        id: OperationId,
        id_at: impl Fn(OperationAt) -> OperationId,
    ) -> Option<OperationAt> {
        let found = self.find(hash(id), |at| id_at(at) == id).ok()?;
        self.places[found].map(Entry::at)
    }

    /// Adds an operation that is not there.
    pub(crate) fn insert(&mut self, id: OperationId, at: OperationAt) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        let (Ok(place) | Err(place)) = self.find(hash(id), |_| false);
        let next_at = NonZeroU32::MIN.saturating_add(at);
        self.places[place] = Some(Entry { hash: hash(id), next_at });
        self.len += 1;
    }

    /// Takes one out by its id and its place.
    pub(crate) fn remove(&mut self, id: OperationId, at: OperationAt) {
        let Ok(mut hole) = self.find(hash(id), |other| other == at) else { return };
        self.len -= 1;
        if self.len == 0 && self.places.len() > ROOMY {
            self.places = Vec::new();
            return;
        }
        self.places[hole] = None;
        let mask = self.places.len() - 1;
        // What was pushed behind the hole moves up, so that no search ends before it.
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let Some(entry) = self.places[next] else { return };
            let home = entry.hash as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.places[hole] = self.places[next].take();
                hole = next;
            }
        }
    }

    /// All operations, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = OperationAt> {
        self.places.iter().flatten().copied().map(Entry::at)
    }

    /// The place of an entry; or the place where it would go. With no places at all that is 0.
    fn find(&self, hash: u32, is: impl Fn(OperationAt) -> bool) -> Result<usize, usize> {
        if self.places.is_empty() {
            return Err(0);
        }
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            match self.places[place] {
                Some(entry) if entry.hash == hash && is(entry.at()) => return Ok(place),
                Some(_) => place = (place + 1) & mask,
                None => return Err(place),
            }
        }
    }

    fn grow(&mut self) {
        let wider = vec![None; (self.places.len() * 2).max(16)];
        let mask = wider.len() - 1;
        for entry in std::mem::replace(&mut self.places, wider).into_iter().flatten() {
            let mut place = entry.hash as usize & mask;
            while self.places[place].is_some() {
                place = (place + 1) & mask;
            }
            self.places[place] = Some(entry);
        }
    }
}

/// Ids of one moment differ in a few bits anywhere: a multiplication carries them up, and the fold back down.
#[expect(clippy::cast_possible_truncation, reason = "the halves, and the folded bits")]
const fn hash(id: OperationId) -> u32 {
    let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) as u32
}
