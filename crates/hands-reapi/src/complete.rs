//! What an action result refers to, and whether all of it is there.

mod outputs;

use std::collections::HashSet;

use bytes::Bytes;
use hands_proto::{Room, Tight, decode_blob, reapi};
use hands_store::{Store, StoreError};
use hands_types::limits::{INLINE_STREAM, MAX_BATCH, MAX_NAME};
use hands_types::text::said;
use hands_types::{Digest, DigestFunction};
use prost::Message;

use crate::Invocation;

pub use outputs::{BadResult, LookError, expected, missing_of};

/// A result in the action cache that was not looked at yet.
#[derive(Debug)]
pub struct CachedResult {
    instance: String,
    action: Digest,
    /// Bytes of it.
    size: usize,
    /// Decoded already, where it is small and can be.
    small: Option<reapi::ActionResult>,
}

/// Bytes of a result that takes a moment only: some 50 files.
const QUICK: usize = 8 << 10;
/// What a result becomes in memory for each of its bytes, where its files have short names.
const MEMORY: usize = 5;

impl CachedResult {
    /// Looks an action's result up. A large one is read again when it is wanted: who waits until there is memory for it has
    /// none of it meanwhile.
    pub fn find(store: &Store, instance: &str, action: Digest) -> Result<Option<Self>, StoreError> {
        Ok(store.action(instance, &action)?.map(|bytes| {
            let size = bytes.len();
            let small = (size <= QUICK).then(|| decode_blob(bytes).ok()).flatten();
            Self { instance: instance.to_owned(), action, size, small }
        }))
    }

    /// Whether [`CachedResult::read`] takes a moment only. Else it belongs on a blocking thread.
    pub fn is_quick(&self) -> bool {
        self.small.as_ref().is_some_and(|result| result.output_directories.is_empty())
    }

    /// Bytes of memory that the result may take.
    pub const fn memory(&self) -> usize {
        self.size.saturating_mul(MEMORY)
    }

    /// Bytes of memory that a look at the result may take at first: those of its largest tree, as far as that is known.
    pub fn expected(&self) -> usize {
        self.memory() + self.small.as_ref().map_or(0, expected)
    }

    /// The result, if every blob of it is here. Of one that is returned every blob's life is extended, and the invocation that
    /// asks keeps them. Blocks.
    pub fn read(
        &self,
        store: &Store,
        invocation: &Invocation,
        room: &mut Room,
    ) -> Result<Result<Option<reapi::ActionResult>, StoreError>, Tight> {
        let action = self.action;
        room.keep(self.memory())?;
        let result = match &self.small {
            Some(small) => small.clone(),
            None => match store.action(&self.instance, &action) {
                Ok(None) => return Ok(Ok(None)),
                // Another has taken its place.
                Ok(Some(bytes)) if bytes.len() > self.size => {
                    room.keep((bytes.len() - self.size).saturating_mul(MEMORY))?;
                    return self.of(store, bytes, invocation, room);
                }
                Ok(Some(bytes)) => return self.of(store, bytes, invocation, room),
                Err(error) => return Ok(Err(error)),
            },
        };
        self.whole(store, result, invocation, room)
    }

    fn of(
        &self,
        store: &Store,
        bytes: Bytes,
        invocation: &Invocation,
        room: &mut Room,
    ) -> Result<Result<Option<reapi::ActionResult>, StoreError>, Tight> {
        let Ok(result) = decode_blob(bytes) else {
            let action = self.action;
            tracing::warn!(%action, "an action result in the store can't be read and counts as none");
            return Ok(Ok(None));
        };
        self.whole(store, result, invocation, room)
    }

    fn whole(
        &self,
        store: &Store,
        result: reapi::ActionResult,
        invocation: &Invocation,
        room: &mut Room,
    ) -> Result<Result<Option<reapi::ActionResult>, StoreError>, Tight> {
        let action = self.action;
        match missing_of(store, &result, action.function, invocation, room) {
            Ok(missing) if missing.is_empty() => Ok(Ok(Some(result))),
            Ok(missing) => {
                tracing::debug!(%action, missing = missing.len(), "an action result has lost its blobs");
                Ok(Ok(None))
            }
            Err(LookError::Bad(error)) => {
                tracing::warn!(%action, %error, "an action result in the store can't be used and counts as none");
                Ok(Ok(None))
            }
            Err(LookError::Store(error)) => Ok(Err(error)),
            Err(LookError::Tight(tight)) => Err(tight),
        }
    }
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
    let metadata = result.execution_metadata.get_or_insert_default();
    // It is shown in lists.
    metadata.worker = said(&metadata.worker, MAX_NAME);
    // What hubs and workers say of an execution nobody says in their name.
    metadata.auxiliary_metadata.retain(|any| !any.type_url.contains("/hands.v1."));
    Ok(())
}
