//! Ignore files: `.gitignore`, `.ignore` and `.handsignore`, with the meaning that the `ignore` crate and git give them.
//!
//! `.handsignore` goes before `.ignore`, and that before `.gitignore`; among files of one kind the nearest goes first.
//! Rules above the walk's root count up to the root of its git repository, and `.gitignore` never beyond one. Ignore
//! files are read through directory handles like everything else.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, Mode, OFlags};

const KINDS: [&str; 3] = [".handsignore", ".ignore", ".gitignore"];
/// Longest ignore file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Directories above the root that are looked at.
const MAX_ABOVE: usize = 256;

/// Whether an entry of this name means that a directory has rules of its own, or begins a repository.
pub(super) fn is_rule_file(name: &str) -> bool {
    name == ".git" || KINDS.contains(&name)
}

/// The rules that hold in one directory.
#[derive(Clone)]
pub(super) struct Rules {
    /// From the topmost directory down.
    levels: Arc<Vec<Level>>,
    /// The directory's path, from wherever the levels begin to count; empty or ending in a slash.
    path: String,
}

#[derive(Clone)]
struct Level {
    kinds: [Option<Arc<Gitignore>>; 3],
    exclude: Option<Arc<Gitignore>>,
    begins_repository: bool,
    /// Where this level's own relative paths begin in `Rules::path`.
    start: usize,
}

impl Rules {
    /// The rules that come from above a walk's root. None: the root itself is ignored by them and was named
    /// explicitly, so that all of it is wanted.
    pub(super) fn above(root: BorrowedFd<'_>) -> Option<Self> {
        let empty = || Self { levels: Arc::new(Vec::new()), path: String::new() };
        if is_there(root, ".git") {
            return Some(empty());
        }
        let Some(ancestors) = ancestors(root) else { return Some(empty()) };
        // `ancestors` is from the nearest up to the repository's root.
        let mut rules = empty();
        for (handle, name_below) in ancestors.iter().rev() {
            let names =
                KINDS.into_iter().chain([".git"]).filter(|name| is_there(handle.as_fd(), name));
            rules = rules.below(handle.as_fd(), names);
            if rules.ignores(name_below, true) {
                return None;
            }
            rules = rules.enter(name_below);
        }
        Some(rules)
    }

    /// These rules and those of the directory itself, whose entries are `names`.
    pub(super) fn below<'n>(
        self,
        directory: BorrowedFd<'_>,
        names: impl Iterator<Item = &'n str>,
    ) -> Self {
        let mut level = Level {
            kinds: [None, None, None],
            exclude: None,
            begins_repository: false,
            start: self.path.len(),
        };
        for name in names {
            if name == ".git" {
                level.begins_repository = true;
                level.exclude = read(directory, ".git/info/exclude");
            } else if let Some(kind) = KINDS.iter().position(|kind| *kind == name) {
                level.kinds[kind] = read(directory, name);
            }
        }
        let mut levels = Arc::unwrap_or_clone(self.levels);
        levels.push(level);
        Self { levels: Arc::new(levels), path: self.path }
    }

    /// The rules for a directory below this one; its own ignore files come with [`Rules::below`].
    pub(super) fn enter(&self, name: &str) -> Self {
        Self { levels: Arc::clone(&self.levels), path: format!("{}{name}/", self.path) }
    }

    /// Whether an entry of this directory is left out.
    pub(super) fn ignores(&self, name: &str, is_directory: bool) -> bool {
        if name == ".git" {
            return true;
        }
        if self.levels.is_empty() {
            return false;
        }
        let path = format!("{}{name}", self.path);
        for (kind, file) in KINDS.iter().enumerate() {
            for level in self.levels.iter().rev() {
                match matched(level.kinds[kind].as_deref(), &path[level.start..], is_directory) {
                    Match::None => {}
                    Match::Ignore(()) => return true,
                    Match::Whitelist(()) => return false,
                }
                if *file == ".gitignore" && level.begins_repository {
                    break;
                }
            }
        }
        let repository = self.levels.iter().rev().find(|level| level.begins_repository);
        repository.is_some_and(|level| {
            matched(level.exclude.as_deref(), &path[level.start..], is_directory).is_ignore()
        })
    }
}

fn matched(rules: Option<&Gitignore>, path: &str, is_directory: bool) -> Match<()> {
    rules.map_or(Match::None, |rules| rules.matched(path, is_directory).map(|_| ()))
}

/// The directories above, from the nearest up to the one where the git repository begins, each with the name by which
/// the one below stands in it. None outside of a repository.
fn ancestors(root: BorrowedFd<'_>) -> Option<Vec<(OwnedFd, String)>> {
    let path = path_of(root)?;
    let mut names: Vec<&str> = path.split('/').filter(|n| !n.is_empty()).collect();
    let mut found: Vec<(OwnedFd, String)> = Vec::new();
    while let Some(name) = names.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let from = found.last().map_or(root, |(handle, _)| handle.as_fd());
        let above = rustix::fs::openat(from, "..", flags, Mode::empty()).ok()?;
        let ends = is_there(above.as_fd(), ".git");
        found.push((above, name.to_owned()));
        if ends {
            return Some(found);
        }
        if found.len() > MAX_ABOVE {
            return None;
        }
    }
    None
}

/// The handle's path, to learn the names on the way down from a repository's root. Nothing is opened by it.
fn path_of(directory: BorrowedFd<'_>) -> Option<String> {
    #[cfg(target_os = "linux")]
    let path = {
        use std::os::fd::AsRawFd;
        rustix::fs::readlink(format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())
    };
    #[cfg(not(target_os = "linux"))]
    let path = rustix::fs::getpath(directory);
    path.ok()?.into_string().ok()
}

fn is_there(directory: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Reads an ignore file; one that can't be read has no rules, and a line that makes no sense is no rule, as with git.
fn read(directory: BorrowedFd<'_>, name: &str) -> Option<Arc<Gitignore>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    let mut text = Vec::new();
    std::fs::File::from(file).take(MAX_FILE).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut builder = GitignoreBuilder::new("");
    for line in text.trim_start_matches('\u{feff}').lines() {
        if let Err(error) = builder.add_line(None, line) {
            tracing::debug!(name, line, %error, "a line of an ignore file makes no sense");
        }
    }
    let rules = builder.build().ok()?;
    (!rules.is_empty()).then(|| Arc::new(rules))
}
