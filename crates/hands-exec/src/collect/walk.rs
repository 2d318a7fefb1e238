//! A whole directory as an output.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::vec;

use hands_tree::{BuiltDirectory, Directory, DirectoryNode, FileNode, SymlinkNode};
use hands_types::Digest;
use hands_types::limits::MAX_PROTO_BLOB;

use super::left_out::{LeftOut, readable};
use super::open::{self, Node, read_error};
use super::{CollectError, OutputStore, store_file};

/// Longest path that is collected, bytes: what the kernel takes in one call, so that programs can use it elsewhere.
pub(crate) const LONGEST_PATH: usize = 4095;
/// Levels above the present one whose handles are kept.
const KEPT_OPEN: usize = 32;
/// Most entries of one output directory, over all its levels.
const MAX_ENTRIES: u64 = 1_000_000;

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
                if self.entries == MAX_ENTRIES {
                    level.rest = Vec::new().into_iter();
                    let error = self.too_much("has more entries", MAX_ENTRIES);
                    self.left_out.note(error)?;
                    // The others are told once.
                    self.entries += 1;
                    continue;
                }
                if self.entries > MAX_ENTRIES {
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
        let mut below = here.to_owned();
        push(&mut below, &name);
        let below = self.shown(&below);
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
        let found = names(handle.as_fd(), shown)?;
        for error in found.odd {
            self.left_out.note(error)?;
        }
        let rest = found.names.into_iter();
        let stat = rustix::fs::fstat(&handle).map_err(read_error(shown))?;
        let directory = Directory { mtime: open::mtime(&stat), ..Directory::default() };
        Ok(Level { name, handle: Some(handle), rest, directory })
    }

    fn shown(&self, here: &str) -> String {
        let mut path = self.output.trim_end_matches('/').to_owned();
        push(&mut path, here);
        path
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

fn push(path: &mut String, name: &str) {
    if !path.is_empty() && !name.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

fn pop(path: &mut String) {
    path.truncate(path.rfind('/').unwrap_or(0));
}

/// What a directory holds.
pub(crate) struct Names {
    /// Names, without `.` and `..`, sorted.
    pub(crate) names: Vec<String>,
    /// What can't be an output because of its name.
    pub(crate) odd: Vec<CollectError>,
}

/// Reads a directory.
pub(crate) fn names(fd: BorrowedFd<'_>, path: &str) -> Result<Names, CollectError> {
    let mut found = Names { names: Vec::new(), odd: Vec::new() };
    // Reads by a descriptor of its own, because the position belongs to the open file.
    for entry in rustix::fs::Dir::read_from(fd).map_err(read_error(path))? {
        let entry = entry.map_err(read_error(path))?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => found.names.push(name.to_owned()),
            Err(_) => {
                let mut below = path.trim_end_matches('/').to_owned();
                push(&mut below, &readable(entry.file_name()));
                let why = "has a name that is not UTF-8";
                found.odd.push(CollectError::NotAnOutput { path: below, why });
            }
        }
        // One more than is taken, which tells that there are more.
        if (found.names.len() + found.odd.len()) as u64 > MAX_ENTRIES {
            break;
        }
    }
    found.names.sort_unstable();
    Ok(found)
}
