//! What was sent and may have to be sent again.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

/// Bytes that are kept at most, but for the last piece; how far a sender is ahead of the worker.
pub(super) const MOST: usize = 4 << 20;
/// Pieces, of which each takes memory beside its bytes.
const MOST_PIECES: usize = 4096;

/// The end of a stream, with the place of each of its pieces.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Each with its offset, none empty.
    pub(super) pieces: VecDeque<(u64, Bytes)>,
    end: u64,
    /// Nothing follows.
    pub(super) at_end: bool,
}

impl Kept {
    /// The first byte that can be had again.
    pub(super) fn first(&self) -> u64 {
        self.pieces.front().map_or(self.end, |(offset, _)| *offset)
    }

    /// Bytes that have come in all.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Whether nothing was forgotten.
    pub(super) fn is_whole(&self) -> bool {
        self.first() == 0
    }

    /// Whether more may come.
    pub(super) fn has_room(&self) -> bool {
        !self.at_end && self.pieces.len() < MOST_PIECES && self.end - self.first() < MOST as u64
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            let offset = self.end;
            self.end += data.len() as u64;
            self.pieces.push_back((offset, data));
        }
    }

    /// What goes before this need not be kept.
    pub(super) fn forget(&mut self, until: u64) {
        while let Some((offset, data)) = self.pieces.front_mut() {
            let before = until.saturating_sub(*offset);
            if before < data.len() as u64 {
                // Less than its length, which is a usize.
                data.advance(usize::try_from(before).unwrap_or(0));
                *offset += before;
                return;
            }
            self.pieces.pop_front();
        }
    }

    /// The piece that goes on at this place; none where nothing does.
    pub(super) fn from(&self, place: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|(offset, _)| *offset <= place);
        let (offset, data) = self.pieces.get(after.checked_sub(1)?)?;
        let within = usize::try_from(place - offset).ok()?;
        (within < data.len()).then(|| data.slice(within..))
    }
}
