use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hands_store::{Pin, Store, StoreError};
use hands_types::{Digest, ErrorClass};

use super::common::{Random, SHA, blob, config};

const QUOTA: u64 = 2 << 20;
/// Most bytes of a pack under so small a quota: its limit, an eighth of it moved at once, and one blob more.
const PACK: u64 = (64 + 8 + 17) << 10;

struct Model {
    /// When each blob that was put and not seen missing was last used.
    used: BTreeMap<Digest, u64>,
    content: BTreeMap<Digest, (u64, usize)>,
    pins: Vec<Pin>,
    step: u64,
}

impl Model {
    fn pinned(&self, digest: &Digest) -> bool {
        self.pins.iter().any(|pin| pin.digests().contains(digest))
    }

    /// Compares with the store without using anything: what is gone was not pinned, and nothing pinned is gone.
    fn settle(&mut self, store: &Store) {
        let all: Vec<Digest> = self.used.keys().copied().collect();
        let gone = store.missing(&all).unwrap();
        for digest in &gone {
            assert!(!self.pinned(digest), "a pinned blob is gone");
            self.used.remove(digest);
        }
        // `missing` was a use of each.
        for used in self.used.values_mut() {
            *used = self.step;
        }
    }
}

#[test]
fn agrees_with_a_naive_model_under_eviction_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(QUOTA);
    for seed in [1, 2, 3] {
        let mut random = Random(seed);
        let mut store = Store::open(config.clone()).unwrap();
        let mut model =
            Model { used: BTreeMap::new(), content: BTreeMap::new(), pins: Vec::new(), step: 0 };
        for step in 0..3000 {
            model.step = step;
            let name = random.below(600);
            let size = usize::try_from(1 + name * name % 30_000).unwrap();
            let (digest, bytes) = blob(SHA, name, size);
            match random.below(20) {
                0..=11 => {
                    store.put(digest, bytes).unwrap();
                    model.used.insert(digest, step);
                    model.content.insert(digest, (name, size));
                }
                12..=15 => match store.read(&digest).unwrap() {
                    Some(read) => {
                        assert_eq!(read, bytes);
                        model.used.insert(digest, step);
                    }
                    None => {
                        assert!(!model.pinned(&digest) || !model.used.contains_key(&digest));
                        model.used.remove(&digest);
                    }
                },
                16 if model.pins.len() < 8 => {
                    let pin = store.pin([digest]);
                    // Pinned before it is asked for: what is here now stays.
                    if store.missing(&[digest]).unwrap().is_empty() {
                        model.used.insert(digest, step);
                        model.pins.push(pin);
                    }
                }
                17 if !model.pins.is_empty() => {
                    let at = random.pick(model.pins.len());
                    drop(model.pins.swap_remove(at));
                }
                18 if random.below(10) == 0 => {
                    // What was never put, or has been evicted, can't be deleted.
                    let deleted = store.delete(&digest).unwrap();
                    assert!(!deleted || model.used.contains_key(&digest));
                    assert!(store.read(&digest).unwrap().is_none());
                    model.used.remove(&digest);
                    model.pins.retain(|pin| !pin.digests().contains(&digest));
                }
                19 if random.below(40) == 0 => {
                    model.settle(&store);
                    model.pins.clear();
                    drop(store);
                    store = Store::open(config.clone()).unwrap();
                }
                _ => {}
            }
            // Compaction holds what it moves twice for a moment.
            assert!(store.usage().total() <= QUOTA + PACK, "{:?}", store.usage());
        }
        assert!(store.gc().unwrap().total() <= QUOTA);
        model.settle(&store);
        assert!(model.used.len() > 20);
        for digest in model.used.keys() {
            let (name, size) = model.content[digest];
            assert_eq!(store.read(digest).unwrap(), Some(blob(SHA, name, size).1));
        }
        model.pins.clear();
    }
}

#[test]
fn the_least_recently_used_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(QUOTA);
    let store = Store::open(config).unwrap();
    // Large ones, whose room is free at once: 20 KiB take 20,480 bytes and a record.
    let blobs: Vec<_> = (0..90).map(|n| blob(SHA, n, 20 << 10)).collect();
    for (digest, bytes) in &blobs {
        store.put(*digest, bytes.clone()).unwrap();
    }
    // Use every third again, then write as much as makes a third of all leave.
    let again: Vec<Digest> = blobs.iter().step_by(3).map(|(digest, _)| *digest).collect();
    assert_eq!(store.missing(&again).unwrap(), []);
    for n in 0..40 {
        let (digest, bytes) = blob(SHA, 1000 + n, 20 << 10);
        store.put(digest, bytes).unwrap();
    }
    let gone = store.missing(&blobs.iter().map(|(digest, _)| *digest).collect::<Vec<_>>()).unwrap();
    assert!((25..=55).contains(&gone.len()), "{}", gone.len());
    let expected: Vec<Digest> = blobs
        .iter()
        .enumerate()
        .filter(|(i, _)| i % 3 != 0)
        .map(|(_, (digest, _))| *digest)
        .collect();
    assert_eq!(gone, expected[..gone.len()]);
}

#[test]
fn more_pins_than_are_kept_by_name_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(QUOTA);
    config.most_pinned = 100;
    let store = Store::open(config).unwrap();
    let expires = Instant::now() + Duration::from_secs(3600);
    let blobs: Vec<_> = (0..300).map(|n| blob(SHA, n, 20 << 10)).collect();
    for (n, (digest, bytes)) in blobs.iter().enumerate() {
        let name = if n < 30 { "small" } else { "large" };
        store.pin_named(name, &[*digest], expires);
        store.put(*digest, bytes.clone()).unwrap();
    }
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    // The large one is kept by time, the small one still by name.
    assert_eq!(store.usage().pinned, 30);
    assert!(store.gc().unwrap().total() > 2 * QUOTA);
    assert_eq!(store.missing(&digests).unwrap(), []);
    assert!(store.release_named("large"));
    assert!(store.gc().unwrap().total() <= QUOTA);
    assert_eq!(store.missing(&digests[..30]).unwrap(), []);
    assert!(store.release_named("small") && !store.release_named("small"));
    assert_eq!(store.usage().pinned, 0);
}

#[test]
fn pins_may_exceed_the_quota_up_to_the_reserve_and_nothing_else_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(QUOTA);
    let store = Store::open(config.clone()).unwrap();
    let blobs: Vec<_> = (0..200).map(|n| blob(SHA, n, 20 << 10)).collect();
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    store.pin_named("invocation", &digests, Instant::now() + Duration::from_secs(3600));
    for (digest, bytes) in &blobs {
        store.put(*digest, bytes.clone()).unwrap();
    }
    assert!(store.usage().total() > QUOTA);
    assert_eq!(store.missing(&digests).unwrap(), []);
    assert!(store.release_named("invocation"));
    assert!(store.gc().unwrap().total() <= QUOTA);
    drop(store);

    // Pins end with the process. What was used in the last minutes of it stays for as long after the next start, so
    // that whoever pinned it can pin it again; what was used before does not.
    config.restart_grace = Duration::from_secs(900);
    let store = Store::open(config.clone()).unwrap();
    let (kept, _): (Vec<_>, Vec<_>) = digests.iter().partition(|d| store.contains(d).unwrap());
    for n in 0..200 {
        let (digest, bytes) = blob(SHA, 2000 + n, 20 << 10);
        store.put(digest, bytes).unwrap();
    }
    assert!(!kept.is_empty());
    assert_eq!(store.missing(&kept).unwrap(), []);
    // What came since has no such excuse.
    let usage = store.gc().unwrap();
    assert!(usage.total() < QUOTA + QUOTA / 2 && !usage.grace.is_zero(), "{usage:?}");
    drop(store);
    config.restart_grace = Duration::ZERO;
    let store = Store::open(config.clone()).unwrap();
    assert!(store.gc().unwrap().total() <= QUOTA);
    drop(store);

    // A reserve that the disk can't give: everything is refused, with the numbers.
    config.reserve = 1 << 60;
    let store = Store::open(config).unwrap();
    let (digest, bytes) = blob(SHA, 1000, 100);
    let error = store.put(digest, bytes).unwrap_err();
    assert!(matches!(error, StoreError::Full { quota: QUOTA, reserve, .. } if reserve == 1 << 60));
    assert!(error.is_full() && error.class() == ErrorClass::Environment);
}

#[test]
fn what_a_client_sends_is_bounded_by_the_quota_from_its_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(QUOTA);
    let store = Store::open(config).unwrap();
    // Some open work: then the quota may be exceeded, but not by what is only being written.
    let _open = store.pin([blob(SHA, 1, 10).0]);
    let (mut never, _) = blob(SHA, 2, 10);
    never.size = QUOTA + 1;
    let error = store.upload(never).unwrap_err();
    assert!(error.is_beyond_quota() && error.is_full(), "{error}");
    let size = usize::try_from(QUOTA / 3 * 2).unwrap();
    let [(one, first), (two, second)] = [3, 4].map(|name| blob(SHA, name, size));
    let mut whole = store.upload(one).unwrap();
    whole.write(&first).unwrap();
    let mut refused = store.upload(two).unwrap();
    let pieces = second.chunks(16 << 10);
    let error =
        pieces.map(|piece| refused.write(&Bytes::copy_from_slice(piece))).find_map(Result::err);
    let error = error.expect("it does not fit beside the other");
    assert!(error.is_full() && !error.is_beyond_quota(), "{error}");
    assert!(store.usage().temp_bytes <= QUOTA);
    drop(refused);
    whole.commit().unwrap();
    assert!(store.contains(&one).unwrap());
}
