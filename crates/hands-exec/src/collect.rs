//! What an action left: the declared outputs, read from a hostile tree.

mod error;
mod globs;
mod left_out;
mod locate;
mod names;
mod open;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::mem;
use std::os::fd::AsFd;

use hands_tree::{BuiltDirectory, Directory, Pattern};
use hands_types::{Digest, DigestFunction, Mtime, RelPath};

pub use error::CollectError;
pub use left_out::{LeftOut, LeftOutEntry};
pub use locate::Places;
#[cfg(test)]
pub(crate) use names::names;
use open::{Found, Node};

/// What a command declares as its outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputSpec {
    /// The outputs, in the command's order.
    pub declared: Vec<Declared>,
    /// Where their paths start.
    pub working_directory: RelPath,
    /// The absolute path at which the action sees its input root, where that is known: absolute links to below it stay
    /// inside.
    pub root_at: Option<String>,
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
        /// When it was changed.
        mtime: Option<Mtime>,
    },
    /// A symbolic link, never followed: it may dangle or be absolute.
    Symlink {
        /// Where it points.
        target: String,
        /// When it was made.
        mtime: Option<Mtime>,
    },
    /// A directory. Each different one below it once, parents before children, so that the first is the root: the order
    /// of a topologically sorted REAPI `Tree`.
    Directory {
        /// The directories. At least one.
        directories: Vec<BuiltDirectory>,
    },
}

/// What was collected.
#[derive(Debug, Default)]
pub struct Collection {
    /// The outputs that are there, in the order of their declaration.
    pub items: Vec<OutputItem>,
    /// What is there and can't be brought.
    pub left_out: LeftOut,
}

/// Collects the declared outputs from the tree that an action left. What is not there is missing; that is no error
/// (REAPI v2). What is there and can't be an output is left out and named. Blocks on the disk.
///
/// The tree is taken as hostile although nothing in it runs any more: no link leads out of it, nothing is opened but
/// regular files and directories, and depth, count and sizes are bounded.
pub fn collect(
    tree: impl AsFd,
    spec: &OutputSpec,
    store: &mut dyn OutputStore,
) -> Result<Collection, CollectError> {
    let mut collector =
        Collector { store, collection: Collection::default(), seen: BTreeSet::new() };
    let located = locate::Located::new(tree.as_fd(), spec);
    // Buck2's compatible mode lists a path as file and as directory: then it may be either.
    let mut kinds: BTreeMap<&str, DeclaredKind> = BTreeMap::new();
    for declared in &spec.declared {
        let kind = kinds.entry(&declared.path).or_insert(declared.kind);
        if *kind != declared.kind {
            *kind = DeclaredKind::Any;
        }
    }
    for declared in &spec.declared {
        if declared.kind == DeclaredKind::Glob {
            // A client that knows no patterns may well have a star in a name.
            if let Ok(Some(found)) = located.output(&declared.path) {
                collector.take(found, &declared.path, DeclaredKind::Any, declared.kind)?;
                continue;
            }
            let pattern = Pattern::new(&declared.path)?;
            let left_out = &mut collector.collection.left_out;
            let matches =
                globs::expand(&located, &pattern, &declared.path, collector.store, left_out)?;
            for globs::Match { path, real } in &matches {
                // Two patterns may match the same, or what was declared by its name.
                match open::open(tree.as_fd(), real, path) {
                    Ok(Some(found)) => {
                        collector.take(found, path, DeclaredKind::Any, DeclaredKind::Glob)?;
                    }
                    Ok(None) => {}
                    Err(error) => collector.collection.left_out.note(error)?,
                }
            }
            continue;
        }
        let kind = kinds.get(declared.path.as_str()).copied().unwrap_or(declared.kind);
        match located.output(&declared.path) {
            Ok(Some(found)) => collector.take(found, &declared.path, kind, declared.kind)?,
            Ok(None) => {}
            Err(error) => collector.collection.left_out.note(error)?,
        }
    }
    collector.without_what_is_below_links()?;
    Ok(collector.collection)
}

struct Collector<'a> {
    store: &'a mut dyn OutputStore,
    collection: Collection,
    seen: BTreeSet<String>,
}

impl Collector<'_> {
    /// Collects one output, unless it was before.
    fn take(
        &mut self,
        found: Found,
        path: &str,
        wanted: DeclaredKind,
        declared: DeclaredKind,
    ) -> Result<(), CollectError> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        match self.collect_one(found, path, wanted) {
            Ok(kind) => {
                let item = OutputItem { path: path.to_owned(), declared, kind };
                self.collection.items.push(item);
                Ok(())
            }
            Err(error) => self.collection.left_out.note(error),
        }
    }

    /// Two declarations may want a link, and something behind it by the link's path. Both can't be put in place.
    fn without_what_is_below_links(&mut self) -> Result<(), CollectError> {
        let plain = |path: &str| {
            path.split('/').filter(|name| !matches!(*name, "" | ".")).collect::<Vec<_>>().join("/")
        };
        let is_link = |item: &&OutputItem| matches!(item.kind, OutputKind::Symlink { .. });
        let links: BTreeSet<String> =
            self.collection.items.iter().filter(is_link).map(|item| plain(&item.path)).collect();
        if links.is_empty() {
            return Ok(());
        }
        for item in mem::take(&mut self.collection.items) {
            let path = plain(&item.path);
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            match above.find(|above| links.contains(*above)) {
                Some(link) => self
                    .collection
                    .left_out
                    .note(CollectError::BelowLink { path: item.path, link: link.to_owned() })?,
                None => self.collection.items.push(item),
            }
        }
        Ok(())
    }

    fn collect_one(
        &mut self,
        found: Found,
        path: &str,
        wanted: DeclaredKind,
    ) -> Result<OutputKind, CollectError> {
        let not = |why| Err(CollectError::NotAnOutput { path: path.to_owned(), why });
        if self.store.is_cancelled() {
            return Err(CollectError::Cancelled);
        }
        match found.node {
            Node::File { .. } if wanted == DeclaredKind::Directory => {
                not("was declared as a directory and is a file")
            }
            Node::File { executable } => Ok(OutputKind::File {
                digest: store_file(found.open_file(path)?, path, self.store)?,
                executable,
                mtime: found.mtime,
            }),
            Node::Symlink => {
                Ok(OutputKind::Symlink { target: found.target(path)?, mtime: found.mtime })
            }
            Node::Directory if wanted == DeclaredKind::File => {
                not("was declared as a file and is a directory")
            }
            Node::Directory => {
                let directory = found.open_directory(path)?;
                drop(found);
                let left_out = &mut self.collection.left_out;
                let directories = walk::walk(directory, path, self.store, left_out)?;
                Ok(OutputKind::Directory { directories })
            }
            Node::Other(why) => not(why),
        }
    }
}

fn store_file(file: File, path: &str, store: &mut dyn OutputStore) -> Result<Digest, CollectError> {
    store.file(path, file).map_err(|source| CollectError::Store { path: path.to_owned(), source })
}
