use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use hands_proto::reapi;
use hands_store::{INPUT_MTIME, StageError, Staged, Store};
use hands_tree::{Entry, Leaf};
use hands_types::{Digest, RelPath};
use prost::Message as _;

use super::common::{SHA, blob, config, open};

/// What is staged, path by path, in words.
pub(crate) type Golden = BTreeMap<String, String>;

fn encode(directory: &hands_tree::Directory) -> Vec<u8> {
    let digest = |digest: &Digest| Some(reapi::Digest::from(digest));
    reapi::Directory {
        files: directory
            .files
            .iter()
            .map(|node| reapi::FileNode {
                name: node.name.clone(),
                digest: digest(&node.digest),
                is_executable: node.executable,
                ..Default::default()
            })
            .collect(),
        directories: directory
            .directories
            .iter()
            .map(|node| reapi::DirectoryNode {
                name: node.name.clone(),
                digest: digest(&node.digest),
            })
            .collect(),
        symlinks: directory
            .symlinks
            .iter()
            .map(|node| reapi::SymlinkNode {
                name: node.name.clone(),
                target: node.target.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

/// Stores a tree. A file is `SEED:SIZE`, with an `x` in front if it may be executed; a link is `-> TARGET`; a directory is `/`.
pub(crate) fn tree(store: &Store, entries: &Golden) -> Digest {
    let entries = entries.iter().map(|(path, what)| {
        let leaf = if what == "/" {
            Leaf::Directory
        } else if let Some(target) = what.strip_prefix("-> ") {
            Leaf::Symlink { target: target.to_owned() }
        } else {
            let (seed, size) = what.trim_start_matches('x').split_once(':').unwrap();
            let (digest, bytes) = blob(SHA, seed.parse().unwrap(), size.parse().unwrap());
            store.put(digest, bytes).unwrap();
            Leaf::File { digest, executable: what.starts_with('x') }
        };
        Entry { path: RelPath::new(path).unwrap(), leaf }
    });
    let built = hands_tree::build(SHA, entries.collect::<Vec<_>>(), encode).unwrap();
    let root = built.last().unwrap().digest;
    for directory in built {
        store.put(directory.digest, directory.bytes.into()).unwrap();
    }
    root
}

/// Puts the layers together as an overlay does, and checks modes and times on the way.
pub(crate) fn merged(root: &Path, staged: &Staged) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for lower in staged.lowers().iter().rev() {
        merge(&root.join(lower), "", &mut all);
    }
    all
}

fn merge(dir: &Path, prefix: &str, all: &mut BTreeMap<String, Vec<u8>>) {
    assert_eq!(std::fs::metadata(dir).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::metadata(dir).unwrap().mtime(), INPUT_MTIME);
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        let metadata = entry.path().symlink_metadata().unwrap();
        let below = format!("{path}/");
        if !metadata.is_dir() {
            all.retain(|other, _| !other.starts_with(&below));
        }
        let what = if metadata.is_symlink() {
            format!("-> {}", std::fs::read_link(entry.path()).unwrap().display()).into_bytes()
        } else if metadata.is_dir() {
            merge(&entry.path(), &below, all);
            b"/".to_vec()
        } else if metadata.file_type().is_char_device() {
            all.remove(&path);
            continue;
        } else {
            let mode = metadata.mode() & 0o7777;
            assert!(mode == 0o755 || mode == 0o644, "{path} has the mode {mode:o}");
            let mut what = if mode == 0o755 { b"x".to_vec() } else { Vec::new() };
            what.extend(std::fs::read(entry.path()).unwrap());
            what
        };
        assert_eq!(metadata.mtime(), INPUT_MTIME, "{path}");
        all.insert(path, what);
    }
}

pub(crate) fn expected(entries: &Golden) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (path, what) in entries {
        for (at, _) in path.match_indices('/') {
            all.insert(path[..at].to_owned(), b"/".to_vec());
        }
        let value = match what.trim_start_matches('x').split_once(':') {
            Some((seed, size)) => {
                let mut value = if what.starts_with('x') { b"x".to_vec() } else { Vec::new() };
                value.extend(blob(SHA, seed.parse().unwrap(), size.parse().unwrap()).1);
                value
            }
            None => what.clone().into_bytes(),
        };
        all.insert(path.clone(), value);
    }
    all
}

pub(crate) fn golden() -> Golden {
    let mut entries: Golden = [
        ("a/small", "1:100"),
        ("a/tool", "x2:300"),
        ("b/c/large", "3:200000"),
        ("b/c/program", "x3:200000"),
        ("b/empty", "0:0"),
        ("b/link", "-> ../a/small"),
        ("dangling", "-> /nowhere/at/all"),
        ("hollow", "/"),
        ("swap", "4:10"),
        ("swop/x/y", "5:10"),
    ]
    .map(|(path, what)| (path.to_owned(), what.to_owned()))
    .into();
    for n in 0..300 {
        entries.insert(format!("flat/{n}"), format!("{}:50", 1000 + n));
    }
    entries
}

pub(crate) fn changed() -> Golden {
    let mut entries = golden();
    entries.insert("a/small".to_owned(), "10:120".to_owned());
    entries.insert("a/new/deep/file".to_owned(), "x11:40000".to_owned());
    entries.insert("swap/z".to_owned(), "12:10".to_owned());
    entries.remove("swap");
    entries.remove("swop/x/y");
    entries.insert("swop".to_owned(), "-> a".to_owned());
    entries.remove("flat/7");
    entries.insert("flat/8".to_owned(), "x1008:50".to_owned());
    entries.remove("hollow");
    entries
}

#[test]
fn a_delta_gives_way_to_a_whole_tree_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (one, two) = (tree(&store, &golden()), tree(&store, &changed()));
    let stager = store.stager();
    drop(stager.stage(&one).unwrap());
    let delta = stager.stage(&two).unwrap();
    assert_eq!(delta.lowers().len(), 2);
    let whole = stager.stage_whole(&two).unwrap();
    assert_eq!(whole.lowers().len(), 1);
    assert_eq!(merged(stager.root(), &whole), expected(&changed()));
    assert_eq!(stager.stage(&two).unwrap().lowers(), whole.lowers());
    // Whoever has the delta keeps it; it stays what it was.
    assert_eq!(merged(stager.root(), &delta), expected(&changed()));
    let lowers = whole.lowers().to_vec();
    drop((delta, whole, stager, store));
    store = open(dir.path());
    assert_eq!(store.stager().stage(&two).unwrap().lowers(), lowers);
}

#[test]
fn whole_trees_and_deltas_are_what_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let (one, two) = (tree(&store, &golden()), tree(&store, &changed()));
    let stager = store.stager();
    let whole = stager.stage(&one).unwrap();
    assert_eq!(whole.lowers().len(), 1);
    assert_eq!(merged(stager.root(), &whole), expected(&golden()));
    // Large files share their pages with the store, executable or not.
    let large = stager.root().join(&whole.lowers()[0]).join("b/c/large");
    assert_eq!(large.metadata().unwrap().nlink(), 2);

    let delta = stager.stage(&two).unwrap();
    assert_eq!(delta.lowers().len(), 2);
    assert_eq!(delta.lowers()[1], whole.lowers()[0]);
    assert_eq!(merged(stager.root(), &delta), expected(&changed()));
    if rustix::process::geteuid().is_root() {
        mount_and_compare(stager.root(), &delta);
    } else {
        eprintln!("SKIPPED: mounting an overlay needs root");
    }

    // Once more from memory, and after a restart.
    assert_eq!(stager.stage(&two).unwrap().lowers(), delta.lowers());
    let lowers = delta.lowers().to_vec();
    // A tree that was not finished does not survive.
    std::fs::create_dir(stager.root().join("777")).unwrap();
    drop((whole, delta, stager, store));
    store = open(dir.path());
    let stager = store.stager();
    assert!(!stager.root().join("777").exists());
    assert_eq!(stager.stage(&two).unwrap().lowers(), lowers);

    // Beyond a quarter of the tree a whole one is cheaper in the end.
    let mut other = golden();
    for n in 0..200 {
        other.insert(format!("flat/{n}"), format!("{}:50", 2000 + n));
    }
    let other_root = tree(&store, &other);
    let staged = stager.stage(&other_root).unwrap();
    assert_eq!(staged.lowers().len(), 1);
    assert_eq!(merged(stager.root(), &staged), expected(&other));
}

/// The usual file system of a container takes no mark for what is gone.
#[test]
fn on_an_overlay_a_tree_that_lacks_something_stands_whole() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounting an overlay needs root");
        return;
    }
    let at = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(at.path().join(name)).unwrap();
    }
    let place = at.path().display();
    let options = format!("lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work");
    let merged_dir = at.path().join("merged");
    let mount = Command::new("mount")
        .args(["-t", "overlay", "o", "-o", &options])
        .arg(&merged_dir)
        .status();
    assert!(mount.unwrap().success());
    let result = std::panic::catch_unwind(|| {
        let store = open(&merged_dir);
        let one = tree(&store, &golden());
        let mut less = golden();
        let gone = less.keys().find(|path| path.starts_with("flat/")).cloned().unwrap();
        less.remove(&gone);
        let two = tree(&store, &less);
        let stager = store.stager();
        let _base = stager.stage(&one).unwrap();
        let staged = stager.stage(&two).unwrap();
        (merged(stager.root(), &staged), expected(&less), staged.lowers().len())
    });
    assert!(Command::new("umount").arg(&merged_dir).status().unwrap().success());
    let (found, wanted, lowers) = result.unwrap();
    assert_eq!((found, lowers), (wanted, 1));
}

/// The kernel's word on it, where we may ask.
fn mount_and_compare(root: &Path, staged: &Staged) {
    let at = tempfile::tempdir().unwrap();
    let lowers: Vec<String> =
        staged.lowers().iter().map(|l| root.join(l).display().to_string()).collect();
    let options = format!("lowerdir={}", lowers.join(":"));
    let mount = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(at.path())
        .status();
    assert!(mount.unwrap().success());
    let result = std::panic::catch_unwind(|| {
        let mut all = BTreeMap::new();
        merge(at.path(), "", &mut all);
        all
    });
    assert!(Command::new("umount").arg(at.path()).status().unwrap().success());
    assert_eq!(result.unwrap(), merged(root, staged));
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let root = tree(&store, &golden());
    let lost: Vec<Digest> =
        [(1, 100), (3, 200_000), (1042, 50)].map(|(seed, size)| blob(SHA, seed, size).0).into();
    for digest in &lost {
        assert!(store.delete(digest).unwrap());
    }
    let Err(StageError::Missing(mut missing)) = store.stager().stage(&root) else {
        panic!("staged")
    };
    let mut expected = lost.clone();
    missing.sort();
    expected.sort();
    assert_eq!(missing, expected);
    let mut report = store.check_tree(&root).unwrap().missing;
    report.sort();
    assert_eq!(report, expected);
    // A directory that is no message, and one that is none in canonical form.
    let nonsense = store.put_bytes(SHA, b"\xff\xff\xff").unwrap();
    assert!(matches!(store.stager().stage(&nonsense), Err(StageError::Invalid { .. })));
    let file = |name: &str| reapi::FileNode {
        name: name.to_owned(),
        digest: Some(hands_tree::empty(SHA).into()),
        ..Default::default()
    };
    for files in [vec![file("b"), file("a")], vec![file("../x")], vec![file("a"), file("a")]] {
        let message = reapi::Directory { files, ..Default::default() };
        let bad = store.put_bytes(SHA, &message.encode_to_vec()).unwrap();
        assert!(matches!(store.stager().stage(&bad), Err(StageError::Invalid { .. })));
    }
}

#[test]
fn requests_for_one_root_share_the_work_and_trees_in_use_are_not_evicted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.quota = Some(6 << 20);
    let store = Store::open(config).unwrap();
    let root = tree(&store, &golden());
    let stager = store.stager();
    let staged: Vec<Staged> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| stager.stage(&root).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(staged.iter().all(|other| other.lowers() == staged[0].lowers()));
    assert_eq!(store.usage().trees, 1);
    let fill = |from: u64| {
        for n in 0..120 {
            let (digest, bytes) = blob(SHA, from + n, 100_000);
            store.put(digest, bytes).unwrap();
        }
    };
    fill(100_000);
    assert_eq!(merged(stager.root(), &staged[0]), expected(&golden()));
    let path = stager.root().join(&staged[0].lowers()[0]);
    drop(staged);
    fill(200_000);
    assert!(!path.exists());
    assert!(store.gc().unwrap().total() <= 6 << 20);
}
