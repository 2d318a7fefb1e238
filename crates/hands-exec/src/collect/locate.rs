//! Where outputs stand: through links that the inputs have, and never out of the input root.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::fd::BorrowedFd;

use hands_tree::{Astray, Pattern, Real, There, follow};
use hands_types::RelPath;

use super::names::joined;
use super::open::{self, Found, Node};
use super::{CollectError, DeclaredKind, OutputSpec};

/// Where a command's outputs stand, by paths without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The working directory.
    pub working_directory: RelPath,
    /// The directories that must be made before the command runs.
    pub missing: BTreeSet<RelPath>,
}

impl OutputSpec {
    /// The directories in which outputs stand, as they are declared, relative to the working directory: they must exist
    /// before the command runs, and the outputs themselves not (REAPI v2, `Command.output_paths`).
    pub fn parents(&self) -> Result<BTreeSet<String>, CollectError> {
        let mut parents = BTreeSet::new();
        let depth = self.depth();
        for declared in &self.declared {
            check(depth, &declared.path)?;
            let parent = if declared.kind == DeclaredKind::Glob {
                fixed_parents(&Pattern::new(&declared.path)?)
            } else {
                split(&declared.path).0
            };
            if !parent.is_empty() {
                parents.insert(parent);
            }
        }
        Ok(parents)
    }

    /// Finds where the outputs of these [`OutputSpec::parents`] stand in the inputs, in which `look` says what there is
    /// at a path (see [`follow`]). A link that stays inside is followed; whatever else is in the way of an output is an
    /// error that names it.
    pub fn places<E>(
        &self,
        parents: &BTreeSet<String>,
        look: &mut dyn FnMut(&str) -> Result<There, E>,
    ) -> Result<Result<Places, CollectError>, E> {
        let root = RelPath::default();
        let top = self.root_at.as_deref();
        let wd = &self.working_directory;
        let real = match follow(&root, wd.as_str(), top, look)? {
            Ok(real) => real,
            Err(why) => {
                let path = wd.clone();
                return Ok(Err(CollectError::WorkingDirectory { path, why }));
            }
        };
        let mut places = Places { working_directory: real.path, missing: BTreeSet::new() };
        let mut made: BTreeSet<String> = BTreeSet::new();
        let mut waiting: Vec<&String> = parents.iter().collect();
        // A link may lead to what is made for another output.
        while !waiting.is_empty() {
            let mut astray = Vec::new();
            for parent in &waiting {
                let mut look = |path: &str| {
                    if made.contains(path) { Ok(There::Directory) } else { look(path) }
                };
                match follow(&places.working_directory, parent, top, &mut look)? {
                    Ok(Real { is_there: true, .. }) => {}
                    Ok(Real { path, is_there: false }) => {
                        let above = std::iter::successors(Some(path.clone()), RelPath::parent);
                        made.extend(above.map(|path| path.as_str().to_owned()));
                        places.missing.insert(path);
                    }
                    Err(why) => astray.push((*parent, why)),
                }
            }
            let stuck = astray.len() == waiting.len();
            let lost = |why: &Astray| stuck || !matches!(why, Astray::Dangling { .. });
            if let Some((parent, why)) = astray.iter().find(|(_, why)| lost(why)) {
                let (path, why) = (self.first_below(parent), why.clone());
                return Ok(Err(CollectError::NoPlace { path, why }));
            }
            waiting = astray.into_iter().map(|(parent, _)| parent).collect();
        }
        Ok(Ok(places))
    }

    /// The first output that has this parent.
    fn first_below(&self, parent: &str) -> String {
        let path = self.declared.iter().map(|declared| &declared.path).find(|path| {
            let fixed = Pattern::new(path).map(|pattern| fixed_parents(&pattern));
            split(path).0 == parent || fixed.is_ok_and(|fixed| fixed == parent)
        });
        path.map_or_else(|| parent.to_owned(), Clone::clone)
    }

    /// How many names the working directory has.
    fn depth(&self) -> usize {
        self.working_directory.names().count()
    }
}

/// Whether a declared path is one that stays in the input root, as far as it says itself. `depth` is the working
/// directory's.
fn check(depth: usize, path: &str) -> Result<(), CollectError> {
    let bad = |why: &str| CollectError::BadPath { path: path.to_owned(), why: why.to_owned() };
    if path.starts_with('/') {
        return Err(bad("it is absolute"));
    }
    RelPath::check_below(depth, path).map_err(|e| bad(e.why))
}

/// A path as its directory and its last name. Without a name of its own it is all directory.
fn split(path: &str) -> (String, Option<&str>) {
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    match names.split_last() {
        Some((last, above)) if *last != ".." => (above.join("/"), Some(last)),
        Some(_) | None => (names.join("/"), None),
    }
}

pub(super) fn fixed_parents(pattern: &Pattern) -> String {
    pattern.fixed_parents().collect::<Vec<_>>().join("/")
}

/// The tree that an action left, and where its outputs are declared.
pub(super) struct Located<'a> {
    tree: BorrowedFd<'a>,
    spec: &'a OutputSpec,
}

impl<'a> Located<'a> {
    pub(super) fn new(tree: BorrowedFd<'a>, spec: &'a OutputSpec) -> Self {
        Self { tree, spec }
    }

    /// What stands at a declared path; a link at its end is itself. None if nothing is there.
    pub(super) fn output(&self, path: &str) -> Result<Option<Found>, CollectError> {
        check(self.spec.depth(), path)?;
        let wd = self.spec.working_directory.as_str();
        let names: Vec<&str> = path.split('/').filter(|n| !matches!(*n, "" | ".")).collect();
        // Without `..` there is one meaning only while there is no link, and then the kernel says so.
        if !names.contains(&"..") {
            let direct = [&[wd][..], &names].concat().join("/");
            match open::open(self.tree, direct.trim_matches('/'), path) {
                Err(CollectError::NotAnOutput { why: open::BEHIND_LINK, .. }) => {}
                opened => return opened,
            }
        }
        let (parent, name) = split(path);
        let Some(parent) = self.directory(&parent, path)? else { return Ok(None) };
        open::open(self.tree, &joined(parent.as_str(), name.unwrap_or_default()), path)
    }

    /// The path without links of a directory that is named relative to the working directory; none if nothing is there.
    pub(super) fn directory(
        &self,
        path: &str,
        output: &str,
    ) -> Result<Option<RelPath>, CollectError> {
        let mut failed = None;
        let mut look = |path: &str| Ok::<_, Infallible>(self.look(path, &mut failed));
        let top = self.spec.root_at.as_deref();
        let (root, wd) = (RelPath::default(), self.spec.working_directory.as_str());
        let followed = match follow(&root, wd, top, &mut look) {
            Ok(Ok(Real { path: from, is_there: true })) => follow(&from, path, top, &mut look),
            other => other,
        };
        let Ok(followed) = followed;
        if let Some(error) = failed {
            return Err(error);
        }
        match followed {
            Ok(Real { path, is_there: true }) => Ok(Some(path)),
            // A way that ends before its end: nothing is there.
            Ok(_) | Err(Astray::Dangling { .. } | Astray::NoDirectory { .. }) => Ok(None),
            Err(why) => Err(CollectError::NoPlace { path: output.to_owned(), why }),
        }
    }

    /// Where a link in a directory of the tree leads, both without links on their way; none if that is no directory, or
    /// not in the tree.
    pub(super) fn behind_link(
        &self,
        directory: &RelPath,
        name: &str,
    ) -> Result<Option<RelPath>, CollectError> {
        let mut failed = None;
        let mut look = |path: &str| Ok::<_, Infallible>(self.look(path, &mut failed));
        let Ok(followed) = follow(directory, name, self.spec.root_at.as_deref(), &mut look);
        match (failed, followed) {
            (Some(error), _) => Err(error),
            (None, Ok(Real { path, is_there: true })) => Ok(Some(path)),
            (None, Ok(_) | Err(_)) => Ok(None),
        }
    }

    pub(super) fn tree(&self) -> BorrowedFd<'a> {
        self.tree
    }

    fn look(&self, path: &str, failed: &mut Option<CollectError>) -> There {
        let looked = open::open(self.tree, path, path).and_then(|found| {
            Ok(match found {
                None => There::Nothing,
                Some(found) => match found.node {
                    Node::Directory => There::Directory,
                    Node::Symlink => There::Symlink { target: found.target(path)? },
                    Node::File { .. } | Node::Other(_) => There::Other,
                },
            })
        });
        looked.unwrap_or_else(|error| {
            failed.get_or_insert(error);
            There::Nothing
        })
    }
}
