//! Lists are cut by bytes, not by rows alone: what a row holds was chosen by others. Foreign clients decode 4 MiB at most.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hands_types::OperationId;
use prost::Message;

use crate::HubError;
use crate::db::{Db, Stored};
use crate::operations::Filter;

/// Bytes of the rows of one answer; one row goes in whatever it has.
pub(crate) const PAGE_BYTES: usize = 2 << 20;

/// A list that is being filled.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// Something did not fit.
    pub(crate) is_cut: bool,
    bytes_left: usize,
    rows_left: usize,
}

impl<T: Message> Page<T> {
    pub(crate) const fn new(rows: usize, bytes: usize) -> Self {
        Self { rows: Vec::new(), is_cut: false, bytes_left: bytes, rows_left: rows }
    }

    /// Fills a page with as much as fits.
    pub(crate) fn of(items: impl IntoIterator<Item = T>, rows: usize, bytes: usize) -> Self {
        let mut page = Self::new(rows, bytes);
        let _all = items.into_iter().all(|item| page.take(item));
        page
    }

    /// Takes a row if it fits. False once something did not: then the page is full.
    pub(crate) fn take(&mut self, row: T) -> bool {
        // Its key and length stand before it.
        let bytes = row.encoded_len() + 6;
        let fits = self.rows_left > 0 && (bytes <= self.bytes_left || self.rows.is_empty());
        if self.is_cut || !fits {
            self.is_cut = true;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.rows_left -= 1;
        self.rows.push(row);
        true
    }
}

/// Bytes of results that one page of a list reads to say how their actions ended.
const READ_MAX: usize = 64 << 20;

/// Fills a page with what has not ended and what has, newest first, and tells the last operation on it, or the last that was
/// looked at where most are not wanted: such a page may be empty, and is not the end. Blocks.
pub(crate) fn with_ended<T: Message>(
    db: &Db,
    mut active: BTreeMap<OperationId, T>,
    before: u128,
    filter: &Filter,
    given_up: &AtomicBool,
    mut page: Page<T>,
    row_of: impl Fn(&Stored) -> Option<T>,
) -> Result<(Page<T>, Option<OperationId>), HubError> {
    let mut last = None;
    let mut take = |page: &mut Page<T>, id, row| {
        let fits = page.take(row);
        if fits {
            last = Some(id);
        }
        fits
    };
    let mut bytes_read = 0;
    let stopped = db.finished_before(before, filter, given_up, |stored| {
        bytes_read += stored.done.as_ref().map_or(0, |done| done.response.encoded_len());
        let id = stored.record.id;
        // What ended between the two questions is known to both.
        active.remove(&id);
        let newer = active.split_off(&id).into_iter().rev();
        let all = newer.chain(row_of(&stored).map(|row| (id, row)));
        let fits = all.into_iter().all(|(id, row)| take(&mut page, id, row));
        page.is_cut |= fits && bytes_read > READ_MAX;
        !page.is_cut
    })?;
    if let Some(stopped) = stopped {
        // What is older is the next page's.
        let newer = active.split_off(&stopped).into_iter().rev();
        if newer.into_iter().all(|(id, row)| take(&mut page, id, row)) {
            page.is_cut = true;
            last = Some(stopped);
        }
        return Ok((page, last));
    }
    // What is left is older than all that was looked at.
    let _all = active.into_iter().rev().all(|(id, row)| take(&mut page, id, row));
    Ok((page, last))
}
