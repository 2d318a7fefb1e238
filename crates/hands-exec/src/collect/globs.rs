//! Outputs by pattern.

use std::os::fd::{AsFd, OwnedFd};

use hands_tree::Pattern;
use hands_tree::pattern::Part;

use super::CollectError;
use super::left_out::LeftOut;
use super::locate::{Located, fixed_parents, joined};
use super::open::{self, Found, Node};
use super::walk::{self, LONGEST_PATH};

/// Most names that one pattern may look at.
const MAX_LOOKED_AT: u64 = 1_000_000;

/// What matches a pattern.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// Paths relative to the working directory, sorted.
    pub(crate) paths: Vec<String>,
    /// The directory in which the pattern's names without wildcards end; none if it is not there.
    start: Option<OwnedFd>,
    /// Its path, as the pattern has it.
    prefix: String,
}

impl Matches {
    /// Opens one of the matches.
    pub(crate) fn open(&self, path: &str) -> Result<Option<Found>, CollectError> {
        let Some(start) = &self.start else { return Ok(None) };
        let below = path.strip_prefix(&self.prefix).unwrap_or(path).trim_start_matches('/');
        open::open(start.as_fd(), below, path)
    }
}

/// All that matches a pattern below the working directory. What can't be an output (a fifo, a device) matches all the
/// same. A link is followed where the pattern names it, and not where a wildcard stands for it.
pub(crate) fn expand(
    located: &Located<'_>,
    pattern: &Pattern,
    declared: &str,
    left_out: &mut LeftOut,
) -> Result<Matches, CollectError> {
    let prefix = fixed_parents(pattern);
    let start = located.directory(&prefix, declared).and_then(|start| match start {
        Some(start) => open::open(located.tree(), &joined(&start, ""), declared),
        None => Ok(None),
    });
    let start = match start {
        Ok(Some(start)) if start.node == Node::Directory => start.open_directory(declared),
        Ok(_) => return Ok(Matches::default()),
        Err(error) => Err(error),
    };
    let start = match start {
        Ok(start) => start,
        Err(error) => {
            left_out.note(error)?;
            return Ok(Matches::default());
        }
    };
    let fixed = pattern.fixed_parents().count();
    let parts = pattern.parts();
    let mut search = Search { pattern, parts, left_out, looked_at: 0, matches: Vec::new() };
    let mut todo = vec![Todo { path: String::new(), at: vec![fixed] }];
    // No recursion, and no handle that stays open: an action can nest directories as deep as it likes.
    while let Some(Todo { path, at }) = todo.pop() {
        let shown = join(&prefix, &path);
        let directory = match open::open(start.as_fd(), &path, &shown) {
            Ok(Some(found)) => found.open_directory(&shown),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        let searched = match directory {
            Ok(directory) => search.directory(&directory, &shown, &path, &at, &mut todo),
            Err(error) => Err(error),
        };
        if let Err(error) = searched {
            let ended = matches!(error, CollectError::TooMuch { bound: MAX_LOOKED_AT, .. });
            search.left_out.note(error)?;
            if ended {
                break;
            }
        }
    }
    let mut paths: Vec<String> = search.matches.iter().map(|path| join(&prefix, path)).collect();
    paths.sort_unstable();
    Ok(Matches { paths, start: Some(start), prefix })
}

/// A directory to look into.
struct Todo {
    path: String,
    /// The parts of the pattern that may match a name in it.
    at: Vec<usize>,
}

struct Search<'a> {
    pattern: &'a Pattern,
    parts: &'a [Part],
    left_out: &'a mut LeftOut,
    looked_at: u64,
    matches: Vec<String>,
}

impl Search<'_> {
    /// Looks into a directory. All ways through the pattern are followed at once, so that no directory is read twice.
    fn directory(
        &mut self,
        fd: &OwnedFd,
        shown: &str,
        path: &str,
        at: &[usize],
        todo: &mut Vec<Todo>,
    ) -> Result<(), CollectError> {
        let at = self.pattern.with_skipped(at);
        for name in self.candidates(fd, shown, &at)? {
            self.looked_at += 1;
            if self.looked_at > MAX_LOOKED_AT {
                return Err(CollectError::TooMuch {
                    path: shown.to_owned(),
                    what: "makes a pattern look at more names",
                    bound: MAX_LOOKED_AT,
                });
            }
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
            let (below, shown) = (join(path, &name), join(shown, &name));
            let found = match open::open(fd.as_fd(), &name, &shown) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    self.left_out.note(error)?;
                    continue;
                }
            };
            let is_directory = found.node == Node::Directory;
            if !(whole || is_directory || file_only) {
                continue;
            }
            if shown.len() > LONGEST_PATH {
                let (what, bound) = ("has a path of more bytes", LONGEST_PATH as u64);
                self.left_out.note(CollectError::TooMuch { path: shown, what, bound })?;
            } else if whole || file_only && !is_directory {
                self.matches.push(below);
            } else if is_directory && !next.is_empty() {
                todo.push(Todo { path: below, at: next });
            }
        }
        Ok(())
    }

    /// The names worth looking at: without reading the directory where the pattern has plain names only.
    fn candidates(
        &mut self,
        fd: &OwnedFd,
        shown: &str,
        at: &[usize],
    ) -> Result<Vec<String>, CollectError> {
        let plain: Option<Vec<String>> = at
            .iter()
            .map(|&i| match self.parts.get(i) {
                Some(Part::Name(name)) => Some(name.clone()),
                Some(Part::Wild(_) | Part::Deep) | None => None,
            })
            .collect();
        if let Some(mut names) = plain {
            names.sort();
            names.dedup();
            return Ok(names);
        }
        let found = walk::names(fd.as_fd(), shown)?;
        for error in found.odd {
            // What no part would match, as far as it can be read, is none of the pattern's.
            let CollectError::NotAnOutput { path, .. } = &error else { return Err(error) };
            let name = path.rsplit('/').next().unwrap_or_default();
            if at.iter().any(|&i| self.parts.get(i).is_some_and(|part| part.matches(name))) {
                self.left_out.note(error)?;
            }
        }
        Ok(found.names)
    }
}

fn join(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("", name) => name.to_owned(),
        (directory, "") => directory.to_owned(),
        (directory, name) => format!("{directory}/{name}"),
    }
}
