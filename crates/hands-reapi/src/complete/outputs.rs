//! What a result refers to: its files and streams, and all that stands in the trees of its output directories. A tree that
//! nobody can put in place is none, whoever made it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hands_proto::{BadDigest, Malformed, Room, Tight, all_fields, reapi};
use hands_store::{Entry, Store, StoreError, read_entries};
use hands_tree::Held;
use hands_types::limits::{MAX_OUTPUT_ENTRIES, MAX_PATH, MAX_PROTO_BLOB, MAX_TREES};
use hands_types::text::{cut, printable};
use hands_types::{Digest, DigestFunction};

use crate::Invocation;

/// Why a result can't be used, whatever is in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResult {
    /// A digest of it is none.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// An output directory can't be put in place.
    #[error("the tree {digest} of the output `{path}` can't be used: {why}")]
    Tree {
        /// Where it would stand, printable.
        path: String,
        /// The Tree, or the root.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// Its trees are too much together.
    #[error("the trees of the result have more than {MAX_TREES} bytes together")]
    TooMuch,
}

/// Why a look at a result brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It needs more memory than it had.
    #[error(transparent)]
    Tight(#[from] Tight),
    /// The result can't be used.
    #[error(transparent)]
    Bad(#[from] BadResult),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Missing blobs beyond which no more are looked for.
const MISSING: usize = 100_000;
/// What a look keeps of a blob that it asks for, of a directory, and of a directory's directory.
const KEPT: (usize, usize, usize) = (64, 256, 64);

/// Numbers of a Tree's fields.
const ROOT: u32 = 1;
const CHILDREN: u32 = 2;

/// How a result names a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Output {
    /// By a `Tree` message.
    Tree(Digest),
    /// By its root `Directory`.
    Root(Digest),
}

impl Output {
    const fn digest(&self) -> &Digest {
        match self {
            Self::Tree(digest) | Self::Root(digest) => digest,
        }
    }
}

/// Bytes of memory that [`missing_of`] may take at first: the largest tree, and as much again for what it names.
pub fn expected(result: &reapi::ActionResult) -> usize {
    let largest = |directory: &reapi::OutputDirectory| {
        let tree = directory.tree_digest.as_ref().map_or(0, |digest| digest.size_bytes);
        // Its client says so, and a larger one is refused.
        usize::try_from(tree.clamp(0, MAX_PROTO_BLOB.cast_signed())).unwrap_or_default()
    };
    result.output_directories.iter().map(largest).max().unwrap_or_default().saturating_mul(2)
}

/// The blobs that a result refers to and that are not in the store; of those that are, the life is extended. Looks
/// into trees, one after the other.
pub fn missing_of(
    store: &Store,
    result: &reapi::ActionResult,
    function: DigestFunction,
    invocation: &Invocation,
    room: &mut Room,
) -> Result<Vec<Digest>, LookError> {
    let mut wanted = Vec::new();
    // Each once, and where it would stand: the longest of these paths.
    let mut trees: BTreeMap<Output, &str> = BTreeMap::new();
    collect(result, function, &mut wanted, &mut trees)?;
    room.keep(KEPT.0 * (wanted.len() + trees.len()))?;
    let mut missing = ask(store, wanted, invocation)?;
    let mut left = MAX_TREES;
    for (output, path) in trees {
        let mut look = Look {
            store,
            function,
            room: room.rest(),
            wanted: Vec::new(),
            held: BTreeMap::new(),
            entries: 0,
            left,
        };
        let looked = match output {
            Output::Tree(digest) => look.tree(digest),
            Output::Root(digest) => look.below(digest),
        };
        looked.and_then(|root| look.check(root.as_ref(), path)).map_err(|flaw| match flaw {
            Flaw::Tight(tight) => LookError::Tight(tight),
            Flaw::Store(error) => LookError::Store(error),
            Flaw::TooMuch => LookError::Bad(BadResult::TooMuch),
            Flaw::No(why) => LookError::Bad(BadResult::Tree {
                path: printable(&cut(path, 100)).into_owned(),
                digest: *output.digest(),
                why,
            }),
        })?;
        left = look.left;
        missing.extend(ask(store, look.wanted, invocation)?);
        if missing.len() > MISSING {
            break;
        }
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}

/// Those that are not there.
fn ask(
    store: &Store,
    mut wanted: Vec<Digest>,
    invocation: &Invocation,
) -> Result<Vec<Digest>, StoreError> {
    wanted.sort_unstable();
    wanted.dedup();
    // Before they are looked for, so that what is found stays.
    invocation.keep(store, &wanted);
    store.missing(&wanted)
}

fn collect<'a>(
    result: &'a reapi::ActionResult,
    function: DigestFunction,
    wanted: &mut Vec<Digest>,
    trees: &mut BTreeMap<Output, &'a str>,
) -> Result<(), BadResult> {
    for file in &result.output_files {
        let digest = file.digest.as_ref().ok_or(BadDigest::Missing("output_files.digest"))?;
        wanted.push(digest.to_digest(function)?);
    }
    for digest in [&result.stdout_digest, &result.stderr_digest].into_iter().flatten() {
        // Some clients send an empty message where they mean none.
        if !digest.hash.is_empty() {
            wanted.push(digest.to_digest(function)?);
        }
    }
    for directory in &result.output_directories {
        if directory.tree_digest.is_none() && directory.root_directory_digest.is_none() {
            return Err(BadDigest::Missing("output_directories.tree_digest").into());
        }
        let mut add = |output| {
            let path: &mut &str = trees.entry(output).or_default();
            if directory.path.len() > path.len() {
                *path = &directory.path;
            }
        };
        if let Some(digest) = &directory.tree_digest {
            add(Output::Tree(digest.to_digest(function)?));
        }
        if let Some(digest) = &directory.root_directory_digest {
            add(Output::Root(digest.to_digest(function)?));
        }
    }
    Ok(())
}

enum Flaw {
    Tight(Tight),
    Store(StoreError),
    TooMuch,
    /// What is wrong with the tree.
    No(String),
}

impl From<Tight> for Flaw {
    fn from(tight: Tight) -> Self {
        Self::Tight(tight)
    }
}

impl From<Malformed> for Flaw {
    fn from(malformed: Malformed) -> Self {
        Self::No(malformed.to_string())
    }
}

/// A look at one output directory.
struct Look<'a> {
    store: &'a Store,
    function: DigestFunction,
    room: Room,
    wanted: Vec<Digest>,
    held: BTreeMap<Digest, Held>,
    /// Of all distinct directories.
    entries: u64,
    /// Bytes of trees that may still be read.
    left: u64,
}

impl Look<'_> {
    /// A Tree message: its directories travel inside it, and need not exist as blobs. None if it is not in the store.
    fn tree(&mut self, digest: Digest) -> Result<Option<Digest>, Flaw> {
        self.wanted.push(digest);
        self.room.keep(usize::try_from(digest.size).unwrap_or(usize::MAX))?;
        let Some(tree) = self.read(&digest)? else { return Ok(None) };
        let mut root = None;
        for field in all_fields(&tree) {
            let (number, content) = field?;
            if !matches!(number, ROOT | CHILDREN) {
                // A field of a later version.
                continue;
            }
            let directory = content.ok_or(Malformed)?;
            // Before it is hashed: empty ones cost two bytes.
            self.count(1)?;
            let digest = hands_tree::hash(self.function, directory);
            if number == ROOT && root.replace(digest).is_some() {
                return Err(Flaw::No("it has more than one root".to_owned()));
            }
            self.directory(digest, directory)?;
        }
        let absent =
            |(child, _): &&(Digest, usize)| !child.is_empty() && !self.held.contains_key(child);
        if let Some((child, _)) = self.held.values().flat_map(|held| &held.below).find(absent) {
            return Err(Flaw::No(format!("it names the directory {child} and does not bring it")));
        }
        let Some(root) = root else {
            // A message with nothing in it is left out by writers: the directory is empty.
            let empty = hands_tree::empty(self.function);
            self.count(1)?;
            self.directory(empty, &[])?;
            return Ok(Some(empty));
        };
        Ok(Some(root))
    }

    /// A root, and the directories below it as blobs of their own. What stands below a missing one is not known.
    fn below(&mut self, root: Digest) -> Result<Option<Digest>, Flaw> {
        let mut seen = BTreeSet::from([root]);
        let mut todo = vec![root];
        while let Some(digest) = todo.pop() {
            self.wanted.push(digest);
            self.room.passes(usize::try_from(digest.size).unwrap_or(usize::MAX))?;
            if let Some(directory) = self.read(&digest)? {
                self.directory(digest, &directory)?;
            }
            let held = self.held.get(&digest);
            let below = held.into_iter().flat_map(|held| &held.below).map(|(child, _)| *child);
            todo.extend(below.filter(|child| seen.insert(*child)));
        }
        Ok(Some(root))
    }

    /// Takes one directory, if it is canonical.
    fn directory(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), Flaw> {
        if self.held.contains_key(&digest) {
            return Ok(());
        }
        self.room.keep(KEPT.1)?;
        let mut held = Held::default();
        let mut counted = Ok(());
        let Self { room, wanted, entries, .. } = self;
        read_entries(bytes, digest.function, |entry| {
            *entries += 1;
            held.entries += 1;
            if counted.is_err() || *entries > MAX_OUTPUT_ENTRIES {
                return;
            }
            match entry {
                Entry::File(node) => {
                    held.longest = held.longest.max(node.name.len());
                    wanted.push(node.digest);
                    counted = room.keep(KEPT.0);
                }
                Entry::Directory(node) => {
                    held.below.push((node.digest, node.name.len()));
                    counted = room.keep(KEPT.2);
                }
                Entry::Symlink(node) => held.longest = held.longest.max(node.name.len()),
            }
        })
        .map_err(Flaw::No)?;
        counted?;
        self.count(0)?;
        self.held.insert(digest, held);
        Ok(())
    }

    fn count(&mut self, more: u64) -> Result<(), Flaw> {
        self.entries += more;
        if self.entries > MAX_OUTPUT_ENTRIES + 1 + self.held.len() as u64 {
            return Err(too_many());
        }
        Ok(())
    }

    /// What all of it stands for, each directory as often as it would be made.
    fn check(&mut self, root: Option<&Digest>, path: &str) -> Result<(), Flaw> {
        let Some(root) = root else { return Ok(()) };
        let shape = hands_tree::shape(root, &self.held);
        self.held.clear();
        if shape.entries > MAX_OUTPUT_ENTRIES {
            return Err(too_many());
        }
        let longest = path.len() + usize::from(!path.is_empty()) + shape.path;
        if shape.path > 0 && longest > MAX_PATH {
            return Err(Flaw::No(format!(
                "it holds a path of {longest} bytes, more than {MAX_PATH}"
            )));
        }
        Ok(())
    }

    /// A message in the store, as it is; none if it is not there.
    fn read(&mut self, digest: &Digest) -> Result<Option<Bytes>, Flaw> {
        if digest.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        if digest.size > MAX_PROTO_BLOB {
            return Err(Flaw::No(format!("{} bytes are more than {MAX_PROTO_BLOB}", digest.size)));
        }
        self.left = self.left.checked_sub(digest.size).ok_or(Flaw::TooMuch)?;
        self.store.read(digest).map_err(Flaw::Store)
    }
}

fn too_many() -> Flaw {
    Flaw::No(format!("it has more than {MAX_OUTPUT_ENTRIES} entries"))
}
