//! Which worker holds which trees, for locality.

use std::collections::{BTreeMap, BTreeSet};

use hands_types::Digest;

use crate::slab::Slab;
use crate::state::{SessionAt, TreeAt};

/// Trees smaller than this are fetched in less time than it takes to think about them. The roots of most actions are small
/// and their own.
pub(crate) const MIN_BYTES: u64 = 1 << 20;

/// Trees that an action names or a worker holds. One that neither does is forgotten.
#[derive(Debug)]
pub(crate) struct Trees {
    rows: Slab<Row>,
    by_digest: BTreeMap<Digest, TreeAt>,
}

#[derive(Debug)]
struct Row {
    digest: Digest,
    bytes: u64,
    n_users: usize,
    holders: BTreeSet<SessionAt>,
}

impl Trees {
    pub(crate) const fn new() -> Self {
        Self { rows: Slab::new(), by_digest: BTreeMap::new() }
    }

    fn intern(&mut self, digest: Digest, bytes: u64) -> TreeAt {
        let at = *self.by_digest.entry(digest).or_insert_with(|| {
            self.rows.insert(Row { digest, bytes, n_users: 0, holders: BTreeSet::new() })
        });
        let row = &mut self.rows[at];
        row.bytes = row.bytes.max(bytes);
        at
    }

    /// An action names it.
    pub(crate) fn acquire(&mut self, digest: Digest, bytes: u64) -> TreeAt {
        let at = self.intern(digest, bytes.max(1));
        self.rows[at].n_users += 1;
        at
    }

    /// An action that named it has ended.
    pub(crate) fn release(&mut self, at: TreeAt) {
        self.rows[at].n_users -= 1;
        self.collect(at);
    }

    /// A worker has it; by digest, because nobody else may have named it yet.
    pub(crate) fn hold(&mut self, session: SessionAt, digest: Digest) -> TreeAt {
        let at = self.intern(digest, 1);
        self.rows[at].holders.insert(session);
        at
    }

    /// A worker has it.
    pub(crate) fn hold_at(&mut self, session: SessionAt, at: TreeAt) -> bool {
        self.rows[at].holders.insert(session)
    }

    pub(crate) fn unhold(&mut self, session: SessionAt, at: TreeAt) {
        self.rows[at].holders.remove(&session);
        self.collect(at);
    }

    fn collect(&mut self, at: TreeAt) {
        if self.rows[at].n_users == 0 && self.rows[at].holders.is_empty() {
            self.by_digest.remove(&self.rows[at].digest);
            self.rows.remove(at);
        }
    }

    /// Bytes of these trees that the worker need not fetch.
    pub(crate) fn held_bytes(&self, session: SessionAt, trees: &[TreeAt]) -> u64 {
        let held = |at: &&TreeAt| self.rows[**at].holders.contains(&session);
        trees.iter().filter(held).fold(0, |sum, at| sum.saturating_add(self.rows[*at].bytes))
    }

    /// Workers that hold the tree, from `first` on and around.
    pub(crate) fn holders(&self, at: TreeAt, first: SessionAt) -> impl Iterator<Item = SessionAt> {
        let holders = &self.rows[at].holders;
        holders.range(first..).chain(holders.range(..first)).copied()
    }

    pub(crate) fn is_held(&self, at: TreeAt) -> bool {
        !self.rows[at].holders.is_empty()
    }

    /// Asserts that the table has no row that nobody needs.
    pub(crate) fn check(&self) {
        assert_eq!(self.rows.len(), self.by_digest.len(), "each tree has one row");
        for (at, row) in self.rows.iter() {
            assert_eq!(
                self.by_digest.get(&row.digest),
                Some(&at),
                "a tree's row is found by its digest"
            );
            assert!(
                row.n_users > 0 || !row.holders.is_empty(),
                "a tree that nobody needs was kept"
            );
        }
    }
}
