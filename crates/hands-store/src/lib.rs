//! Blobs, action results and staged trees on disk, behind one cloneable, synchronous handle.
//!
//! Every call may block on the disk for a short while; asynchronous callers decide which ones deserve a blocking
//! thread. Calls answered from memory: [`Store::missing`] when warm, [`Store::action`] on a hit, [`Stager::stage`] of a root
//! that is staged.
//!
//! What stands on disk below [`StoreConfig::dir`]:
//!
//! | place | what |
//! | --- | --- |
//! | `lock` | held by the process that has the store open |
//! | `index.db` | SQLite: where each blob is, when it was used, action results, staged trees |
//! | `packs/N.pack` | small blobs, appended one after the other; also the log from which the index is completed after a kill |
//! | `blobs/F/HH/HEX` | large blobs, one read-only file each; `exec/F/HH/HEX` the executable twin where one was needed |
//! | `trees/N` | staged directory trees |
//! | `tmp/` | unfinished files; emptied at start |
//! | `quarantine/` | content that was not what its digest says |
#![warn(missing_docs)]
#![forbid(unsafe_code)]
/*
PUBLIC API (bodies arrive within minutes):

#[derive(Clone)] Store                    // Clone + Send + Sync
Store::open(StoreConfig) -> Result<Store, StoreError>
StoreConfig::new(dir: impl Into<PathBuf>) -> StoreConfig   // { dir, quota, reserve, durability, restart_grace, action_bytes, … } all pub
store.dir() -> &Path ; store.usage() -> Usage { blob_bytes, tree_bytes, total, pinned, quota, free, blobs…}
store.missing(&[Digest]) -> Result<Vec<Digest>, StoreError>      // keeps order, extends life; empty blob never missing
store.contains(&Digest) -> Result<bool, StoreError>
store.read(&Digest) -> Result<Option<Bytes>, StoreError>
store.reader(&Digest) -> Result<Option<BlobReader>, StoreError>
    BlobReader: size() -> u64 ; read_at(offset: u64, len: usize) -> Result<Bytes, StoreError> (short only at the end) ; file() -> Option<&File> (large blobs)
store.put(Digest, Bytes) -> Result<(), StoreError>
store.put_many(Vec<(Digest, Bytes)>) -> Vec<Result<(), StoreError>>
store.put_bytes(DigestFunction, Bytes) -> Result<Digest, StoreError>   // hashes
store.writer(Digest) -> Result<BlobWriter, StoreError> ; BlobWriter: write(&[u8]) -> Result<(), StoreError>, written() -> u64, commit() -> Result<(), StoreError>; drop discards
store.ingest(DigestFunction, &mut File) -> Result<Digest, StoreError>  // from its current position 0
store.delete(&Digest) -> Result<bool, StoreError>
digest_of_stream(DigestFunction, &mut dyn Read) -> io::Result<Digest>
store.pin(impl IntoIterator<Item = Digest>) -> Pin               // released on drop; Pin::add(digests)
store.pin_named(name: &str, &[Digest], expires: Instant) ; store.extend_named(name, Instant) -> bool ; store.release_named(name)
store.gc() -> Result<GcReport, StoreError>                        // evict down to the quota now
store.verify(…)                                                   // every blob
store.action(instance: &str, &Digest) -> Result<Option<Bytes>, StoreError>
store.action_put(instance: &str, Digest, Bytes) -> Result<(), StoreError>            // durable when it returns
store.action_put_then(instance: &str, Digest, Bytes, impl FnOnce(Result<(), StoreError>) + Send + 'static)   // same, without blocking
store.action_delete(instance: &str, &Digest) -> Result<bool, StoreError>
store.directory(&Digest) -> Result<Option<Arc<hands_tree::Directory>>, TreeError>   // decoded, checked, cached
store.stager() -> Stager ; Stager::stage(&Digest) -> Result<Staged, StageError> ; Stager::root() -> &Path
    Staged: lowers() -> &[PathBuf] (relative to Stager::root(), topmost first), root_digest() ; Clone; pin inside
    StageError::{Missing(Vec<Digest>), Invalid{digest, why}, Store(StoreError)}
store.close() // flushes; dropping the last handle does the same
StoreError::class() -> ErrorClass ; variants Full{..numbers..}, Mismatch{claimed, actual}, Size{..}, TooLarge, Changed, Newer, Locked, Io, Database
*/
