//! The first pass: what is there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hands_client::is_temporary_name;
use hands_types::RelPath;
use hands_types::limits::MAX_TREE_DEPTH;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::files::Files;
use super::rules::{Rules, is_rule_file};
use super::tree::{Link, Node, Tree};
use super::{Walk, WalkInput};
use crate::error::SnapshotError;
use crate::stat_cache::{Lookup, StatKey};

pub(super) fn list<'a>(walk: &Walk<'a>, files: &mut Files<'a>) -> Result<Tree, SnapshotError> {
    let mut root = Tree::default();
    for (number, input) in walk.inputs.iter().enumerate() {
        let mut lister = Lister { walk, files, input, number };
        let node = lister.input()?;
        root.insert(&input.place, node, &input.display, files)?;
    }
    root.insert(
        walk.working_directory,
        Node::Directory(Tree::default()),
        "the current directory",
        files,
    )?;
    Ok(root)
}

/// What came of looking at an entry.
enum Looked {
    Node(Node),
    /// An ignore file names it; whether it is a directory.
    Ignored(bool),
    /// It is of a kind that an input root can't hold.
    Unfit(&'static str),
    /// It was listed, and is not there any more, or is something else.
    Vanished,
}

struct Lister<'w, 'a> {
    walk: &'w Walk<'a>,
    files: &'w mut Files<'a>,
    input: &'a WalkInput,
    number: usize,
}

impl Lister<'_, '_> {
    fn input(&mut self) -> Result<Node, SnapshotError> {
        let top =
            self.input.directory.try_clone().map_err(|e| self.failed("", "can't be opened", e))?;
        let directory = self.files.add_directory(self.number, None, String::new(), top);
        let Some(entry) = &self.input.entry else {
            let rules = self
                .input
                .respect_ignore
                .then(|| Rules::above(self.input.directory.as_fd()))
                .flatten();
            let tree = self.directory(directory, rules, 0)?;
            return match tree {
                Some(tree) => Ok(Node::Directory(tree)),
                None => Err(self.failed("", "can't be listed", Errno::NOENT.into())),
            };
        };
        if RelPath::new(entry).is_err() || entry.contains('/') || entry.is_empty() {
            return Err(SnapshotError::Protocol("the entry is not one name"));
        }
        if is_temporary_name(entry) {
            return Err(self.unfit(entry, "is a file that another `hands` is writing"));
        }
        let handle = self.files.handle(directory);
        for _ in 0..2 {
            match self.node(directory, &handle, entry, None, None, 0)? {
                Looked::Node(node) => return Ok(node),
                Looked::Ignored(_) => {
                    return Err(SnapshotError::Protocol("the entry was left out"));
                }
                Looked::Unfit(what) => {
                    return Err(self.unfit(entry, &format!("is a {what}")));
                }
                Looked::Vanished => {}
            }
        }
        Err(self.failed(entry, "can't be looked at", Errno::NOENT.into()))
    }

    /// One directory; none where it has vanished.
    fn directory(
        &mut self,
        number: usize,
        rules: Option<Rules>,
        depth: usize,
    ) -> Result<Option<Tree>, SnapshotError> {
        self.walk.progress.check()?;
        let at = |lister: &Self| lister.files.directory_path(number);
        if depth > MAX_TREE_DEPTH {
            let why = "is nested too deeply: 200 directories are the most";
            return Err(self.unfit(&at(self), why));
        }
        let handle = self.files.handle(number);
        let mut listed: Vec<(String, FileType)> = Vec::new();
        let mut foreign_name = None;
        // Before it is listed: what changes from now on changes the time that the next walk sees.
        let mtime = match self.walk.times {
            true => {
                let stat = rustix::fs::fstat(&*handle)
                    .map_err(|e| self.failed(&at(self), "can't be looked at", e.into()))?;
                Some(StatKey::of(&stat).mtime())
            }
            false => None,
        };
        let listing = match Dir::read_from(&*handle) {
            Err(errno) if is_gone(errno) => return Ok(None),
            listing => listing.map_err(|e| self.failed(&at(self), "can't be listed", e.into()))?,
        };
        for entry in listing {
            let entry = entry.map_err(|e| self.failed(&at(self), "can't be listed", e.into()))?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) if is_temporary_name(name) => {}
                Ok(name) => listed.push((name.to_owned(), entry.file_type())),
                Err(_) => foreign_name = Some(entry.file_name().to_string_lossy().into_owned()),
            }
        }
        // One that was removed since it was opened has no names any more, and is no empty one. (There are file systems whose
        // directories always have one link; there it is sent empty.)
        if rustix::fs::fstat(&*handle).is_ok_and(|stat| stat.st_nlink == 0) {
            return Ok(None);
        }
        if let Some(name) = foreign_name {
            return Err(self.unfit(
                &join(&at(self), &name),
                "has a name that is not UTF-8, which an input root can't hold",
            ));
        }
        let mut rules = rules.map(|rules| {
            if listed.iter().any(|(name, _)| is_rule_file(name)) {
                rules.below(handle.as_fd(), listed.iter().map(|(name, _)| name.as_str()))
            } else {
                rules
            }
        });
        // Some programs have their directories ignore themselves. One that a person has named is wanted all the same.
        let stays = |rules: &Rules, (name, kind): &(String, FileType)| {
            is_rule_file(name) || rules.ignores(name, *kind == FileType::Directory)
        };
        // One with a file of rules does so by a rule for all, that file included.
        let ignores_itself = |rules: &Rules| {
            let mut own = listed.iter().map(|(name, _)| name).filter(|name| is_rule_file(name));
            own.clone().next().is_none() || own.any(|name| rules.ignores(name, false))
        };
        let is_ignored =
            |rules: &Rules| ignores_itself(rules) && listed.iter().all(|e| stays(rules, e));
        if depth == 0 && rules.as_ref().is_some_and(is_ignored) {
            rules = None;
        }
        let mut tree = Tree { mtime, ..Tree::default() };
        let mut vanished = Vec::new();
        let ignored_before = self.files.left_out.ignored.count;
        for (name, kind) in listed {
            let kind = (kind != FileType::Unknown).then_some(kind);
            match self.node(number, &handle, &name, kind, rules.as_ref(), depth)? {
                Looked::Node(node) => {
                    tree.nodes.insert(name, node);
                }
                Looked::Ignored(directory) => self.has_ignored(number, &name, directory),
                Looked::Unfit(what) => self.has_unfit(number, &name, what),
                Looked::Vanished => vanished.push(name),
            }
        }
        // Some programs replace a file by deleting it and making it anew: look once more, when all else has been seen.
        for name in vanished {
            match self.node(number, &handle, &name, None, rules.as_ref(), depth)? {
                Looked::Node(node) => {
                    tree.nodes.insert(name, node);
                }
                Looked::Ignored(directory) => self.has_ignored(number, &name, directory),
                Looked::Unfit(what) => self.has_unfit(number, &name, what),
                Looked::Vanished => {
                    let path = join(&self.input.display, &join(&at(self), &name));
                    self.files.left_out.vanished.add(|| path);
                }
            }
        }
        let has_ignored = self.files.left_out.ignored.count > ignored_before;
        if depth > 0 && has_ignored && tree.nodes.keys().all(|name| is_rule_file(name)) {
            let place = join(self.input.place.as_str(), &at(self));
            self.files.left_out.add_ignored_directory(place);
        }
        Ok(Some(tree))
    }

    /// Notes what an ignore file names. That `.git` stays here is no news.
    fn has_ignored(&mut self, parent: usize, name: &str, is_directory: bool) {
        if name == ".git" {
            return;
        }
        let path = join(&self.files.directory_path(parent), name);
        if is_directory {
            let place = join(self.input.place.as_str(), &path);
            self.files.left_out.add_ignored_directory(place);
        }
        let display = &self.input.display;
        self.files.left_out.ignored.add(|| join(display, &path));
    }

    /// Notes what no input root can hold.
    fn has_unfit(&mut self, parent: usize, name: &str, what: &str) {
        let path = join(&self.files.directory_path(parent), name);
        let display = &self.input.display;
        self.files.left_out.unfit.add(|| format!("{} ({what})", join(display, &path)));
    }

    /// One entry.
    fn node(
        &mut self,
        parent: usize,
        handle: &Arc<OwnedFd>,
        name: &str,
        kind: Option<FileType>,
        rules: Option<&Rules>,
        depth: usize,
    ) -> Result<Looked, SnapshotError> {
        let path = |lister: &Self| join(&lister.files.directory_path(parent), name);
        let ignored = |kind| rules.is_some_and(|r| r.ignores(name, kind == FileType::Directory));
        if kind.is_some_and(ignored) {
            return Ok(Looked::Ignored(kind == Some(FileType::Directory)));
        }
        // A directory is opened in any case, and a link read; a file needs a stat for the cache.
        let stat = match kind {
            Some(FileType::Directory) => None,
            Some(FileType::Symlink) if !self.walk.times => None,
            _ => match rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(errno) if is_gone(errno) => return Ok(Looked::Vanished),
                stat => Some(
                    stat.map_err(|e| self.failed(&path(self), "can't be looked at", e.into()))?,
                ),
            },
        };
        let now = stat.as_ref().map_or(kind, |s| Some(FileType::from_raw_mode(s.st_mode)));
        if kind != now && now.is_some_and(ignored) {
            return Ok(Looked::Ignored(now == Some(FileType::Directory)));
        }
        let key = stat.as_ref().map(StatKey::of);
        match (now, stat, key) {
            (Some(FileType::Directory), _, _) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = match rustix::fs::openat(handle, name, flags, Mode::empty()) {
                    Err(errno) if is_gone(errno) => return Ok(Looked::Vanished),
                    below => {
                        below.map_err(|e| self.failed(&path(self), "can't be opened", e.into()))?
                    }
                };
                let rules = rules.map(|r| r.enter(name));
                let number =
                    self.files.add_directory(self.number, Some(parent), name.to_owned(), below);
                let tree = self.directory(number, rules, depth + 1)?;
                self.files.close_unless_needed(number);
                // Handles stay open for the files that are still to be read: bounded.
                if self.files.must_hash() {
                    self.files.hash_pending(self.walk)?;
                }
                Ok(tree.map_or(Looked::Vanished, |tree| Looked::Node(Node::Directory(tree))))
            }
            (Some(FileType::Symlink), _, key) => {
                let target = match rustix::fs::readlinkat(handle, name, Vec::new()) {
                    Err(errno) if is_gone(errno) => return Ok(Looked::Vanished),
                    target => {
                        target.map_err(|e| self.failed(&path(self), "can't be read", e.into()))?
                    }
                };
                let mtime = key.filter(|_| self.walk.times).map(|key| key.mtime());
                match target.into_string() {
                    Ok(target) => Ok(Looked::Node(Node::Symlink(Link { target, mtime }))),
                    Err(_) => Err(self.unfit(&path(self), "is a link to a path that is not UTF-8")),
                }
            }
            (Some(FileType::RegularFile), Some(stat), Some(key)) => {
                let executable = stat.st_mode & 0o100 != 0;
                let digest = match self.walk.cache.lookup(&key, self.walk.function) {
                    Lookup::Known(digest) => Some(digest),
                    Lookup::Unknown => None,
                };
                self.walk.progress.files.fetch_add(1, Ordering::Relaxed);
                let number = self.files.add(parent, name.to_owned(), key, executable, digest);
                Ok(Looked::Node(Node::File(number)))
            }
            (Some(FileType::Socket), _, _) => Ok(Looked::Unfit("socket")),
            (Some(FileType::Fifo), _, _) => Ok(Looked::Unfit("named pipe")),
            (Some(FileType::BlockDevice | FileType::CharacterDevice), _, _) => {
                Ok(Looked::Unfit("device"))
            }
            (Some(FileType::RegularFile | FileType::Unknown) | None, _, _) => {
                Err(self.unfit(&path(self), "is of an unknown kind"))
            }
        }
    }

    fn failed(&self, path: &str, what: &'static str, source: std::io::Error) -> SnapshotError {
        SnapshotError::Path { path: join(&self.input.display, path), what, source }
    }

    fn unfit(&self, path: &str, why: &str) -> SnapshotError {
        SnapshotError::Unfit { path: join(&self.input.display, path), why: why.to_owned() }
    }
}

/// Whether the kernel says that there is no such thing, or that it is of another kind than it was a moment before.
pub(super) const fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::STALE)
}

/// Joins for messages.
pub(super) fn join(above: &str, below: &str) -> String {
    match (above, below) {
        ("", below) => below.to_owned(),
        (above, "") => above.to_owned(),
        (above, below) => format!("{}/{below}", above.trim_end_matches('/')),
    }
}
