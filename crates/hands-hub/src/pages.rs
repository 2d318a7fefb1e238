//! Lists are cut by bytes, not by rows alone: what a row holds was chosen by others. Foreign clients decode 4 MiB at most.

use prost::Message;

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
