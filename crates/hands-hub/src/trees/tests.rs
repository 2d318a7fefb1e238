use std::sync::mpsc;
use std::thread;

use hands_proto::reapi;
use hands_store::StoreConfig;
use hands_types::DigestFunction;
use prost::Message as _;

use super::*;

/// What large directories become is bounded together: they are read one after the other, and small ones meanwhile.
#[test]
fn large_directories_are_read_in_turn() {
    let dir = std::env::temp_dir().join(format!("hands-hub-trees-{}", std::process::id()));
    let store = Store::open(StoreConfig::new(dir.join("store"))).unwrap();
    let put = |bytes: &[u8]| store.put_bytes(DigestFunction::Sha256, bytes).unwrap();
    let file = put(b"content");
    let node = |n: usize| reapi::FileNode {
        name: format!("{n:08}"),
        digest: Some(file.into()),
        ..Default::default()
    };
    let tree = |n| {
        let directory =
            reapi::Directory { files: (0..n).map(node).collect(), ..Default::default() };
        put(&directory.encode_to_vec())
    };
    let (small, large) = (tree(10), tree(20_000));
    assert!(small.size < LARGE && large.size > LARGE);
    let trees = Trees::new(store.clone(), Duration::from_secs(60));
    thread::scope(|scope| {
        // Another one is being read.
        let turn = trees.large.lock().unwrap();
        let (done, seen) = mpsc::channel();
        let trees = &trees;
        scope.spawn(move || done.send(trees.look(&large).unwrap()).unwrap());
        assert!(matches!(trees.look(&small).unwrap(), Verdict::Whole(_)));
        seen.recv_timeout(Duration::from_millis(300)).expect_err("it has not waited");
        drop(turn);
        assert!(matches!(seen.recv().unwrap(), Verdict::Whole(_)));
    });
    drop((trees, store));
    std::fs::remove_dir_all(&dir).unwrap();
}
