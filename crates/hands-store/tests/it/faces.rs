//! Trees whose entries have times of their own: large blobs stand in them as files beside the blob's.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hands_proto::reapi;
use hands_store::{Staged, Store};
use hands_types::{Digest, Mtime};
use prost::Message as _;

use super::common::{SHA, blob, config, open};

/// Bytes of a file that does not stand in a pack.
const SIZE: usize = 200_000;

/// Stores a tree of one large file by some name, changed at some time.
fn tree(store: &Store, name: &str, seed: u64, seconds: i64) -> (Digest, Digest) {
    let (digest, bytes) = blob(SHA, seed, SIZE);
    store.put(digest, bytes).unwrap();
    let file = reapi::FileNode {
        name: name.to_owned(),
        digest: Some((&digest).into()),
        node_properties: reapi::NodeProperties::of_mtime(Mtime::new(seconds, 0)),
        ..Default::default()
    };
    let root = reapi::Directory { files: vec![file], ..Default::default() };
    (store.put_bytes(SHA, &root.encode_to_vec()).unwrap(), digest)
}

fn path(store: &Store, staged: &Staged, name: &str) -> PathBuf {
    store.stager().root().join(&staged.lowers()[0]).join(name)
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_blob_that_stands_in_a_warm_tree_with_another_time_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(2 << 20);
    let store = Store::open(config).unwrap();
    let (root, large) = tree(&store, "file", 1, 1_700_000_000);
    let staged = store.stager().stage(&root).unwrap();
    for n in 0..60 {
        let (digest, bytes) = blob(SHA, 1000 + n, 100_000);
        store.put(digest, bytes).unwrap();
    }
    assert_eq!(store.missing(&[large]).unwrap(), [], "its tree holds its bytes anyway");
    // Bytes that a tree holds count, even if the blob is deleted.
    let before = store.gc().unwrap().file_bytes;
    assert!(store.delete(&large).unwrap());
    assert!(path(&store, &staged, "file").exists());
    assert_eq!(before - store.usage().file_bytes, large.size.div_ceil(4096) * 4096);
    drop(staged);
}

#[test]
fn a_time_that_the_disk_can_not_hold_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    // Beyond what ext4 and XFS have room for.
    let late = 99_999_999_999;
    let (one, _) = tree(&store, "one", 1, late);
    let (two, _) = tree(&store, "two", 1, late);
    let staged = [&one, &two].map(|root| store.stager().stage_whole(root).unwrap());
    let files = [(&staged[0], "one"), (&staged[1], "two")].map(|(s, name)| path(&store, s, name));
    assert_eq!(inode(&files[0]), inode(&files[1]), "made anew");
    let lowers = staged[0].lowers().to_vec();
    drop((staged, store));
    store = open(dir.path());
    assert_eq!(store.stager().stage(&one).unwrap().lowers(), lowers, "taken for damaged");
}

#[test]
fn stagings_at_the_same_time_share_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..20 {
        let names = ["a", "b", "c", "d"];
        let roots = names.map(|name| tree(&store, name, round, 1_700_000_000).0);
        let start = std::sync::Barrier::new(names.len());
        let staged = std::thread::scope(|scope| {
            roots
                .map(|root| {
                    let (store, start) = (&store, &start);
                    scope.spawn(move || {
                        start.wait();
                        store.stager().stage_whole(&root).unwrap()
                    })
                })
                .map(|thread| thread.join().unwrap())
        });
        let mut inodes: Vec<u64> =
            staged.iter().zip(names).map(|(s, name)| inode(&path(&store, s, name))).collect();
        inodes.dedup();
        assert_eq!(inodes.len(), 1, "round {round}: copies that nobody counts");
    }
}
