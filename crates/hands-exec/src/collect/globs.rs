//! Outputs by pattern.

use std::os::fd::{AsFd, BorrowedFd};

use hands_tree::Pattern;
use hands_tree::pattern::Part;
use hands_types::RelPath;

use super::open::{self, Found, Node};
use super::{CollectError, walk};

/// Deepest directory below the working directory in which a pattern is looked for.
const MAX_DEPTH: usize = 200;
/// Most names that one pattern may look at.
const MAX_LOOKED_AT: u64 = 1_000_000;

/// All that matches a pattern below the working directory, with its path relative to that, sorted by path. What can't
/// be an output (a fifo, a device) matches all the same and is an error then.
pub(crate) fn expand(
    tree: BorrowedFd<'_>,
    working_directory: &RelPath,
    pattern: &Pattern,
) -> Result<Vec<(String, Found)>, CollectError> {
    let Some(start) = open::open(tree, working_directory.as_str(), ".")? else {
        return Ok(Vec::new());
    };
    if start.node != Node::Directory {
        return Ok(Vec::new());
    }
    let start = start.open_directory(".")?;
    let mut search = Search { pattern, parts: pattern.parts(), looked_at: 0, matches: Vec::new() };
    search.directory(start.as_fd(), "", &[0], 0)?;
    search.matches.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(search.matches)
}

struct Search<'a> {
    pattern: &'a Pattern,
    parts: &'a [Part],
    looked_at: u64,
    matches: Vec<(String, Found)>,
}

impl Search<'_> {
    /// Looks into a directory. `at` says which parts of the pattern may match a name in it: all ways through the pattern
    /// are followed at once, so that no directory is read twice.
    fn directory(
        &mut self,
        fd: BorrowedFd<'_>,
        path: &str,
        at: &[usize],
        depth: usize,
    ) -> Result<(), CollectError> {
        if depth > MAX_DEPTH {
            return Err(CollectError::TooMuch {
                path: path.to_owned(),
                what: "is nested deeper",
                bound: MAX_DEPTH as u64,
            });
        }
        let at = self.pattern.with_skipped(at);
        for name in self.candidates(fd, path, &at)? {
            self.looked_at += 1;
            if self.looked_at > MAX_LOOKED_AT {
                return Err(CollectError::TooMuch {
                    path: path.to_owned(),
                    what: "makes a pattern look at more names",
                    bound: MAX_LOOKED_AT,
                });
            }
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let mut next = Vec::new();
            let mut whole = false;
            let mut file_only = false;
            for &i in &at {
                let Some(part) = self.parts.get(i).filter(|part| part.matches(&name)) else {
                    continue;
                };
                let last = i + 1 == self.parts.len();
                match part {
                    Part::Deep => {
                        next.push(i);
                        file_only |= last;
                    }
                    Part::Name(_) | Part::Wild(_) if last => whole = true,
                    Part::Name(_) | Part::Wild(_) => next.push(i + 1),
                }
            }
            if next.is_empty() && !whole {
                continue;
            }
            let Some(found) = open::open(fd, &name, &below)? else { continue };
            let is_directory = found.node == Node::Directory;
            if whole || file_only && !is_directory {
                self.matches.push((below, found));
            } else if is_directory && !next.is_empty() {
                let inner = found.open_directory(&below)?;
                drop(found);
                self.directory(inner.as_fd(), &below, &next, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The names worth looking at: without reading the directory where the pattern has plain names only.
    fn candidates(
        &self,
        fd: BorrowedFd<'_>,
        path: &str,
        at: &[usize],
    ) -> Result<Vec<String>, CollectError> {
        let plain: Option<Vec<String>> = at
            .iter()
            .map(|&i| match self.parts.get(i) {
                Some(Part::Name(name)) => Some(name.clone()),
                Some(Part::Wild(_) | Part::Deep) | None => None,
            })
            .collect();
        match plain {
            Some(mut names) => {
                names.sort();
                names.dedup();
                Ok(names)
            }
            None => walk::names(fd, path),
        }
    }
}
