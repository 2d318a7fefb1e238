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

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The id's halves: together they would be aligned to 16 bytes and waste 12.
    high: u64,
    low: u64,
    /// Plus one, so that a place without an entry takes no word more.
    next_at: NonZeroU32,
}

impl Entry {
    const fn at(self) -> OperationAt {
        self.next_at.get() - 1
    }
}

impl IdTable {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, id: OperationId) -> Option<OperationAt> {
        self.find(halves(id)).ok().map(|(_, at)| at)
    }

    pub(crate) fn insert(&mut self, id: OperationId, at: OperationAt) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        let (high, low) = halves(id);
        let place = match self.find((high, low)) {
            Ok((place, _)) => place,
            Err(free) => {
                self.len += 1;
                free
            }
        };
        let next_at = NonZeroU32::MIN.saturating_add(at);
        self.places[place] = Some(Entry { high, low, next_at });
    }

    pub(crate) fn remove(&mut self, id: OperationId) {
        let Ok((mut hole, _)) = self.find(halves(id)) else { return };
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
            let home = spread(entry.high, entry.low) & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.places[hole] = self.places[next].take();
                hole = next;
            }
        }
    }

    /// All operations, in the order of their ids.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = OperationAt> + use<> {
        let mut entries: Vec<Entry> = self.places.iter().flatten().copied().collect();
        entries.sort_unstable_by_key(|entry| (entry.high, entry.low));
        entries.into_iter().map(Entry::at)
    }

    /// The place of an id and what is there; or the place where it would go. With no places at all that is 0.
    fn find(&self, (high, low): (u64, u64)) -> Result<(usize, OperationAt), usize> {
        if self.places.is_empty() {
            return Err(0);
        }
        let mask = self.places.len() - 1;
        let mut place = spread(high, low) & mask;
        loop {
            match self.places[place] {
                Some(entry) if (entry.high, entry.low) == (high, low) => {
                    return Ok((place, entry.at()));
                }
                Some(_) => place = (place + 1) & mask,
                None => return Err(place),
            }
        }
    }

    fn grow(&mut self) {
        let wider = vec![None; (self.places.len() * 2).max(16)];
        let mask = wider.len() - 1;
        for entry in std::mem::replace(&mut self.places, wider).into_iter().flatten() {
            let mut place = spread(entry.high, entry.low) & mask;
            while self.places[place].is_some() {
                place = (place + 1) & mask;
            }
            self.places[place] = Some(entry);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves")]
const fn halves(id: OperationId) -> (u64, u64) {
    ((id.0 >> 64) as u64, id.0 as u64)
}

/// Ids of one moment differ in a few bits anywhere: a multiplication carries them up, and the fold back down.
#[expect(clippy::cast_possible_truncation, reason = "masked by the caller")]
const fn spread(high: u64, low: u64) -> usize {
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) as usize
}
