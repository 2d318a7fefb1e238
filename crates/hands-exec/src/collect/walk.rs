//! A whole directory as an output.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use hands_tree::{BuiltDirectory, Directory, DirectoryNode, FileNode, SymlinkNode};
use hands_types::Digest;
use hands_types::limits::MAX_PROTO_BLOB;

use super::open::{self, Node, read_error};
use super::{CollectError, OutputStore, store_file};

/// Deepest nesting that is collected. Each level holds a few descriptors and some stack.
const MAX_DEPTH: usize = 200;
/// Most entries of one output directory, over all its levels.
const MAX_ENTRIES: u64 = 1_000_000;

/// Stores the files of a directory and returns its directories, parents first.
pub(crate) fn walk(
    directory: BorrowedFd<'_>,
    path: &str,
    store: &mut dyn OutputStore,
) -> Result<Vec<BuiltDirectory>, CollectError> {
    let mut walk =
        Walk { output: path, store, entries: 0, bytes: 0, built: Vec::new(), seen: HashSet::new() };
    walk.directory(directory, path, 0)?;
    // A directory is built after all that it holds, and kept where it was built first: the reverse has parents first.
    walk.built.reverse();
    Ok(walk.built)
}

struct Walk<'a> {
    output: &'a str,
    store: &'a mut dyn OutputStore,
    entries: u64,
    bytes: u64,
    built: Vec<BuiltDirectory>,
    seen: HashSet<Digest>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        fd: BorrowedFd<'_>,
        path: &str,
        depth: usize,
    ) -> Result<Digest, CollectError> {
        if depth > MAX_DEPTH {
            return Err(self.too_much("is nested deeper", MAX_DEPTH as u64));
        }
        let mut directory = Directory::default();
        for name in names(fd, path)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(self.too_much("has more entries", MAX_ENTRIES));
            }
            if self.store.is_cancelled() {
                return Err(CollectError::Cancelled);
            }
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let Some(found) = open::open(fd, &name, &below)? else { continue };
            match found.node {
                Node::File { executable } => {
                    let digest = store_file(found.open_file(&below)?, &below, self.store)?;
                    directory.files.push(FileNode { name, digest, executable });
                }
                Node::Symlink => {
                    let target = found.target(&below)?;
                    directory.symlinks.push(SymlinkNode { name, target });
                }
                Node::Directory => {
                    let inner = found.open_directory(&below)?;
                    drop(found);
                    let digest = self.directory(inner.as_fd(), &below, depth + 1)?;
                    directory.directories.push(DirectoryNode { name, digest });
                }
                Node::Other(why) => return Err(CollectError::NotAnOutput { path: below, why }),
            }
        }
        directory.sort();
        self.build(&directory)
    }

    fn build(&mut self, directory: &Directory) -> Result<Digest, CollectError> {
        let bytes = self.store.encode(directory);
        let digest = hands_tree::hash(self.store.function(), &bytes);
        if self.seen.insert(digest) {
            self.bytes += bytes.len() as u64;
            if self.bytes > MAX_PROTO_BLOB {
                return Err(self.too_much("has longer lists of names, in bytes,", MAX_PROTO_BLOB));
            }
            self.built.push(BuiltDirectory { digest, bytes });
        }
        Ok(digest)
    }

    fn too_much(&self, what: &'static str, bound: u64) -> CollectError {
        CollectError::TooMuch { path: self.output.to_owned(), what, bound }
    }
}

/// The names in a directory, without `.` and `..`, sorted.
pub(crate) fn names(fd: BorrowedFd<'_>, path: &str) -> Result<Vec<String>, CollectError> {
    let mut names = Vec::new();
    // Reads by a descriptor of its own, because the position belongs to the open file.
    for entry in rustix::fs::Dir::read_from(fd).map_err(read_error(path))? {
        let entry = entry.map_err(read_error(path))?;
        let name = match entry.file_name().to_str() {
            Ok("." | "..") => continue,
            Ok(name) => name.to_owned(),
            Err(_) => {
                let name = entry.file_name().to_string_lossy();
                return Err(CollectError::NotAnOutput {
                    path: if path.is_empty() {
                        name.into_owned()
                    } else {
                        format!("{path}/{name}")
                    },
                    why: "has a name that is not UTF-8",
                });
            }
        };
        names.push(name);
        if names.len() as u64 > MAX_ENTRIES {
            return Err(CollectError::TooMuch {
                path: path.to_owned(),
                what: "has more entries",
                bound: MAX_ENTRIES,
            });
        }
    }
    names.sort_unstable();
    Ok(names)
}
