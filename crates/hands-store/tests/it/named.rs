//! Trees that stay by their names.

use hands_store::{NameError, StageError, Store, StoreConfig};
use hands_types::{Digest, ErrorClass, TreeName};

use super::common::{SHA, blob, config};
use super::staging::{Golden, tree};

const QUOTA: u64 = 2 << 20;

fn small(dir: &std::path::Path) -> StoreConfig {
    let mut config = config(dir);
    config.quota = Some(QUOTA);
    config
}

/// A tree of small and large files, some 150 KiB in all, of which one blob is in every such tree.
fn files(store: &Store, seed: u64) -> Digest {
    let one = |name: &str, seed: u64, size: usize| (name.to_owned(), format!("{seed}:{size}"));
    let large = one("large", 10_000 * seed, 100 << 10);
    let shared = one("shared", 7, 40 << 10);
    let small = (1..4).map(|n| one(&format!("below/{n}"), 10_000 * seed + n, 900));
    let golden: Golden = small.chain([large, shared]).collect();
    tree(store, &golden)
}

/// Fills the store with what nobody needs, several times over.
fn flood(store: &Store, from: u64) {
    for n in from..from + 400 {
        let (digest, bytes) = blob(SHA, n, if n % 2 == 0 { 3000 } else { 20 << 10 });
        store.put(digest, bytes).unwrap();
    }
    store.gc().unwrap();
}

fn name(text: &str) -> TreeName {
    TreeName::new(text).unwrap()
}

fn keep(store: &Store, text: &str, root: &Digest) -> Result<Option<Digest>, NameError> {
    let named = store.name_tree(&name(text), root);
    named.map(|(named, before)| {
        assert_eq!((named.name.as_str(), named.root), (text, *root));
        before
    })
}

fn is_whole(store: &Store, root: &Digest) -> bool {
    store.check_tree(root).unwrap().missing.is_empty()
}

#[test]
fn a_tree_with_a_name_stays_whatever_comes_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    let (kept, other, gone) = (files(&store, 1), files(&store, 2), files(&store, 3));
    assert_eq!(keep(&store, "a", &kept).unwrap(), None);
    assert_eq!(keep(&store, "b", &other).unwrap(), None);
    // Once more is nothing new.
    assert_eq!(keep(&store, "b", &other).unwrap(), None);
    let usage = store.usage();
    assert_eq!(usage.named, 2);
    // What both have in common counts once.
    assert!((240 << 10..290 << 10).contains(&usage.named_bytes), "{usage:?}");
    flood(&store, 1000);
    assert!(is_whole(&store, &kept) && is_whole(&store, &other) && !is_whole(&store, &gone));
    assert_eq!(store.usage().pinned, 0, "names are no open work");
    drop(store);

    let store = Store::open(small(dir.path())).unwrap();
    assert_eq!((store.usage().named, store.usage().named_bytes), (2, usage.named_bytes));
    flood(&store, 2000);
    assert!(is_whole(&store, &kept) && is_whole(&store, &other));
    assert!(store.usage().total() <= QUOTA, "{:?}", store.usage());
    let named = store.named_trees(&[]).unwrap();
    let names: Vec<_> = named.iter().map(|tree| (tree.name.as_str(), tree.root)).collect();
    assert_eq!(names, [("a", kept), ("b", other)]);
    assert_eq!(named[0].blobs, 7);
    let some = store.named_trees(&[name("b"), name("no"), name("b")]).unwrap();
    assert_eq!(some, named[1..]);

    // A name that is taken away, or given to another tree, lets its tree go, but for what another name keeps.
    assert_eq!(store.unname_tree(&name("no")).unwrap(), None);
    assert_eq!(store.unname_tree(&name("a")).unwrap().map(|tree| tree.root), Some(kept));
    let next = files(&store, 4);
    assert_eq!(keep(&store, "b", &next).unwrap(), Some(other));
    flood(&store, 3000);
    assert!(!is_whole(&store, &kept) && !is_whole(&store, &other) && is_whole(&store, &next));
    assert_eq!(store.unname_tree(&name("b")).unwrap().map(|tree| tree.root), Some(next));
    assert_eq!((store.usage().named, store.usage().named_bytes), (0, 0));
    flood(&store, 4000);
    assert!(!is_whole(&store, &next));
}

#[test]
fn what_is_not_whole_or_too_large_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(small(dir.path())).unwrap();
    let root = files(&store, 1);
    let (part, _) = blob(SHA, 10_001, 900);
    store.delete(&part).unwrap();
    let error = keep(&store, "x", &root).unwrap_err();
    assert_eq!(error.to_string(), format!("a blob of the tree {root} is not in the store"));
    assert!(store.delete(&root).unwrap(), "deleted");
    let error = keep(&store, "x", &root).unwrap_err();
    assert_eq!(error.to_string(), format!("the tree {root} is not in the store"));
    // No tree at all.
    let (file, bytes) = blob(SHA, 1, 100);
    store.put(file, bytes).unwrap();
    let error = keep(&store, "x", &file).unwrap_err();
    assert!(matches!(&error, NameError::Tree(StageError::Invalid { .. })), "{error}");
    // Half of the quota, alone and with what has names already.
    let sized = |seed: u64, kib: usize| {
        let golden = [("f".to_owned(), format!("{seed}:{}", kib << 10))];
        tree(&store, &golden.into_iter().collect())
    };
    let error = keep(&store, "x", &sized(50, 1100)).unwrap_err();
    assert!(error.to_string().contains("half of the store's quota of 2 MiB"), "{error}");
    assert_eq!(error.class(), ErrorClass::User);
    let half = sized(51, 600);
    keep(&store, "half", &half).unwrap();
    let error = keep(&store, "more", &sized(52, 600)).unwrap_err();
    assert!(error.to_string().contains("would take 1.1 MiB"), "{error}");
    assert_eq!(store.named_trees(&[name("more")]).unwrap(), []);
    // In place of the other there is room for it.
    let other = sized(53, 600);
    assert_eq!(keep(&store, "half", &other).unwrap(), Some(half));
    flood(&store, 1000);
    assert!(is_whole(&store, &other) && !is_whole(&store, &half));
    // What was refused is not kept all the same.
    assert!(!is_whole(&store, &sized_root(52, 600)));
}

/// The root of such a tree, without storing it here.
fn sized_root(seed: u64, kib: usize) -> Digest {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).unwrap();
    let golden = [("f".to_owned(), format!("{seed}:{}", kib << 10))];
    tree(&store, &golden.into_iter().collect())
}
