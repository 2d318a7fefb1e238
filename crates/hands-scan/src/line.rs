//! On which line a place is, for places that come in order.

pub(crate) struct Lines<'a> {
    text: &'a [u8],
    splices: &'a [u32],
    counted: usize,
    n_splices: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a [u8], splices: &'a [u32]) -> Self {
        Self { text, splices, counted: 0, n_splices: 0, line: 1 }
    }

    /// The line of a place that is not before the last one asked for.
    pub(crate) fn line_of(&mut self, at: usize) -> u32 {
        let ends = self.text[self.counted..at].iter().filter(|&&b| b == b'\n').count();
        let joined =
            self.splices[self.n_splices..].iter().take_while(|&&s| s as usize <= at).count();
        self.counted = at;
        self.n_splices += joined;
        self.line = self.line.saturating_add(u32::try_from(ends + joined).unwrap_or(u32::MAX));
        self.line
    }

    /// Up to where lines were counted.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Whether lines were joined between two neighbouring bytes of this part.
    pub(crate) fn is_spliced_within(&self, start: usize, end: usize) -> bool {
        let first = self.splices.partition_point(|&s| s as usize <= start);
        self.splices.get(first).is_some_and(|&s| (s as usize) < end)
    }
}
