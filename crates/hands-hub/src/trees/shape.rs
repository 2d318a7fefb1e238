//! How deep a tree is and how many entries it stands for, from its distinct directories: a few small ones can name each
//! other to an exponential size.

use std::collections::BTreeMap;

use hands_types::Digest;
use hands_types::limits::{MAX_TREE_DEPTH, MAX_TREE_ENTRIES};

/// What one directory holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Its own entries.
    pub(super) entries: u64,
    pub(super) below: Vec<Digest>,
}

/// Why no worker would stage this tree, if so. Each directory is looked at once.
pub(super) fn flaw(root: &Digest, directories: &BTreeMap<Digest, Held>) -> Option<String> {
    // Of each directory that is done: how deep it goes below itself, and its entries in all.
    let mut done: BTreeMap<Digest, (usize, u64)> = BTreeMap::new();
    let mut todo = vec![(*root, false)];
    while let Some((digest, children_are_done)) = todo.pop() {
        let Some(held) = directories.get(&digest).filter(|_| !done.contains_key(&digest)) else {
            continue;
        };
        if !children_are_done {
            todo.push((digest, true));
            todo.extend(held.below.iter().map(|child| (*child, false)));
            continue;
        }
        let (mut depth, mut entries) = (0, held.entries.saturating_add(1));
        for child in &held.below {
            let (deeper, more) = done.get(child).copied().unwrap_or_default();
            depth = depth.max(deeper + 1);
            entries = entries.saturating_add(more);
        }
        done.insert(digest, (depth, entries));
    }
    let (depth, entries) = done.get(root).copied()?;
    if depth > MAX_TREE_DEPTH {
        return Some(format!(
            "its tree is {depth} directories deep, and {MAX_TREE_DEPTH} is the most"
        ));
    }
    (entries > MAX_TREE_ENTRIES)
        .then(|| format!("its tree has {entries} entries, and {MAX_TREE_ENTRIES} is the most"))
}
