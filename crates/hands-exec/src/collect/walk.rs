//! A whole directory as an output.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::vec;

use hands_tree::{BuiltDirectory, Directory, DirectoryNode, FileNode, SymlinkNode};
use hands_types::Digest;
use hands_types::limits::{MAX_OUTPUT_ENTRIES, MAX_PROTO_BLOB};

use super::left_out::LeftOut;
use super::names::{LONGEST_PATH, joined, names, not_utf8, pop, push};
use super::open::{self, Node, read_error};
use super::{CollectError, OutputStore, store_file};

/// Levels above the present one whose handles are kept.
const KEPT_OPEN: usize = 32;

/// Stores the files of a directory and returns its directories, parents first. What can't be brought is left out.
pub(crate) fn walk(
    directory: OwnedFd,
    path: &str,
    store: &mut dyn OutputStore,
    left_out: &mut LeftOut,
) -> Result<Vec<BuiltDirectory>, CollectError> {
    let mut walk = Walk {
        output: path,
        top: directory,
        store,
        left_out,
        entries: 0,
        listed: 0,
        bytes: 0,
        built: Vec::new(),
        seen: HashSet::new(),
    };
    walk.all()?;
    // A directory is built after all that it holds, and kept where it was built first: the reverse has parents first.
    walk.built.reverse();
    Ok(walk.built)
}

struct Walk<'a> {
    output: &'a str,
    top: OwnedFd,
    store: &'a mut dyn OutputStore,
    left_out: &'a mut LeftOut,
    entries: u64,
    /// Names that were read: as many as entries are taken, and one more, which tells that there are more.
    listed: u64,
    bytes: u64,
    built: Vec<BuiltDirectory>,
    seen: HashSet<Digest>,
}

/// A directory that is being read. A stack of them, and no recursion: an action can nest them as deep as it likes.
struct Level {
    name: String,
    /// Opened again by its path where the walk is far below.
    handle: Option<OwnedFd>,
    rest: vec::IntoIter<String>,
    directory: Directory,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), CollectError> {
        let top = self
            .top
            .try_clone()
            .map_err(|source| CollectError::Read { path: self.output.to_owned(), source })?;
        let mut levels = vec![self.level(String::new(), top, self.output)?];
        // Where the present level is, below the output.
        let mut here = String::new();
        while let Some(level) = levels.last_mut() {
            if self.store.is_cancelled() {
                return Err(CollectError::Cancelled);
            }
            if let Some(name) = level.rest.next() {
                if self.entries == MAX_OUTPUT_ENTRIES {
                    level.rest = Vec::new().into_iter();
                    let error = self.too_much("has more entries", MAX_OUTPUT_ENTRIES);
                    self.left_out.note(error)?;
                    // The others are told once.
                    self.entries += 1;
                    continue;
                }
                if self.entries > MAX_OUTPUT_ENTRIES {
                    level.rest = Vec::new().into_iter();
                    continue;
                }
                self.entries += 1;
                match self.entry(level, &here, name) {
                    Ok(None) => {}
                    Ok(Some(below)) => {
                        push(&mut here, &below.name);
                        levels.push(below);
                        if let Some(above) = levels.len().checked_sub(KEPT_OPEN) {
                            levels[above].handle = None;
                        }
                    }
                    Err(error) => self.left_out.note(error)?,
                }
                continue;
            }
            let Some(mut done) = levels.pop() else { break };
            done.directory.sort();
            let built = self.build(&done.directory);
            let shown = self.shown(&here);
            pop(&mut here);
            match (built, levels.last_mut()) {
                (Ok(digest), Some(above)) => {
                    let node = DirectoryNode { name: done.name, digest };
                    above.directory.directories.push(node);
                }
                (Ok(_), None) => {}
                // The output itself.
                (Err(error), None) => return Err(error),
                (Err(CollectError::TooMuch { what, bound, .. }), Some(_)) => {
                    self.left_out.note(CollectError::TooMuch { path: shown, what, bound })?;
                }
                (Err(error), Some(_)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes one entry; a directory becomes the next level.
    fn entry(
        &mut self,
        level: &mut Level,
        here: &str,
        name: String,
    ) -> Result<Option<Level>, CollectError> {
        let handle = match level.handle.take() {
            Some(handle) => handle,
            None => match open::open(self.top.as_fd(), here, &self.shown(here))? {
                Some(found) => found.open_directory(&self.shown(here))?,
                None => return Ok(None),
            },
        };
        let handle = &*level.handle.insert(handle);
        let below = self.shown(&joined(here, &name));
        if below.len() > LONGEST_PATH {
            let (what, bound) = ("has a path of more bytes", LONGEST_PATH as u64);
            return Err(CollectError::TooMuch { path: below, what, bound });
        }
        let Some(found) = open::open(handle.as_fd(), &name, &below)? else { return Ok(None) };
        match found.node {
            Node::File { executable } => {
                let digest = store_file(found.open_file(&below)?, &below, self.store)?;
                let mtime = found.mtime;
                level.directory.files.push(FileNode { name, digest, executable, mtime });
                Ok(None)
            }
            Node::Symlink => {
                let target = found.target(&below)?;
                let mtime = found.mtime;
                level.directory.symlinks.push(SymlinkNode { name, target, mtime });
                Ok(None)
            }
            Node::Directory => {
                let inner = found.open_directory(&below)?;
                drop(found);
                self.level(name, inner, &below).map(Some)
            }
            Node::Other(why) => Err(CollectError::NotAnOutput { path: below, why }),
        }
    }

    fn level(&mut self, name: String, handle: OwnedFd, shown: &str) -> Result<Level, CollectError> {
        let most = (MAX_OUTPUT_ENTRIES + 1).saturating_sub(self.listed);
        let mut odd = |name: &str| self.left_out.note(not_utf8(shown, name));
        let found = names(handle.as_fd(), shown, most, &mut odd)?;
        self.listed += found.len() as u64;
        let rest = found.into_iter();
        let stat = rustix::fs::fstat(&handle).map_err(read_error(shown))?;
        let directory = Directory { mtime: open::mtime(&stat), ..Directory::default() };
        Ok(Level { name, handle: Some(handle), rest, directory })
    }

    fn shown(&self, here: &str) -> String {
        joined(self.output.trim_end_matches('/'), here)
    }

    fn build(&mut self, directory: &Directory) -> Result<Digest, CollectError> {
        let bytes = self.store.encode(directory);
        let digest = hands_tree::hash(self.store.function(), &bytes);
        if !self.seen.contains(&digest) {
            if self.bytes + bytes.len() as u64 > MAX_PROTO_BLOB {
                return Err(self.too_much("has longer lists of names, in bytes,", MAX_PROTO_BLOB));
            }
            self.bytes += bytes.len() as u64;
            self.seen.insert(digest);
            self.built.push(BuiltDirectory { digest, bytes });
        }
        Ok(digest)
    }

    fn too_much(&self, what: &'static str, bound: u64) -> CollectError {
        CollectError::TooMuch { path: self.output.to_owned(), what, bound }
    }
}
