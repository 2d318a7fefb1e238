//! What an action result refers to, and whether all of it is there.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use hands_proto::{BadDigest, decode_blob, fields, reapi};
use hands_store::{Store, StoreError};
use hands_types::limits::{INLINE_STREAM, MAX_BATCH, MAX_PROTO_BLOB};
use hands_types::{Digest, DigestFunction};
use prost::Message;

use crate::Invocation;

/// Looks an action's result up. One whose blobs are not all here any more is no result; of one that is returned every
/// blob's life is extended, and the invocation that asks keeps them.
pub fn cached_result(
    store: &Store,
    instance: &str,
    action: &Digest,
    invocation: &Invocation,
) -> Result<Option<reapi::ActionResult>, StoreError> {
    match CachedResult::find(store, instance, *action)? {
        Some(cached) => cached.read(store, invocation),
        None => Ok(None),
    }
}

/// A result in the action cache that was not looked at yet.
#[derive(Debug)]
pub struct CachedResult {
    action: Digest,
    bytes: Bytes,
    /// Decoded already, where it is small and can be.
    small: Option<reapi::ActionResult>,
}

/// Bytes of a result that takes a moment only: some 50 files.
const QUICK: usize = 8 << 10;
/// What a result becomes in memory for each of its bytes, where its files have short names.
const MEMORY: usize = 5;

impl CachedResult {
    /// Looks an action's result up.
    pub fn find(store: &Store, instance: &str, action: Digest) -> Result<Option<Self>, StoreError> {
        Ok(store.action(instance, &action)?.map(|bytes| {
            let is_small = bytes.len() <= QUICK;
            let small = is_small.then(|| decode_blob(bytes.clone()).ok()).flatten();
            Self { action, bytes, small }
        }))
    }

    /// Whether [`CachedResult::read`] takes a moment only. Else it belongs on a blocking thread.
    pub fn is_quick(&self) -> bool {
        self.small.as_ref().is_some_and(|result| result.output_directories.is_empty())
    }

    /// Bytes of memory that the result may take.
    pub fn memory(&self) -> usize {
        self.bytes.len().saturating_mul(MEMORY)
    }

    /// The result, if every blob of it is here. Blocks.
    pub fn read(
        self,
        store: &Store,
        invocation: &Invocation,
    ) -> Result<Option<reapi::ActionResult>, StoreError> {
        let action = self.action;
        let Some(result) = self.small.or_else(|| decode_blob(self.bytes).ok()) else {
            tracing::warn!(%action, "an action result in the store can't be read and counts as none");
            return Ok(None);
        };
        match missing_of(store, &result, action.function, invocation)? {
            Ok(missing) if missing.is_empty() => Ok(Some(result)),
            Ok(missing) => {
                tracing::debug!(%action, missing = missing.len(), "an action result has lost its blobs");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(%action, %error, "an action result in the store is malformed and counts as none");
                Ok(None)
            }
        }
    }
}

/// The blobs that a result refers to and that are not in the store; of those that are, the life is extended. Looks
/// into trees. The inner error is a malformed digest in the result.
pub fn missing_of(
    store: &Store,
    result: &reapi::ActionResult,
    function: DigestFunction,
    invocation: &Invocation,
) -> Result<Result<Vec<Digest>, BadDigest>, StoreError> {
    let mut wanted = BTreeSet::new();
    let mut trees = Vec::new();
    if let Err(error) = collect(result, function, &mut wanted, &mut trees) {
        return Ok(Err(error));
    }
    for tree in trees {
        if let Err(error) = tree_blobs(store, tree, &mut wanted)? {
            return Ok(Err(error));
        }
    }
    // Trees and directories that could not be read stand among the wanted and are found missing here.
    let wanted: Vec<Digest> = wanted.into_iter().collect();
    // Before they are looked for, so that what is found stays.
    invocation.keep(store, &wanted);
    Ok(Ok(store.missing(&wanted)?))
}

#[derive(Clone, Copy)]
enum Output {
    /// A `Tree` message.
    Tree(Digest),
    /// A root `Directory`.
    Root(Digest),
}

fn collect(
    result: &reapi::ActionResult,
    function: DigestFunction,
    wanted: &mut BTreeSet<Digest>,
    trees: &mut Vec<Output>,
) -> Result<(), BadDigest> {
    for file in &result.output_files {
        let digest = file.digest.as_ref().ok_or(BadDigest::Missing("output_files.digest"))?;
        wanted.insert(digest.to_digest(function)?);
    }
    for digest in [&result.stdout_digest, &result.stderr_digest].into_iter().flatten() {
        // Some clients send an empty message where they mean none.
        if !digest.hash.is_empty() {
            wanted.insert(digest.to_digest(function)?);
        }
    }
    for directory in &result.output_directories {
        if directory.tree_digest.is_none() && directory.root_directory_digest.is_none() {
            return Err(BadDigest::Missing("output_directories.tree_digest"));
        }
        if let Some(digest) = &directory.tree_digest {
            trees.push(Output::Tree(digest.to_digest(function)?));
        }
        if let Some(digest) = &directory.root_directory_digest {
            trees.push(Output::Root(digest.to_digest(function)?));
        }
    }
    Ok(())
}

/// Adds a tree itself and everything that is in it.
fn tree_blobs(
    store: &Store,
    tree: Output,
    wanted: &mut BTreeSet<Digest>,
) -> Result<Result<(), BadDigest>, StoreError> {
    let mut todo = Vec::new();
    // Apart from `wanted`: a directory's message may stand in it as a file's content already.
    let mut seen = BTreeSet::new();
    match tree {
        Output::Tree(digest) => {
            wanted.insert(digest);
            let tree = match read_message(store, &digest)? {
                Ok(Some(tree)) => tree,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            // The directories travel inside the Tree message, its root and its children; as blobs they need not exist.
            for directory in fields(&tree) {
                let listed = match directory {
                    Ok((1 | 2, directory)) => list(directory, digest.function, wanted, None),
                    Ok(_) => Ok(()),
                    Err(_) => Err(UNREADABLE),
                };
                if let Err(error) = listed {
                    return Ok(Err(error));
                }
            }
        }
        Output::Root(digest) => todo.push(digest),
    }
    while let Some(digest) = todo.pop() {
        if !seen.insert(digest) {
            continue;
        }
        wanted.insert(digest);
        let listed = match read_message(store, &digest)? {
            Ok(Some(directory)) => list(&directory, digest.function, wanted, Some(&mut todo)),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = listed {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

const UNREADABLE: BadDigest = BadDigest::Missing("a tree that can be read");

/// What a directory refers to. Node by node: decoded as a whole it would take several times its bytes.
fn list(
    directory: &[u8],
    function: DigestFunction,
    files: &mut BTreeSet<Digest>,
    mut directories: Option<&mut Vec<Digest>>,
) -> Result<(), BadDigest> {
    for field in fields(directory) {
        match field.map_err(|_| UNREADABLE)? {
            (1, node) => {
                let node = decode_blob::<reapi::FileNode>(Bytes::copy_from_slice(node));
                let digest = node.map_err(|_| UNREADABLE)?.digest;
                let digest = digest.ok_or(BadDigest::Missing("files.digest"))?;
                files.insert(digest.to_digest(function)?);
            }
            (2, node) => {
                let node = decode_blob::<reapi::DirectoryNode>(Bytes::copy_from_slice(node));
                let digest = node.map_err(|_| UNREADABLE)?.digest;
                let digest = digest.ok_or(BadDigest::Missing("directories.digest"))?;
                let digest = digest.to_digest(function)?;
                if let Some(directories) = &mut directories {
                    directories.push(digest);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A message in the store, as it is; none if it is not there.
fn read_message(
    store: &Store,
    digest: &Digest,
) -> Result<Result<Option<Bytes>, BadDigest>, StoreError> {
    if digest.is_empty() {
        return Ok(Ok(Some(Bytes::new())));
    }
    if digest.size > MAX_PROTO_BLOB {
        return Ok(Err(BadDigest::Missing("a tree of a size that can be read")));
    }
    Ok(Ok(store.read(digest)?))
}

/// Puts small contents into the result itself where the request asks for it, as long as the whole stays below what
/// foreign clients decode by default.
pub fn fill_inline(
    store: &Store,
    result: &mut reapi::ActionResult,
    function: DigestFunction,
    stdout: bool,
    stderr: bool,
    files: &[String],
) -> Result<(), StoreError> {
    let mut left =
        usize::try_from(MAX_BATCH).unwrap_or(usize::MAX).saturating_sub(result.encoded_len());
    let mut load = |digest: Option<&reapi::Digest>, limit: usize| -> Result<Bytes, StoreError> {
        let Some(Ok(digest)) = digest.map(|d| d.to_digest(function)) else {
            return Ok(Bytes::new());
        };
        if digest.is_empty() || digest.size > limit.min(left) as u64 {
            return Ok(Bytes::new());
        }
        let bytes = store.read(&digest)?.unwrap_or_default();
        left = left.saturating_sub(bytes.len());
        Ok(bytes)
    };
    if stdout && result.stdout_raw.is_empty() {
        result.stdout_raw = load(result.stdout_digest.as_ref(), INLINE_STREAM)?;
    }
    if stderr && result.stderr_raw.is_empty() {
        result.stderr_raw = load(result.stderr_digest.as_ref(), INLINE_STREAM)?;
    }
    let files: HashSet<&str> = files.iter().map(String::as_str).collect();
    for file in &mut result.output_files {
        if file.contents.is_empty() && files.contains(file.path.as_str()) {
            file.contents = load(file.digest.as_ref(), usize::MAX)?;
        }
    }
    Ok(())
}

/// Makes a result that came from outside what every client can read: contents that travelled inside it become blobs,
/// and `execution_metadata` is there, without which Buck2 fails.
pub fn normalize(
    store: &Store,
    result: &mut reapi::ActionResult,
    function: DigestFunction,
) -> Result<(), StoreError> {
    for (raw, digest) in [
        (&mut result.stdout_raw, &mut result.stdout_digest),
        (&mut result.stderr_raw, &mut result.stderr_digest),
    ] {
        if digest.as_ref().is_some_and(|d| d.hash.is_empty()) {
            *digest = None;
        }
        if !raw.is_empty() {
            // What the client says about content that it sends along is checked by computing it.
            *digest = Some(store.put_bytes(function, raw)?.into());
            if raw.len() > INLINE_STREAM {
                *raw = Bytes::new();
            }
        }
    }
    for file in &mut result.output_files {
        if !file.contents.is_empty() {
            let contents = std::mem::take(&mut file.contents);
            file.digest = Some(store.put_bytes(function, &contents)?.into());
        }
    }
    result.execution_metadata.get_or_insert_default();
    Ok(())
}
