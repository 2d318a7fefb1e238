//! Looks beside other doings: somebody looks or reads, names come and go.

use hands_types::DigestFunction;
use prost::Message as _;

use super::*;
use crate::config::StoreConfig;

const SHA: DigestFunction = DigestFunction::Sha256;

/// A store with a staged tree of one file that is large enough to share its inode with its blob.
fn staged(dir: &Path) -> (Store, Staged) {
    let config = StoreConfig { reserve: 0, ..StoreConfig::new(dir.join("store")) };
    let store = Store::open(config).unwrap();
    let tree = stage(&store, "file");
    (store, tree)
}

fn stage(store: &Store, name: &str) -> Staged {
    let digest = store.put_bytes(SHA, &[7; 100_000]).unwrap();
    let file = hands_proto::reapi::FileNode {
        name: name.to_owned(),
        digest: Some((&digest).into()),
        ..Default::default()
    };
    let root = hands_proto::reapi::Directory { files: vec![file], ..Default::default() };
    let root = store.put_bytes(SHA, &root.encode_to_vec()).unwrap();
    store.stager().stage_whole(&root).unwrap()
}

fn await_due(tree: &Tree) {
    while !tree.is_look_due(Instant::now()) {
        std::thread::yield_now();
    }
}

#[test]
fn whoever_must_not_block_waits_for_no_look() {
    let dir = tempfile::tempdir().unwrap();
    let (store, staged) = staged(dir.path());
    let root = *staged.root_digest();
    let made = |name: &str| Made { operation: name.into(), instance: "".into(), action: root };
    staged.note(&made("before"));
    await_due(&staged.tree);
    let turn = staged.tree.looks.turn();
    // Each of these would stand still here for as long as the look takes.
    assert!(store.stager().ready(&root).is_none());
    staged.note(&made("meanwhile"));
    assert!(staged.is_look_due());
    assert!(!store.is_look_due(), "somebody is at it");
    store.look();
    let sum = sum(&store.inner.tree_path(&staged.tree), &store.inner.linked, Purpose::Look, None);
    turn.confirm(&sum.unwrap());
    drop(turn);
    assert!(store.stager().ready(&root).is_some());
    // What was noted meanwhile was perhaps made after the look had passed.
    assert_eq!(lock(&staged.tree.looks.known).made, [made("meanwhile")]);
}

#[test]
fn a_quick_look_ends_when_it_takes_longer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, staged) = staged(dir.path());
    let path = store.inner.tree_path(&staged.tree);
    let ended = sum(&path, &store.inner.linked, Purpose::Look, Some(Duration::ZERO));
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    // Nobody takes that for damage; the next one is left to those who may block.
    let turn = staged.tree.looks.turn();
    turn.is_slow();
    drop(turn);
    await_due(&staged.tree);
    assert!(store.stager().ready(staged.root_digest()).is_none());
    assert!(store.inner.look(&staged.tree));
    assert!(staged.tree.is_sound());
}

#[test]
fn names_that_come_and_go_meanwhile_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (store, one) = staged(dir.path());
    let inner = &store.inner;
    let path = inner.tree_path(&one.tree);
    let file = path.join("file");
    // Seen before a name comes, compared after.
    let before = file.symlink_metadata().unwrap();
    let two = stage(&store, "another");
    assert_eq!(inner.linked.expects(&before, || file.symlink_metadata()), Some(true));
    // The same while a tree is read.
    let turn = one.tree.looks.turn();
    let taken = sum(&path, &inner.linked, Purpose::Take, None).unwrap();
    let three = stage(&store, "a third");
    inner.end_look(&one.tree, &turn, &taken, Soundness::Sound);
    drop(turn);
    for staged in [&one, &two, &three] {
        await_due(&staged.tree);
        assert!(inner.look(&staged.tree), "taken for touched");
    }
    // What another program does to it is damage.
    await_due(&one.tree);
    let times = std::fs::FileTimes::new().set_modified(before.modified().unwrap());
    std::fs::File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
    assert_eq!(inner.linked.expects(&before, || file.symlink_metadata()), Some(false));
    assert!(!inner.look(&one.tree));
}
