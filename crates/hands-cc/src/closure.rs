//! Paths with all that it takes to reach them: the directories and links on the way, as they are here.
//!
//! A tree of these shows a compiler the same at each path as this machine does, whichever way the path is spelled.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links that are followed before it is taken for a loop, as the kernel does.
const MOST_LINKS: u32 = 40;

/// What stands at a path whose parents are no links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File,
    Link(PathBuf),
}

/// Nodes by their paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closure {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Closure {
    /// Adds a path and answers where it leads. The path must be absolute.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut here = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            match self.look(&next)? {
                Node::Directory => here = next,
                Node::File if rest.is_empty() => here = next,
                Node::File => return Err(io::ErrorKind::NotADirectory.into()),
                Node::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::other("too many links"));
                    }
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
            }
        }
        Ok(here)
    }

    fn look(&mut self, path: &Path) -> io::Result<Node> {
        if let Some(node) = self.nodes.get(path) {
            return Ok(node.clone());
        }
        let kind = fs::symlink_metadata(path)?.file_type();
        let node = if kind.is_symlink() {
            Node::Link(fs::read_link(path)?)
        } else if kind.is_dir() {
            Node::Directory
        } else if kind.is_file() {
            Node::File
        } else {
            return Err(io::Error::other(format!("{} is no file", path.display())));
        };
        self.nodes.insert(path.to_owned(), node.clone());
        Ok(node)
    }

    /// Files and links.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Path> {
        let leaves = self.nodes.iter().filter(|(_, node)| !matches!(node, Node::Directory));
        leaves.map(|(path, _)| path.as_path())
    }

    /// Directories in which nothing else stands.
    pub(crate) fn empty_directories(&self) -> impl Iterator<Item = &Path> {
        let mut nodes = self.nodes.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let (path, node) = nodes.next()?;
                // Paths are sorted name by name, so that what is below a directory follows it at once.
                let holds = nodes.peek().is_some_and(|(next, _)| next.starts_with(path));
                if matches!(node, Node::Directory) && !holds {
                    return Some(path.as_path());
                }
            }
        })
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
