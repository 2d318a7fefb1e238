//! What a tree stands for, from its distinct directories: a few small ones can name each other to an exponential size.

use std::collections::BTreeMap;

use hands_types::Digest;

/// What one directory holds.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Its own entries.
    pub entries: u64,
    /// The longest name of a file or link in it, bytes.
    pub longest: usize,
    /// Its directories, with the bytes of their names.
    pub below: Vec<(Digest, usize)>,
}

/// A whole tree, each directory counted as often as it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many directories stand within each other, below the root.
    pub depth: usize,
    /// Files, links and directories, without the root.
    pub entries: u64,
    /// The directories among them.
    pub directories: u64,
    /// The longest path, bytes.
    pub path: usize,
}

/// The shape of the tree below a root. Each directory is looked at once; those that are not there count as empty. No
/// directory may hold itself, which their digests see to.
pub fn shape(root: &Digest, directories: &BTreeMap<Digest, Held>) -> Shape {
    let mut done: BTreeMap<Digest, Shape> = BTreeMap::new();
    let mut todo = vec![(*root, false)];
    while let Some((digest, children_are_done)) = todo.pop() {
        let Some(held) = directories.get(&digest).filter(|_| !done.contains_key(&digest)) else {
            continue;
        };
        if !children_are_done {
            todo.push((digest, true));
            todo.extend(held.below.iter().map(|(child, _)| (*child, false)));
            continue;
        }
        let directories = held.below.len() as u64;
        let mut shape = Shape { depth: 0, entries: held.entries, directories, path: held.longest };
        for (child, name) in &held.below {
            let below = done.get(child).copied().unwrap_or_default();
            shape.depth = shape.depth.max(below.depth + 1);
            shape.entries = shape.entries.saturating_add(below.entries);
            shape.directories = shape.directories.saturating_add(below.directories);
            let path = if below.path == 0 { *name } else { name + 1 + below.path };
            shape.path = shape.path.max(path);
        }
        done.insert(digest, shape);
    }
    done.get(root).copied().unwrap_or_default()
}
