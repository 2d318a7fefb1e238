//! What the disk has spoiled behind the store's back.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hands_store::{Made, StageError, Staged, Store};
use hands_types::{Digest, DigestFunction};

use super::common::{SHA, blob, open};
use super::staging::{changed, expected, golden, merged, tree};

/// Changes some bytes and leaves everything else as it was.
fn spoil(path: &Path) {
    let before = fs::metadata(path).unwrap();
    // As root the mode does not matter; as another user it is what protects the file.
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"spoil", before.len() / 2).unwrap();
    file.set_times(fs::FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

fn large_blob(store: &Store, digest: &Digest) -> std::path::PathBuf {
    store.dir().join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
}

#[test]
fn a_staged_tree_is_read_before_it_is_used_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (one, two) = (tree(&store, &golden()), tree(&store, &changed()));
    let (large, content) = blob(SHA, 3, 200_000);
    let large_blob = large_blob(&store, &large);
    let twin = dir.path().join("store/exec/sha256").join(&large.hex()[..2]).join(large.hex());
    let trees = store.stager().root().to_owned();
    let lowers = |store: &Store, root| store.stager().stage(root).unwrap().lowers().to_vec();
    let is_right = |store: &Store| {
        for (root, wanted) in [(&one, golden()), (&two, changed())] {
            let staged = store.stager().stage(root).unwrap();
            assert_eq!(merged(store.stager().root(), &staged), expected(&wanted));
        }
    };
    let (whole, delta) = (lowers(&store, &one), lowers(&store, &two));
    assert_eq!((whole.len(), delta.len()), (1, 2));
    drop(store);
    // What is as it was stays.
    store = open(dir.path());
    assert!(store.stager().ready(&one).is_none(), "nobody has read it yet");
    assert_eq!((lowers(&store, &one), lowers(&store, &two)), (whole, delta));
    assert!(store.stager().ready(&two).is_some());
    // A small file is the tree's own: the blob is well, and the tree is made anew. A difference to it goes with it.
    for (root, path) in [(&one, "a/tool"), (&two, "a/new/deep/file")] {
        let spoiled = trees.join(&lowers(&store, root)[0]).join(path);
        drop(store);
        spoil(&spoiled);
        store = open(dir.path());
        is_right(&store);
    }
    // All executable names of a large blob share a file of their own.
    drop(store);
    spoil(&twin);
    store = open(dir.path());
    is_right(&store);
    assert_eq!(store.usage().corrupt, 0);
    // The blob and the trees share one, too: there is nothing to make them of.
    drop(store);
    spoil(&large_blob);
    store = open(dir.path());
    match store.stager().stage(&one) {
        Err(StageError::Missing(missing)) => assert_eq!(missing, [large]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.usage().corrupt, 1);
    store.put(large, content).unwrap();
    is_right(&store);
}

/// Before any tree has it, and after a restart: what an action is to see is what its digest says.
#[test]
fn a_large_blob_that_is_damaged_before_a_tree_has_it_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let root = tree(&store, &golden());
    let (large, content) = blob(SHA, 3, 200_000);
    let is_missing = |store: &Store| match store.stager().stage(&root) {
        // The tree has it under two names.
        Err(StageError::Missing(missing)) => assert_eq!(missing, [large, large]),
        other => panic!("{other:?}"),
    };
    for restarts in [false, true] {
        spoil(&large_blob(&store, &large));
        if restarts {
            drop(store);
            store = open(dir.path());
        }
        is_missing(&store);
        store.put(large, content.clone()).unwrap();
    }
    let staged = store.stager().stage(&root).unwrap();
    assert_eq!(merged(store.stager().root(), &staged), expected(&golden()));
}

/// A look is due again: a tenth of a second after the last one.
fn await_look(store: &Store, root: &Digest) {
    while store.stager().ready(root).is_some() {
        std::thread::yield_now();
    }
}

/// Looks until the damage is found.
fn await_damage(staged: &Staged) {
    let begun = Instant::now();
    while staged.confirm().unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the damage is not found");
        std::thread::yield_now();
    }
}

#[test]
fn a_warm_tree_that_is_damaged_is_made_anew_and_names_what_was_made_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (one, two) = (tree(&store, &golden()), tree(&store, &changed()));
    let (large, content) = blob(SHA, 3, 200_000);
    let twin = dir.path().join("store/exec/sha256").join(&large.hex()[..2]).join(large.hex());
    let trees = store.stager().root().to_owned();
    let stage = |root| store.stager().stage(root).unwrap();
    let is_right = || {
        for (root, wanted) in [(&one, golden()), (&two, changed())] {
            assert_eq!(merged(store.stager().root(), &stage(root)), expected(&wanted));
        }
    };
    let made = |n: u64| Made {
        operation: format!("operation-{n}").into(),
        instance: "".into(),
        action: blob(SHA, n, 1).0,
    };
    // A tree that nobody touches stays, and results made with it are confirmed.
    let (first, second) = (stage(&one), stage(&two));
    first.note(&made(1));
    // Nobody asks for the tree meanwhile: whoever does may look by himself, and then none is due.
    let begun = Instant::now();
    while !store.is_look_due() {
        assert!(begun.elapsed() < Duration::from_secs(20), "no look is due");
        std::thread::yield_now();
    }
    store.look();
    assert!(!store.is_look_due(), "what a look has confirmed is in no doubt");
    assert_eq!(stage(&one).lowers(), first.lowers());
    assert_eq!(stage(&two).lowers(), second.lowers());
    drop((first, second));
    // Neither content nor times give it away, except the time that nobody can set. Modes count, and what is new.
    let added = |path: &Path| fs::write(path.with_file_name("added"), "").unwrap();
    let no_mode =
        |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let ways: [(&Digest, &str, &dyn Fn(&Path)); 4] = [
        (&one, "a/tool", &spoil),
        (&two, "a/new/deep/file", &spoil),
        (&one, "a/tool", &no_mode),
        (&one, "a/tool", &added),
    ];
    for (n, (root, path, damage)) in (2..).zip(ways) {
        let staged = stage(root);
        await_look(&store, root);
        assert!(stage(root).lowers() == staged.lowers() && staged.confirm().unwrap());
        staged.note(&made(n));
        damage(&trees.join(&staged.lowers()[0]).join(path));
        await_damage(&staged);
        let damages = store.damages();
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert_eq!((damages[0].root, &damages[0].made[..]), (*root, &[made(n)][..]));
        is_right();
    }
    // All executable names of a large blob share a file.
    let staged = stage(&one);
    spoil(&twin);
    await_damage(&staged);
    is_right();
    assert_eq!(store.usage().corrupt, 0);
    // The blob and the trees share one, too: there is nothing to make them of.
    drop(staged);
    await_look(&store, &one);
    spoil(&large_blob(&store, &large));
    match store.stager().stage(&one) {
        Err(StageError::Missing(missing)) => assert_eq!(missing, [large]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.usage().corrupt, 1);
    store.put(large, content).unwrap();
    is_right();
}

#[test]
fn a_tree_that_was_touched_and_whose_digests_are_gone_is_unknown_and_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let root = tree(&store, &golden());
    let staged = store.stager().stage(&root).unwrap();
    let made = Made { operation: "operation".into(), instance: "".into(), action: root };
    staged.note(&made);
    // What is decoded stays in memory for a while: after a restart it is not.
    let lowers = staged.lowers().to_vec();
    drop((staged, store));
    let store = open(dir.path());
    let content = store.read(&root).unwrap().unwrap();
    assert!(store.delete(&root).unwrap());
    assert!(matches!(store.stager().stage(&root), Err(StageError::Missing(_))));
    assert!(store.damages().is_empty(), "nobody knows of any damage");
    store.put(root, content).unwrap();
    let staged = store.stager().stage(&root).unwrap();
    assert_eq!(staged.lowers(), lowers, "it was sound");
}

#[test]
fn the_time_of_a_directory_or_of_a_link_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let root = tree(&store, &golden());
    for name in ["b/c", "dangling", ""] {
        let staged = store.stager().stage(&root).unwrap();
        let path = store.stager().root().join(&staged.lowers()[0]).join(name);
        let time = rustix::fs::Timespec { tv_sec: 1_600_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, flags).unwrap();
        await_damage(&staged);
        assert_eq!(
            merged(store.stager().root(), &store.stager().stage(&root).unwrap()),
            expected(&golden())
        );
    }
}

#[test]
fn all_is_read_and_what_is_spoiled_is_named_and_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let sizes = [10, 1000, 20_000, 300_000];
    let mut blobs: Vec<(Digest, Bytes)> = Vec::new();
    for n in 0..1500 {
        let function = DigestFunction::ALL[n % DigestFunction::ALL.len()];
        blobs.push(blob(function, n as u64, if n < 40 { sizes[n / 2 % 4] } else { 50 }));
    }
    for (digest, bytes) in &blobs {
        store.put(*digest, bytes.clone()).unwrap();
    }
    let mut pages = 0;
    let verified = store.verify(|so_far| {
        pages += 1;
        assert!(so_far.corrupt.is_empty());
        std::ops::ControlFlow::Continue(())
    });
    let verified = verified.unwrap();
    assert_eq!(verified.blobs, 1500);
    assert_eq!(verified.bytes, blobs.iter().map(|(digest, _)| digest.size).sum::<u64>());
    assert_eq!(pages, 2, "others may write between two pages");
    let large = blobs.iter().find(|(d, _)| d.size == 300_000 && d.function == SHA).unwrap();
    spoil(&large_blob(&store, &large.0));
    let verified = store.verify(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((verified.blobs, verified.corrupt), (1500, vec![large.0]));
    assert_eq!(store.missing(&[large.0]).unwrap(), [large.0]);
    assert_eq!(fs::read_dir(store.dir().join("quarantine")).unwrap().count(), 1);
    let stopped = store.verify(|_| std::ops::ControlFlow::Break(())).unwrap();
    assert!(stopped.blobs < 1499);
}

#[test]
fn an_index_that_is_garbage_is_put_aside_and_blobs_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = [blob(SHA, 1, 100), blob(SHA, 2, 200_000)];
    let store = open(dir.path());
    for (digest, bytes) in &blobs {
        store.put(*digest, bytes.clone()).unwrap();
    }
    drop(store);
    let index = dir.path().join("store/index.db");
    let garbage = "no index ".repeat(10_000);
    fs::write(&index, &garbage).unwrap();
    let store = open(dir.path());
    for (digest, bytes) in &blobs {
        assert_eq!(store.read(digest).unwrap().as_ref(), Some(bytes), "{digest}");
    }
    assert_eq!(fs::read_to_string(index.with_extension("damaged.db")).unwrap(), garbage);
}

#[test]
fn a_store_whose_directory_is_emptied_takes_nothing_in_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (digest, bytes) = blob(SHA, 1, 100);
    store.put(digest, bytes).unwrap();
    for entry in fs::read_dir(store.dir()).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
    for (name, size) in [(2, 100), (3, 200_000)] {
        let (digest, bytes) = blob(SHA, name, size);
        let error = store.put(digest, bytes).unwrap_err();
        assert!(error.to_string().contains("was deleted while it was in use"), "{error}");
    }
}
