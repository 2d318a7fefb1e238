//! What an action left: the declared outputs, read from a hostile tree.

mod globs;
mod open;
mod walk;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use hands_tree::{BadPattern, BuiltDirectory, Directory, Pattern};
use hands_types::{Digest, DigestFunction, ErrorClass, RelPath};

use open::{Found, Node};

/// What a command declares as its outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputSpec {
    /// The outputs, in the command's order.
    pub declared: Vec<Declared>,
    /// Where their paths start.
    pub working_directory: RelPath,
}

/// One declared output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The path as the command has it, relative to the working directory; or a pattern.
    pub path: String,
    /// What may stand there.
    pub kind: DeclaredKind,
}

/// What a declaration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredKind {
    /// Whatever is there: `output_paths` of REAPI 2.1.
    Any,
    /// A file or a link: `output_files` of REAPI 2.0.
    File,
    /// A directory or a link: `output_directories` of REAPI 2.0.
    Directory,
    /// Everything that matches this [`Pattern`]. A directory that matches is one output; below it nothing is matched
    /// again. A pattern that ends in `**` takes files and links only, at any depth.
    Glob,
}

/// Takes what was collected.
pub trait OutputStore {
    /// How digests are made.
    fn function(&self) -> DigestFunction;
    /// Stores a regular file, open for reading at its start, and returns its digest.
    fn file(
        &mut self,
        path: &str,
        file: File,
    ) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>>;
    /// The bytes of a canonical `Directory` message.
    fn encode(&mut self, directory: &Directory) -> Vec<u8>;
    /// Whether the action was cancelled meanwhile, so that collecting should end.
    fn is_cancelled(&self) -> bool;
}

/// One output that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputItem {
    /// Its path, relative to the working directory; for a declared path as it was declared.
    pub path: String,
    /// How it was declared.
    pub declared: DeclaredKind,
    /// What it is.
    pub kind: OutputKind,
}

/// What an output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// A regular file.
    File {
        /// Its content, now in the store.
        digest: Digest,
        /// Whether anybody may execute it.
        executable: bool,
    },
    /// A symbolic link, never followed: it may dangle or be absolute.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A directory. Each different one below it once, parents before children, so that the first is the root: the order
    /// of a topologically sorted REAPI `Tree`.
    Directory {
        /// The directories. At least one.
        directories: Vec<BuiltDirectory>,
    },
}

/// Why outputs could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A declared path that is none, or leaves the input root.
    #[error("the output path `{}` can't be used: {why}", path.escape_debug())]
    BadPath {
        /// As declared.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A declared pattern that is none.
    #[error(transparent)]
    BadPattern(#[from] BadPattern),
    /// Something that can't be an output stands in an output's place.
    #[error("the output `{}` {why}", path.escape_debug())]
    NotAnOutput {
        /// Where, relative to the working directory; what is not UTF-8 is replaced.
        path: String,
        /// What it is instead, as the rest of the sentence.
        why: &'static str,
    },
    /// More than we take.
    #[error("the output `{}` {what} than {bound}", path.escape_debug())]
    TooMuch {
        /// The declared output.
        path: String,
        /// What there is too much of, as a part of the sentence.
        what: &'static str,
        /// The bound.
        bound: u64,
    },
    /// The kernel refused to read it.
    #[error("the output `{}` can't be read", path.escape_debug())]
    Read {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store refused it.
    #[error("the output `{}` can't be stored", path.escape_debug())]
    Store {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The action was cancelled while outputs were collected.
    #[error("the action was cancelled while its outputs were collected")]
    Cancelled,
}

impl CollectError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadPath { .. }
            | Self::BadPattern(_)
            | Self::NotAnOutput { .. }
            | Self::TooMuch { .. } => ErrorClass::User,
            // The action chooses the modes of its files.
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorClass::User
            }
            Self::Read { .. } | Self::Store { .. } => ErrorClass::Environment,
            Self::Cancelled => ErrorClass::Infra { retry: false },
        }
    }
}

impl OutputSpec {
    /// The directories in which outputs stand: they must exist before the command runs, and the outputs themselves not
    /// (REAPI v2, `Command.output_paths`). The working directory itself is not among them.
    pub fn parents(&self) -> Result<BTreeSet<RelPath>, CollectError> {
        let mut parents = BTreeSet::new();
        for declared in &self.declared {
            let parent = if declared.kind == DeclaredKind::Glob {
                let pattern = Pattern::new(&declared.path)?;
                let fixed: Vec<&str> = pattern.fixed_parents().collect();
                self.resolve(&fixed.join("/"))?
            } else {
                let path = self.resolve(&declared.path)?;
                let names: Vec<&str> = path.names().collect();
                let above = names.len().saturating_sub(1);
                self.rel(&declared.path, &names[..above].join("/"))?
            };
            if parent != self.working_directory && !parent.as_str().is_empty() {
                parents.insert(parent);
            }
        }
        Ok(parents)
    }

    fn resolve(&self, path: &str) -> Result<RelPath, CollectError> {
        let bad = |why: String| CollectError::BadPath { path: path.to_owned(), why };
        if path.starts_with('/') {
            return Err(bad("it is absolute".to_owned()));
        }
        let joined = format!("{}/{path}", self.working_directory.as_str());
        RelPath::normalized(joined.trim_start_matches('/')).map_err(|e| bad(e.why.to_owned()))
    }

    fn rel(&self, declared: &str, path: &str) -> Result<RelPath, CollectError> {
        RelPath::new(path)
            .map_err(|e| CollectError::BadPath { path: declared.to_owned(), why: e.why.to_owned() })
    }
}

/// Collects the declared outputs from the tree that an action left, in the order of their declaration. What is not
/// there is left out; that is no error (REAPI v2). Blocks on the disk.
///
/// The tree is taken as hostile although nothing in it runs any more: no link is followed, nothing is opened but
/// regular files and directories, and depth, count and sizes are bounded.
pub fn collect(
    tree: impl AsFd,
    spec: &OutputSpec,
    store: &mut dyn OutputStore,
) -> Result<Vec<OutputItem>, CollectError> {
    let mut items = Vec::new();
    let mut seen = BTreeSet::new();
    for declared in &spec.declared {
        if declared.kind == DeclaredKind::Glob {
            // A client that knows no patterns may well have a star in a name.
            if let Ok(path) = spec.resolve(&declared.path)
                && let Ok(Some(found)) = open::open(tree.as_fd(), path.as_str(), &declared.path)
            {
                if seen.insert(declared.path.clone()) {
                    items.extend(collect_one(found, &declared.path, DeclaredKind::Any, store)?);
                }
                continue;
            }
            let pattern = Pattern::new(&declared.path)?;
            for (path, found) in globs::expand(tree.as_fd(), &spec.working_directory, &pattern)? {
                // Two patterns may match the same, or what was declared by its name.
                if seen.insert(path.clone()) {
                    items.extend(collect_one(found, &path, DeclaredKind::Glob, store)?);
                }
            }
            continue;
        }
        let path = spec.resolve(&declared.path)?;
        // Buck2's compatible mode lists a path as file and as directory: then it may be either.
        let twice =
            spec.declared.iter().any(|d| d.path == declared.path && d.kind != declared.kind);
        let kind = if twice { DeclaredKind::Any } else { declared.kind };
        if seen.insert(declared.path.clone())
            && let Some(found) = open::open(tree.as_fd(), path.as_str(), &declared.path)?
        {
            let item = collect_one(found, &declared.path, kind, store)?;
            items.extend(item.map(|item| OutputItem { declared: declared.kind, ..item }));
        }
    }
    Ok(items)
}

fn collect_one(
    found: Found,
    path: &str,
    declared: DeclaredKind,
    store: &mut dyn OutputStore,
) -> Result<Option<OutputItem>, CollectError> {
    let not = |why| Err(CollectError::NotAnOutput { path: path.to_owned(), why });
    if store.is_cancelled() {
        return Err(CollectError::Cancelled);
    }
    let kind = match found.node {
        Node::File { executable } => {
            if declared == DeclaredKind::Directory {
                return not("was declared as a directory and is a file");
            }
            OutputKind::File {
                digest: store_file(found.open_file(path)?, path, store)?,
                executable,
            }
        }
        Node::Symlink => OutputKind::Symlink { target: found.target(path)? },
        Node::Directory => {
            if declared == DeclaredKind::File {
                return not("was declared as a file and is a directory");
            }
            let directory = found.open_directory(path)?;
            OutputKind::Directory { directories: walk::walk(directory.as_fd(), path, store)? }
        }
        Node::Other(why) => return not(why),
    };
    Ok(Some(OutputItem { path: path.to_owned(), declared, kind }))
}

fn store_file(file: File, path: &str, store: &mut dyn OutputStore) -> Result<Digest, CollectError> {
    store.file(path, file).map_err(|source| CollectError::Store { path: path.to_owned(), source })
}

/// Duplicates a handle, so that it can be kept beside others.
fn duplicate(fd: BorrowedFd<'_>, path: &str) -> Result<std::os::fd::OwnedFd, CollectError> {
    fd.try_clone_to_owned().map_err(|source| CollectError::Read { path: path.to_owned(), source })
}
