//! The first pass: what is there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hands_types::RelPath;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::files::Files;
use super::rules::{Rules, is_rule_file};
use super::tree::{Node, Tree};
use super::{Walk, WalkInput};
use crate::error::SnapshotError;
use crate::stat_cache::{Lookup, StatKey};

/// Deeper than this no file system's path limit lets a person go, but a loop of bind mounts does.
const MAX_DEPTH: usize = 1024;

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
            return Ok(Node::Directory(self.directory(directory, rules, 0)?));
        };
        if RelPath::new(entry).is_err() || entry.contains('/') || entry.is_empty() {
            return Err(SnapshotError::Protocol("the entry is not one name"));
        }
        let handle = self.files.handle(directory);
        let node = self.node(directory, &handle, entry.clone(), None, None, 0)?;
        node.ok_or(SnapshotError::Protocol("the entry was left out"))
    }

    fn directory(
        &mut self,
        number: usize,
        rules: Option<Rules>,
        depth: usize,
    ) -> Result<Tree, SnapshotError> {
        self.walk.progress.check()?;
        let at = |lister: &Self| lister.files.directory_path(number);
        if depth > MAX_DEPTH {
            return Err(self.unfit(&at(self), "is nested too deeply"));
        }
        let handle = self.files.handle(number);
        let mut listed: Vec<(String, FileType)> = Vec::new();
        let mut foreign_name = None;
        let listing = Dir::read_from(&*handle)
            .map_err(|e| self.failed(&at(self), "can't be listed", e.into()))?;
        for entry in listing {
            let entry = entry.map_err(|e| self.failed(&at(self), "can't be listed", e.into()))?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => listed.push((name.to_owned(), entry.file_type())),
                Err(_) => foreign_name = Some(entry.file_name().to_string_lossy().into_owned()),
            }
        }
        if let Some(name) = foreign_name {
            return Err(self.unfit(
                &join(&at(self), &name),
                "has a name that is not UTF-8, which an input root can't hold",
            ));
        }
        let rules = rules.map(|rules| {
            if listed.iter().any(|(name, _)| is_rule_file(name)) {
                rules.below(handle.as_fd(), listed.iter().map(|(name, _)| name.as_str()))
            } else {
                rules
            }
        });
        let mut tree = Tree::default();
        for (name, kind) in listed {
            let kind = (kind != FileType::Unknown).then_some(kind);
            if let Some(node) =
                self.node(number, &handle, name.clone(), kind, rules.as_ref(), depth)?
            {
                tree.nodes.insert(name, node);
            }
        }
        Ok(tree)
    }

    /// One entry; none where it is left out.
    fn node(
        &mut self,
        parent: usize,
        handle: &Arc<OwnedFd>,
        name: String,
        kind: Option<FileType>,
        rules: Option<&Rules>,
        depth: usize,
    ) -> Result<Option<Node>, SnapshotError> {
        let path = |lister: &Self| join(&lister.files.directory_path(parent), &name);
        let ignored = |kind| rules.is_some_and(|r| r.ignores(&name, kind == FileType::Directory));
        if kind.is_some_and(ignored) {
            return Ok(None);
        }
        // A directory and a link need no stat when the listing told what they are; a file needs one for the cache.
        let stat = match kind {
            Some(FileType::Directory | FileType::Symlink) => None,
            _ => Some(
                rustix::fs::statat(handle, &*name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| self.failed(&path(self), "can't be looked at", e.into()))?,
            ),
        };
        let now = stat.as_ref().map_or(kind, |s| Some(FileType::from_raw_mode(s.st_mode)));
        if kind.is_none() && now.is_some_and(ignored) {
            return Ok(None);
        }
        match (now, stat) {
            (Some(FileType::Directory), _) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(handle, &*name, flags, Mode::empty())
                    .map_err(|e| self.failed(&path(self), "can't be opened", e.into()))?;
                let rules = rules.map(|r| r.enter(&name));
                let number = self.files.add_directory(self.number, Some(parent), name, below);
                let tree = self.directory(number, rules, depth + 1)?;
                self.files.close_unless_needed(number);
                // Handles stay open for the files that are still to be read: bounded.
                if self.files.must_hash() {
                    self.files.hash_pending(self.walk)?;
                }
                Ok(Some(Node::Directory(tree)))
            }
            (Some(FileType::Symlink), _) => {
                let target = rustix::fs::readlinkat(handle, &*name, Vec::new())
                    .map_err(|e| self.failed(&path(self), "can't be read", e.into()))?;
                match target.into_string() {
                    Ok(target) => Ok(Some(Node::Symlink(target))),
                    Err(_) => Err(self.unfit(&path(self), "is a link to a path that is not UTF-8")),
                }
            }
            (Some(FileType::RegularFile), Some(stat)) => {
                let key = StatKey::of(&stat);
                let executable = stat.st_mode & 0o100 != 0;
                let digest = match self.walk.cache.lookup(&key, self.walk.function) {
                    Lookup::Known(digest) => Some(digest),
                    Lookup::Unknown => None,
                };
                self.walk.progress.files.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Node::File(self.files.add(parent, name, key, executable, digest))))
            }
            (Some(FileType::Socket), _) => Err(self.unfit(&path(self), "is a socket")),
            (Some(FileType::Fifo), _) => Err(self.unfit(&path(self), "is a named pipe")),
            (Some(FileType::BlockDevice | FileType::CharacterDevice), _) => {
                Err(self.unfit(&path(self), "is a device"))
            }
            (Some(FileType::RegularFile | FileType::Unknown) | None, _) => {
                Err(self.unfit(&path(self), "is of an unknown kind"))
            }
        }
    }

    fn failed(&self, path: &str, what: &'static str, source: std::io::Error) -> SnapshotError {
        SnapshotError::Path { path: join(&self.input.display, path), what, source }
    }

    fn unfit(&self, path: &str, why: &'static str) -> SnapshotError {
        SnapshotError::Unfit { path: join(&self.input.display, path), why }
    }
}

/// Joins for messages.
pub(super) fn join(above: &str, below: &str) -> String {
    match (above, below) {
        ("", below) => below.to_owned(),
        (above, "") => above.to_owned(),
        (above, below) => format!("{}/{below}", above.trim_end_matches('/')),
    }
}
