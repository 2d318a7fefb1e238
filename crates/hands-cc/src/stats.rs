//! Counts since the agent began.

use std::collections::BTreeMap;

/// How compiles went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answered from the cache.
    pub hits: u64,
    /// Run on a worker.
    pub remote: u64,
    /// Run by their own compiler where they were called, by the code of the reason.
    pub local: BTreeMap<String, u64>,
}

impl Stats {
    /// What was added since an earlier look.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let local = self.local.iter().map(|(code, n)| {
            (code.clone(), n.saturating_sub(before.local.get(code).copied().unwrap_or(0)))
        });
        Self {
            hits: self.hits.saturating_sub(before.hits),
            remote: self.remote.saturating_sub(before.remote),
            local: local.filter(|(_, n)| *n > 0).collect(),
        }
    }
}
