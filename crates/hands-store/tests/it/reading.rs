use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hands_store::{StoreError, digest_of_stream};
use hands_types::{Digest, DigestFunction, ErrorClass};

use super::common::{Random, SHA, blob, config, open};

/// More than are looked up, appended or written down in one go.
#[test]
fn many_blobs_are_told_in_the_order_in_which_they_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let blobs: Vec<(Digest, Bytes)> = (0..1500).map(|n| blob(SHA, n, 20)).collect();
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let (there, missing): (Vec<_>, Vec<_>) = (0..).zip(&blobs).partition(|(n, _)| n % 3 > 0);
    let missing: Vec<Digest> = missing.into_iter().map(|(_, (digest, _))| *digest).collect();
    let outcomes = store.put_many(there.iter().map(|(_, blob)| (*blob).clone()).collect());
    assert!(outcomes.len() == 1000 && outcomes.iter().all(Result::is_ok));
    assert_eq!(store.missing(&digests).unwrap(), missing);
    store.flush().unwrap();
    assert_eq!(store.missing(&digests).unwrap(), missing);
    drop(store);
    // Now the database has to be asked.
    let store = open(dir.path());
    assert_eq!(store.missing(&digests).unwrap(), missing);
    for (_, (digest, bytes)) in there {
        assert_eq!(store.read(digest).unwrap().as_ref(), Some(bytes));
    }
}

#[test]
fn blobs_of_both_functions_come_back_by_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sizes = [1, 1000, 16 << 10, (16 << 10) + 1, 300_000, 5 << 20];
    let blobs: Vec<(Digest, Bytes)> = DigestFunction::ALL
        .into_iter()
        .flat_map(|function| sizes.map(|size| blob(function, size as u64, size)))
        .collect();
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(store.missing(&digests).unwrap(), digests);
    for (i, (digest, bytes)) in blobs.iter().enumerate() {
        match i % 3 {
            0 => store.put(*digest, bytes.clone()).unwrap(),
            1 => {
                let mut writer = store.writer(*digest).unwrap();
                for piece in bytes.chunks(70_000) {
                    writer.write(&Bytes::copy_from_slice(piece)).unwrap();
                }
                writer.commit().unwrap();
            }
            _ => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(bytes).unwrap();
                file.rewind().unwrap();
                assert_eq!(store.ingest(digest.function, &mut file).unwrap(), *digest);
            }
        }
    }
    let check = |store: &hands_store::Store| {
        assert_eq!(store.missing(&digests).unwrap(), []);
        for (digest, bytes) in &blobs {
            assert_eq!(store.read(digest).unwrap().as_ref(), Some(bytes));
            let reader = store.reader(digest).unwrap().unwrap();
            assert_eq!(reader.size(), digest.size);
            assert_eq!(reader.read_at(digest.size - 1, 10).unwrap(), bytes[bytes.len() - 1..]);
            assert_eq!(reader.read_at(digest.size + 5, 10).unwrap().len(), 0);
        }
    };
    check(&store);
    drop(store);
    check(&open(dir.path()));
}

#[test]
fn the_empty_blob_is_always_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for function in DigestFunction::ALL {
        let empty = hands_tree::empty(function);
        assert_eq!(store.missing(&[empty]).unwrap(), []);
        assert_eq!(store.read(&empty).unwrap(), Some(Bytes::new()));
        assert_eq!(store.reader(&empty).unwrap().unwrap().size(), 0);
        store.put(empty, Bytes::new()).unwrap();
        let lie = Digest { hash: [7; 32], ..empty };
        assert_eq!(store.missing(&[lie, lie]).unwrap(), [lie]);
    }
}

#[test]
fn what_is_not_what_it_says_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (digest, bytes) = blob(SHA, 1, 50_000);
    let (other, small) = blob(SHA, 2, 17);
    let refused = store.put(Digest { size: 50_000, ..other }, bytes.clone()).unwrap_err();
    assert!(matches!(refused, StoreError::Mismatch { actual, .. } if actual == digest));
    assert_eq!(refused.class(), ErrorClass::User);
    assert!(matches!(store.put(digest, small.clone()), Err(StoreError::Size { actual: 17, .. })));

    // Two gibibytes announced, seventeen bytes sent.
    let mut writer = store.writer(Digest { size: 2 << 30, ..other }).unwrap();
    writer.write(&small).unwrap();
    assert_eq!(store.usage().temp_bytes, 0);
    assert!(matches!(writer.commit(), Err(StoreError::Size { actual: 17, .. })));
    // More than announced fails at once; what was written to disk is gone.
    let mut writer = store.writer(Digest { size: 40_000, ..digest }).unwrap();
    writer.write(&bytes.slice(..39_000)).unwrap();
    assert!(matches!(writer.write(&bytes.slice(39_000..)), Err(StoreError::Size { .. })));
    drop(writer);
    assert_eq!(std::fs::read_dir(store.dir().join("tmp")).unwrap().count(), 0);
    assert!(matches!(
        store.writer(Digest { size: u64::MAX, ..other }),
        Err(StoreError::TooLarge { .. })
    ));
    let results =
        store.put_many(vec![(other, small.clone()), (digest, small.clone()), (other, small)]);
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
    assert_eq!(store.missing(&[digest, other]).unwrap(), [digest]);
}

/// Of so many bytes a thread of its own computes the digest.
#[test]
fn a_large_blob_that_comes_in_pieces_is_checked_to_its_last_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for function in DigestFunction::ALL {
        let (digest, bytes) = blob(function, 1, 20 << 20);
        let send = |bytes: &Bytes| {
            let mut writer = store.writer(digest).unwrap();
            for at in (0..bytes.len()).step_by(300_000) {
                writer.write(&bytes.slice(at..bytes.len().min(at + 300_000))).unwrap();
            }
            assert_eq!(writer.written(), bytes.len() as u64);
            writer
        };
        let mut spoiled = bytes.to_vec();
        *spoiled.last_mut().unwrap() ^= 1;
        let actual = hands_tree::hash(function, &spoiled);
        let refused = send(&spoiled.into()).commit().unwrap_err();
        assert!(matches!(refused, StoreError::Mismatch { actual: a, .. } if a == actual));
        let short = send(&bytes.slice(1..)).commit().unwrap_err();
        assert!(matches!(short, StoreError::Size { actual, .. } if actual == digest.size - 1));
        drop(send(&bytes));
        assert_eq!(std::fs::read_dir(store.dir().join("tmp")).unwrap().count(), 0);
        assert_eq!(store.missing(&[digest]).unwrap(), [digest]);
        send(&bytes).commit().unwrap();
        assert_eq!(store.read(&digest).unwrap().as_ref(), Some(&bytes));
    }
}

#[test]
fn corrupt_blobs_are_found_on_reading_and_can_be_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let (small, small_bytes) = blob(SHA, 1, 1000);
    let (large, large_bytes) = blob(SHA, 2, 100_000);
    let path = dir.path().join("store/blobs/sha256").join(&large.hex()[..2]).join(large.hex());
    let spoil = || {
        let mut pack = std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("store/packs/00000001.pack"))
            .unwrap();
        pack.seek(std::io::SeekFrom::Start(56 + 500)).unwrap();
        pack.write_all(b"spoiled").unwrap();
        // As root the mode does not matter; as another user it is what protects the file.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(std::io::SeekFrom::Start(77_777)).unwrap();
        file.write_all(b"spoiled").unwrap();
    };
    // Once while the store is open, once while it is closed.
    for round in 1..=2 {
        let mut store = open(dir.path());
        store.put(small, small_bytes.clone()).unwrap();
        store.put(large, large_bytes.clone()).unwrap();
        assert_eq!(store.read(&large).unwrap(), Some(large_bytes.clone()));
        if round == 2 {
            break;
        }
        spoil();
        assert_eq!(store.read(&small).unwrap(), None);
        assert!(store.reader(&large).unwrap().is_none());
        assert_eq!(store.usage().corrupt, 2);
        assert_eq!(store.missing(&[small, large]).unwrap(), [small, large]);
        assert_eq!(std::fs::read_dir(store.dir().join("quarantine")).unwrap().count(), 2);
        store.put(small, small_bytes.clone()).unwrap();
        store.put(large, large_bytes.clone()).unwrap();
        drop(store);
        // With its time restored nothing but the content tells.
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all(b"spoiled").unwrap();
        let fixed = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_times(std::fs::FileTimes::new().set_modified(fixed)).unwrap();
        file.rewind().unwrap();
        assert_ne!(digest_of_stream(SHA, &mut file).unwrap(), large);
        store = open(dir.path());
        assert_eq!(store.read(&large).unwrap(), None);
        assert_eq!(store.read(&small).unwrap(), Some(small_bytes.clone()));
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (digest, bytes) = blob(SHA, 3, 9 << 20);
    let path = dir.path().join("file");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(store.ingest(SHA, &mut std::fs::File::open(&path).unwrap()).unwrap(), digest);
    // A file of the proc system says that it is empty and is not.
    let mut lying = std::fs::File::open("/proc/self/status").unwrap();
    assert!(matches!(store.ingest(SHA, &mut lying), Err(StoreError::Changed { before: 0, .. })));
}

#[test]
fn action_results_are_kept_by_instance_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.action_quota = 100_000;
    let store = hands_store::Store::open(config.clone()).unwrap();
    let action = |n| blob(SHA, n, 10).0;
    let value = |n: u64| Bytes::from(vec![u8::try_from(n % 251).unwrap(); 1000]);
    store.action_put("a", action(0), value(1)).unwrap();
    store.action_put("b", action(0), value(2)).unwrap();
    store.action_put("a", action(0), value(3)).unwrap();
    assert_eq!(store.action("a", &action(0)).unwrap(), Some(value(3)));
    assert_eq!(store.action("b", &action(0)).unwrap(), Some(value(2)));
    assert_eq!(store.action("c", &action(0)).unwrap(), None);
    assert!(store.action_delete("b", &action(0)).unwrap());
    assert!(!store.action_delete("b", &action(0)).unwrap());
    drop(store);
    let store = hands_store::Store::open(config.clone()).unwrap();
    assert_eq!(store.action("a", &action(0)).unwrap(), Some(value(3)));
    assert_eq!(store.action("b", &action(0)).unwrap(), None);
    for n in 1..200 {
        store.action_put("a", action(n), value(n)).unwrap();
    }
    drop(store);
    let store = hands_store::Store::open(config).unwrap();
    assert_eq!(store.action("a", &action(0)).unwrap(), None);
    let kept = (1..200).filter(|&n| store.action("a", &action(n)).unwrap().is_some()).count();
    assert!((70..=83).contains(&kept), "{kept}");
    assert_eq!(store.action("a", &action(199)).unwrap(), Some(value(199)));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(hands_store::Store::open(config(dir.path())), Err(StoreError::Locked { .. })));
    drop(store);
    drop(open(dir.path()));
}

#[test]
fn digests_made_to_collide_cost_no_more_than_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // As many as one message brings. Tables look at the first bytes.
    let took = |head: Option<[u8; 8]>| {
        let mut random = Random(1);
        let digests: Vec<Digest> = (0..40_000)
            .map(|_| {
                let mut hash = [0; 32];
                hash.fill_with(|| u8::try_from(random.below(256)).unwrap());
                if let Some(head) = head {
                    hash[..8].copy_from_slice(&head);
                }
                Digest { function: SHA, hash, size: 1 }
            })
            .collect();
        let start = Instant::now();
        assert_eq!(store.missing(&digests).unwrap().len(), digests.len());
        store.pin_named("of a client", &digests, Instant::now() + Duration::from_secs(900));
        start.elapsed()
    };
    let (honest, hostile) = (took(None), took(Some([7; 8])));
    assert!(hostile < honest * 20, "{hostile:?}, others {honest:?}");
}
