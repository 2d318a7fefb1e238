//! Outputs by pattern.

use std::os::fd::{AsFd, OwnedFd};

use hands_tree::Pattern;
use hands_tree::pattern::Part;
use hands_types::RelPath;

use super::left_out::LeftOut;
use super::locate::{Located, fixed_parents};
use super::names::{LONGEST_PATH, joined, names, not_utf8};
use super::open::{self, Node};
use super::{CollectError, OutputStore};

/// Most names that one pattern may look at.
const MAX_LOOKED_AT: u64 = 1_000_000;
/// Most bytes of paths that one pattern may hold: far more than a result can name.
const MAX_HELD: u64 = 128 << 20;

/// Something that matches a pattern.
#[derive(Debug)]
pub(crate) struct Match {
    /// Its path relative to the working directory, as the pattern has it.
    pub(crate) path: String,
    /// The same thing, in the tree and by a path without links.
    pub(crate) real: String,
}

/// All that matches a pattern below the working directory, sorted. What can't be an output (a fifo, a device) matches all
/// the same. As in a shell, a link to a directory of the input root is followed for every name but the last, whether the
/// pattern names it or a wildcard stands for it, and `**` follows none.
pub(crate) fn expand(
    located: &Located<'_>,
    pattern: &Pattern,
    declared: &str,
    store: &dyn OutputStore,
    left_out: &mut LeftOut,
) -> Result<Vec<Match>, CollectError> {
    let shown = fixed_parents(pattern);
    let real = match located.directory(&shown, declared) {
        Ok(Some(real)) => real,
        Ok(None) => return Ok(Vec::new()),
        Err(error) => {
            left_out.note(error)?;
            return Ok(Vec::new());
        }
    };
    let mut search = Search {
        located,
        pattern,
        left_out,
        looked_at: 0,
        held: 0,
        matches: Vec::new(),
        todo: vec![Todo { shown, real, at: vec![pattern.fixed_parents().count()] }],
    };
    // No recursion, and no handle that stays open: an action can nest directories as deep as it likes.
    while let Some(next) = search.todo.pop() {
        if store.is_cancelled() {
            return Err(CollectError::Cancelled);
        }
        search.held = search.held.saturating_sub(next.bytes());
        if let Err(error) = search.directory(&next) {
            let is_all = matches!(error, CollectError::TooMuch { .. });
            search.left_out.note(error)?;
            if is_all {
                break;
            }
        }
    }
    let mut matches = search.matches;
    matches.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(matches)
}

/// A directory to look into.
struct Todo {
    /// Its path as the pattern has it.
    shown: String,
    /// Its path in the tree, without links.
    real: RelPath,
    /// The parts of the pattern that may match a name in it.
    at: Vec<usize>,
}

impl Todo {
    fn bytes(&self) -> u64 {
        (self.shown.len() + self.real.as_str().len()) as u64
    }
}

/// What a name is to a pattern.
#[derive(Default)]
struct Fit {
    /// It matches the whole pattern.
    whole: bool,
    /// It does so by a `**` at the end, which stands for files and links only.
    file_only: bool,
    /// The parts that may match below it, where it is a directory.
    next: Vec<usize>,
    /// Those of them that may match below it where it is a link to one: all but those after a `**`.
    behind: Vec<usize>,
}

struct Search<'a> {
    located: &'a Located<'a>,
    pattern: &'a Pattern,
    left_out: &'a mut LeftOut,
    looked_at: u64,
    /// Bytes of paths that are held.
    held: u64,
    matches: Vec<Match>,
    todo: Vec<Todo>,
}

impl Search<'_> {
    /// Looks into a directory. All ways through the pattern are followed at once, so that none is read twice by one path.
    fn directory(&mut self, here: &Todo) -> Result<(), CollectError> {
        let real = here.real.as_str();
        let directory = match open::open(self.located.tree(), real, &here.shown)? {
            Some(found) => found.open_directory(&here.shown)?,
            None => return Ok(()),
        };
        let at = self.pattern.with_skipped(&here.at);
        for name in self.candidates(&directory, &here.shown, &at)? {
            self.looked_at += 1;
            if self.looked_at > MAX_LOOKED_AT {
                let what = "makes a pattern look at more names";
                return Err(too_much(&here.shown, what, MAX_LOOKED_AT));
            }
            let fit = self.fit(&name, &at);
            if fit.next.is_empty() && !fit.whole {
                continue;
            }
            if let Err(error) = self.take(&directory, here, &name, fit) {
                if matches!(error, CollectError::TooMuch { bound: MAX_HELD, .. }) {
                    return Err(error);
                }
                self.left_out.note(error)?;
            }
        }
        Ok(())
    }

    fn fit(&self, name: &str, at: &[usize]) -> Fit {
        let parts = self.pattern.parts();
        let mut fit = Fit::default();
        for &i in at {
            let Some(part) = parts.get(i).filter(|part| part.matches(name)) else { continue };
            let is_last = i + 1 == parts.len();
            match part {
                Part::Deep => {
                    fit.next.push(i);
                    fit.file_only |= is_last;
                }
                Part::Name(_) | Part::Wild(_) if is_last => fit.whole = true,
                Part::Name(_) | Part::Wild(_) => {
                    fit.next.push(i + 1);
                    fit.behind.push(i + 1);
                }
            }
        }
        fit
    }

    /// Takes a name that fits: as a match, or as a directory to look into.
    fn take(
        &mut self,
        directory: &OwnedFd,
        here: &Todo,
        name: &str,
        fit: Fit,
    ) -> Result<(), CollectError> {
        let (shown, real) = (joined(&here.shown, name), joined(here.real.as_str(), name));
        let Some(found) = open::open(directory.as_fd(), name, &shown)? else { return Ok(()) };
        let is_directory = found.node == Node::Directory;
        let is_match = fit.whole || fit.file_only && !is_directory;
        let leads_on = is_directory || found.node == Node::Symlink && !fit.behind.is_empty();
        if !is_match && !leads_on {
            return Ok(());
        }
        if shown.len().max(real.len()) > LONGEST_PATH {
            return Err(too_much(&shown, "has a path of more bytes", LONGEST_PATH as u64));
        }
        if is_match {
            self.hold((shown.len() + real.len()) as u64, &here.shown)?;
            self.matches.push(Match { path: shown, real });
            return Ok(());
        }
        let next = if is_directory {
            RelPath::new(&real).ok().map(|real| Todo { shown, real, at: fit.next })
        } else {
            let behind = self.located.behind_link(&here.real, name)?;
            behind.map(|real| Todo { shown, real, at: fit.behind })
        };
        if let Some(next) = next {
            self.hold(next.bytes(), &here.shown)?;
            self.todo.push(next);
        }
        Ok(())
    }

    fn hold(&mut self, bytes: u64, shown: &str) -> Result<(), CollectError> {
        self.held += bytes;
        if self.held > MAX_HELD {
            return Err(too_much(shown, "makes a pattern hold more bytes of paths", MAX_HELD));
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
        let parts = self.pattern.parts();
        let plain: Option<Vec<String>> = at
            .iter()
            .map(|&i| match parts.get(i) {
                Some(Part::Name(name)) => Some(name.clone()),
                Some(Part::Wild(_) | Part::Deep) | None => None,
            })
            .collect();
        if let Some(mut names) = plain {
            names.sort();
            names.dedup();
            return Ok(names);
        }
        let most = MAX_LOOKED_AT + 1 - self.looked_at;
        names(fd.as_fd(), shown, most, &mut |name| {
            // What no part would match, as far as it can be read, is none of the pattern's.
            if at.iter().any(|&i| parts.get(i).is_some_and(|part| part.matches(name))) {
                self.left_out.note(not_utf8(shown, name))?;
            }
            Ok(())
        })
    }
}

fn too_much(path: &str, what: &'static str, bound: u64) -> CollectError {
    CollectError::TooMuch { path: path.to_owned(), what, bound }
}
