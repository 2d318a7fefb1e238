//! What changed from one tree to another.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use hands_types::{Digest, Mtime};

use crate::directory::{Directory, DirectoryNode, FileNode, Node, SymlinkNode};

/// One difference. A directory that is new as a whole is one change; one that stands in both trees is compared entry by
/// entry, and not at all if its digest is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, below the root, `/` between names.
    pub path: String,
    /// What.
    pub kind: ChangeKind,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is gone.
    Removed,
    /// It is now this file.
    File(FileNode),
    /// It is now this link.
    Symlink(SymlinkNode),
    /// It is now this directory, and was none.
    Directory(DirectoryNode),
    /// It is a directory in both trees, with this time in the new one. The root's path is empty.
    Touched(Option<Mtime>),
}

/// Why two trees were not compared to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffError<E> {
    /// There are more differences than the caller wants to hear of.
    TooMany,
    /// A directory could not be loaded.
    Load(E),
}

impl<E: fmt::Display> fmt::Display for DiffError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("more differences than asked for"),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for DiffError<E> {}

/// Lists what must be done to the tree `old` to have the tree `new`: parents before children, names in order. Gives up
/// after `limit` changes. `load` finds a directory by its digest; both trees' directories are canonical.
pub fn diff<E>(
    old: &Directory,
    new: &Directory,
    limit: usize,
    load: &mut impl FnMut(&Digest) -> Result<Arc<Directory>, E>,
) -> Result<Vec<Change>, DiffError<E>> {
    let mut changes = Vec::new();
    walk("", old, new, limit, load, &mut changes)?;
    Ok(changes)
}

fn walk<E>(
    prefix: &str,
    old: &Directory,
    new: &Directory,
    limit: usize,
    load: &mut impl FnMut(&Digest) -> Result<Arc<Directory>, E>,
    changes: &mut Vec<Change>,
) -> Result<(), DiffError<E>> {
    if old.mtime != new.mtime {
        let kind = ChangeKind::Touched(new.mtime);
        push(changes, limit, Change { path: prefix.to_owned(), kind })?;
    }
    let mut olds = old.nodes().peekable();
    let mut news = new.nodes().peekable();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.name().as_bytes().cmp(b.name().as_bytes()),
        };
        let before = if order == Ordering::Greater { None } else { olds.next() };
        let after = if order == Ordering::Less { None } else { news.next() };
        let kind = match (before, after) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) if a == b => continue,
            (Some(Node::Directory(a)), Some(Node::Directory(b))) => {
                let below_old = load(&a.digest).map_err(DiffError::Load)?;
                let below_new = load(&b.digest).map_err(DiffError::Load)?;
                walk(&join(prefix, &b.name), &below_old, &below_new, limit, load, changes)?;
                continue;
            }
            (Some(_), None) => ChangeKind::Removed,
            (_, Some(Node::File(node))) => ChangeKind::File(node.clone()),
            (_, Some(Node::Symlink(node))) => ChangeKind::Symlink(node.clone()),
            (_, Some(Node::Directory(node))) => ChangeKind::Directory(node.clone()),
        };
        let name = after.or(before).map_or("", Node::name);
        push(changes, limit, Change { path: join(prefix, name), kind })?;
    }
}

fn push<E>(changes: &mut Vec<Change>, limit: usize, change: Change) -> Result<(), DiffError<E>> {
    if changes.len() >= limit {
        return Err(DiffError::TooMany);
    }
    changes.push(change);
    Ok(())
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}
