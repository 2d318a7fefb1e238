//! One directory of a Merkle tree, and the rules of REAPI v2 for a canonical one.

use std::cmp::Ordering;
use std::fmt;

use hands_types::limits::MAX_PATH;
use hands_types::{Digest, DigestFunction, Mtime};

/// The content of one directory: REAPI's `Directory`, of the node properties the modification times only. Each list is
/// sorted by the UTF-8 bytes of its names, and a name stands in one list only: [`Directory::check`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Regular files.
    pub files: Vec<FileNode>,
    /// Directories, by digest.
    pub directories: Vec<DirectoryNode>,
    /// Symbolic links.
    pub symlinks: Vec<SymlinkNode>,
    /// When the directory itself was changed. Without it the directory has the one fixed time.
    pub mtime: Option<Mtime>,
}

/// A regular file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileNode {
    /// One path component.
    pub name: String,
    /// Its content.
    pub digest: Digest,
    /// Whether it may be executed.
    pub executable: bool,
    /// When it was changed. Without it the file has the one fixed time.
    pub mtime: Option<Mtime>,
}

/// A directory in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryNode {
    /// One path component.
    pub name: String,
    /// The digest of its encoded `Directory`.
    pub digest: Digest,
}

/// A symbolic link in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymlinkNode {
    /// One path component.
    pub name: String,
    /// Where it points, as the link holds it: `/` between names, relative to the link's directory or absolute. Never
    /// followed by us.
    pub target: String,
    /// When the link itself was made. Without it the link has the one fixed time.
    pub mtime: Option<Mtime>,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// A regular file.
    File(&'a FileNode),
    /// A directory.
    Directory(&'a DirectoryNode),
    /// A symbolic link.
    Symlink(&'a SymlinkNode),
}

impl<'a> Node<'a> {
    /// The name under which the node stands in its directory.
    pub fn name(self) -> &'a str {
        match self {
            Self::File(node) => &node.name,
            Self::Directory(node) => &node.name,
            Self::Symlink(node) => &node.name,
        }
    }
}

impl Directory {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.files.len() + self.directories.len() + self.symlinks.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts the lists as REAPI v2 wants them: by the UTF-8 bytes of the names.
    pub fn sort(&mut self) {
        self.files.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        self.directories.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        self.symlinks.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    }

    /// The entry of this name; the lists must be sorted.
    pub fn get(&self, name: &str) -> Option<Node<'_>> {
        fn find<'a, T>(list: &'a [T], name: &str, of: impl Fn(&T) -> &str) -> Option<&'a T> {
            let at = list.binary_search_by(|node| of(node).as_bytes().cmp(name.as_bytes()));
            at.ok().map(|at| &list[at])
        }
        let file = find(&self.files, name, |node| &node.name).map(Node::File);
        let directory = || find(&self.directories, name, |node| &node.name).map(Node::Directory);
        let symlink = || find(&self.symlinks, name, |node| &node.name).map(Node::Symlink);
        file.or_else(directory).or_else(symlink)
    }

    /// Every entry, sorted by name; the lists must be sorted.
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes { files: &self.files, directories: &self.directories, symlinks: &self.symlinks }
    }

    /// Checks what REAPI v2 asks of a canonical directory — names that are one valid component, sorted lists, no name
    /// twice — and that all digests are of one function, since actions may not mix them.
    pub fn check(&self, function: DigestFunction) -> Result<(), InvalidDirectory> {
        let mut canonical = Canonical::new(function);
        self.nodes().try_for_each(|node| canonical.next(node))
    }
}

/// The same check for one entry after the other, where the three lists are merged by name as [`Directory::nodes`] does: an
/// unsorted list makes an unsorted whole.
#[derive(Clone, Debug)]
pub struct Canonical {
    function: DigestFunction,
    /// The name before; none of an entry is empty.
    last: String,
}

impl Canonical {
    /// Of a directory of which nothing was seen.
    pub const fn new(function: DigestFunction) -> Self {
        Self { function, last: String::new() }
    }

    /// Looks at the next entry.
    pub fn next(&mut self, node: Node<'_>) -> Result<(), InvalidDirectory> {
        let name = node.name();
        check_name(name)?;
        match self.last.as_bytes().cmp(name.as_bytes()) {
            Ordering::Less => {}
            Ordering::Equal => return Err(InvalidDirectory::Twice(name.to_owned())),
            Ordering::Greater => return Err(InvalidDirectory::Unsorted(name.to_owned())),
        }
        self.last.clear();
        self.last.push_str(name);
        match node {
            Node::File(FileNode { digest, .. }) | Node::Directory(DirectoryNode { digest, .. })
                if digest.function != self.function =>
            {
                Err(InvalidDirectory::Function(name.to_owned()))
            }
            Node::Symlink(SymlinkNode { target, .. })
                if target.is_empty() || target.len() > MAX_PATH || target.contains('\0') =>
            {
                Err(InvalidDirectory::Target(name.to_owned()))
            }
            Node::File(_) | Node::Directory(_) | Node::Symlink(_) => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), InvalidDirectory> {
    // 255 bytes is what every Linux file system allows.
    if name.is_empty()
        || name == "."
        || name == ".."
        || name.len() > 255
        || name.contains(['/', '\0'])
    {
        return Err(InvalidDirectory::Name(name.to_owned()));
    }
    Ok(())
}

/// Entries of a directory in the order of their names.
#[derive(Clone, Debug)]
pub struct Nodes<'a> {
    files: &'a [FileNode],
    directories: &'a [DirectoryNode],
    symlinks: &'a [SymlinkNode],
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let heads = [
            self.files.first().map(Node::File),
            self.directories.first().map(Node::Directory),
            self.symlinks.first().map(Node::Symlink),
        ];
        let first = heads
            .into_iter()
            .flatten()
            .min_by(|a, b| a.name().as_bytes().cmp(b.name().as_bytes()))?;
        match first {
            Node::File(_) => self.files = &self.files[1..],
            Node::Directory(_) => self.directories = &self.directories[1..],
            Node::Symlink(_) => self.symlinks = &self.symlinks[1..],
        }
        Some(first)
    }
}

/// Why a directory is not canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidDirectory {
    /// A name that is not one path component of at most 255 bytes.
    Name(String),
    /// A name that stands after a greater one.
    Unsorted(String),
    /// A name that stands there twice.
    Twice(String),
    /// An entry whose digest is of another function than the tree.
    Function(String),
    /// A symbolic link without a target, or with one of more than 4,096 bytes or with a NUL in it.
    Target(String),
}

impl fmt::Display for InvalidDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(f, "the name `{}` is not one path component", name.escape_debug())
            }
            Self::Unsorted(name) => write!(f, "the name `{}` is out of order", name.escape_debug()),
            Self::Twice(name) => write!(f, "the name `{}` stands there twice", name.escape_debug()),
            Self::Function(name) => {
                write!(f, "`{}` has a digest of another function", name.escape_debug())
            }
            Self::Target(name) => {
                write!(f, "the symbolic link `{}` has no valid target", name.escape_debug())
            }
        }
    }
}

impl std::error::Error for InvalidDirectory {}
