use std::collections::BTreeMap;
use std::sync::Arc;

use hands_types::{Digest, DigestFunction, Mtime, RelPath};

use crate::*;

const SHA: DigestFunction = DigestFunction::Sha256;

/// An encoding that is good enough to tell directories apart.
fn encode(directory: &Directory) -> Vec<u8> {
    if directory.is_empty() { Vec::new() } else { format!("{directory:?}").into_bytes() }
}

struct Trees(BTreeMap<Digest, Arc<Directory>>);

impl Trees {
    fn build(&mut self, entries: &[(&str, &str)]) -> (Digest, Arc<Directory>) {
        let entries = entries.iter().map(|(path, what)| Entry {
            path: RelPath::new(path).unwrap(),
            leaf: match what.split_once(':') {
                Some(("->", target)) => Leaf::Symlink { target: target.to_owned() },
                Some(("x", content)) => {
                    Leaf::File { digest: hash(SHA, content.as_bytes()), executable: true }
                }
                _ if *what == "/" => Leaf::Directory,
                _ => Leaf::File { digest: hash(SHA, what.as_bytes()), executable: false },
            },
        });
        let seen = std::cell::RefCell::new(Vec::new());
        let built = build(SHA, entries, |directory| {
            seen.borrow_mut().push(directory.clone());
            encode(directory)
        })
        .unwrap();
        for directory in seen.into_inner() {
            directory.check(SHA).unwrap();
            self.0.insert(hash(SHA, &encode(&directory)), Arc::new(directory));
        }
        let root = built.last().unwrap().digest;
        (root, self.0[&root].clone())
    }

    fn diff(&self, old: &Directory, new: &Directory) -> Vec<String> {
        let changes =
            diff(old, new, 100, &mut |digest| self.0.get(digest).cloned().ok_or("not loaded"))
                .unwrap();
        changes
            .into_iter()
            .map(|change| match change.kind {
                ChangeKind::Removed => format!("- {}", change.path),
                ChangeKind::File(node) => {
                    format!("{} {}", if node.executable { "x" } else { "f" }, change.path)
                }
                ChangeKind::Symlink(node) => format!("l {} {}", change.path, node.target),
                ChangeKind::Directory(_) => format!("d {}", change.path),
                ChangeKind::Touched(time) => {
                    format!("t {} {}", change.path, time.map_or(0, Mtime::seconds))
                }
            })
            .collect()
    }
}

#[test]
fn known_digests() {
    assert_eq!(
        hash(SHA, b"abc").hex(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        hash(DigestFunction::Blake3, b"abc").hex(),
        "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    );
    for function in DigestFunction::ALL {
        let mut hasher = Hasher::new(function);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), hash(function, b"abc"));
    }
    assert_eq!(
        empty(SHA).hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn builds_and_compares_trees() {
    let mut trees = Trees(BTreeMap::new());
    let (_, old) = trees.build(&[
        ("a", "one"),
        ("b/c", "two"),
        ("b/d/e", "three"),
        ("gone/x", "x"),
        ("same/deep/y", "y"),
        ("swap", "was a file"),
        ("swop/z", "was a directory"),
        ("empty", "/"),
    ]);
    let (_, new) = trees.build(&[
        ("swop", "is a file"),
        ("swap/z", "is a directory"),
        ("same/deep/y", "y"),
        ("b/d/e", "x:three"),
        ("b/c", "two"),
        ("a", "->:b/c"),
        ("empty", "/"),
        ("empty2", "/"),
    ]);
    assert_eq!(
        trees.diff(&old, &new),
        ["l a b/c", "x b/d/e", "d empty2", "- gone", "d swap", "f swop"].map(str::to_owned)
    );
    assert_eq!(trees.diff(&new, &new), Vec::<String>::new());
    // Unchanged directories are not even looked up.
    let same = new.directories.iter().find(|n| n.name == "same").unwrap().digest;
    let load = &mut |digest: &Digest| {
        assert_ne!(*digest, same);
        trees.0.get(digest).cloned().ok_or(())
    };
    assert_eq!(diff(&old, &new, 3, load), Err(DiffError::TooMany));
}

#[test]
fn equal_directories_are_built_once_and_the_root_is_last() {
    let files = ["a/x", "b/x", "x"].map(|path| Entry {
        path: RelPath::new(path).unwrap(),
        leaf: Leaf::File { digest: empty(SHA), executable: false },
    });
    assert_eq!(build(SHA, files.clone(), encode).unwrap().len(), 2);
    let twice =
        [files[0].clone(), Entry { path: RelPath::new("a/x/y").unwrap(), leaf: Leaf::Directory }];
    assert!(build(SHA, twice, encode).is_err());
    let root = build(SHA, [], encode).unwrap();
    assert_eq!(root.last().unwrap().digest, empty(SHA));
}

#[test]
fn directories_that_are_not_canonical_are_refused() {
    let file = |name: &str| FileNode {
        name: name.to_owned(),
        digest: empty(SHA),
        executable: false,
        mtime: None,
    };
    let check = |names: &[&str]| {
        Directory { files: names.iter().map(|name| file(name)).collect(), ..Directory::default() }
            .check(SHA)
    };
    assert_eq!(check(&["Z", "a", "ä"]), Ok(()));
    assert_eq!(check(&["b", "a"]), Err(InvalidDirectory::Unsorted("a".to_owned())));
    assert_eq!(check(&["a", "a"]), Err(InvalidDirectory::Twice("a".to_owned())));
    for bad in ["", ".", "..", "a/b", "a\0"] {
        assert_eq!(check(&[bad]), Err(InvalidDirectory::Name(bad.to_owned())));
    }
    let mixed = Directory {
        files: vec![file("a")],
        symlinks: vec![SymlinkNode { name: "a".to_owned(), target: "b".to_owned(), mtime: None }],
        ..Directory::default()
    };
    assert_eq!(mixed.check(SHA), Err(InvalidDirectory::Twice("a".to_owned())));
    assert!(check(&["a"]).and_then(|()| mixed.check(DigestFunction::Blake3)).is_err());
}

#[test]
fn lru_agrees_with_a_naive_model() {
    let mut seed = 7_u64;
    let mut random = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut lru: Lru<u64, u64> = Lru::new();
    // Least recently used first: key, size, pins.
    let mut model: Vec<(u64, u64, u32)> = Vec::new();
    for _ in 0..20_000 {
        let key = random(40);
        let at = model.iter().position(|m| m.0 == key);
        match random(6) {
            0 | 1 => {
                let size = random(100);
                let pins = at.map_or(0, |at| model.remove(at).2);
                model.push((key, size, pins));
                lru.insert(key, key, size);
            }
            2 => {
                assert_eq!(lru.get(&key).is_some(), at.is_some());
                if let Some(at) = at {
                    let moved = model.remove(at);
                    model.push(moved);
                }
            }
            3 if model.iter().filter(|m| m.2 > 0).count() < 10 => {
                assert_eq!(lru.pin(&key), at.is_some());
                if let Some(at) = at {
                    model[at].2 += 1;
                }
            }
            3 | 4 => {
                lru.unpin(&key);
                if let Some(at) = at {
                    model[at].2 = model[at].2.saturating_sub(1);
                }
            }
            _ => {
                let limit = random(2000);
                let gone: Vec<u64> = lru.shrink(limit).into_iter().map(|(k, _)| k).collect();
                let mut expected = Vec::new();
                while model.iter().map(|m| m.1).sum::<u64>() > limit {
                    let Some(at) = model.iter().position(|m| m.2 == 0) else { break };
                    expected.push(model.remove(at).0);
                }
                assert_eq!(gone, expected);
            }
        }
        assert_eq!(lru.bytes(), model.iter().map(|m| m.1).sum::<u64>());
        assert_eq!(lru.len(), model.len());
    }
}

#[test]
fn links_are_followed_inside_the_tree_only() {
    // Paths that end in `/` are directories; `a -> b` is a link; the rest are files.
    let tree = [
        "real/",
        "real/deep/",
        "file",
        "out -> real",
        "deep -> out/deep",
        "up -> real/../real/./deep",
        "away -> ../x",
        "abs -> /etc",
        "inside -> /top/real",
        "beside -> /topless/real",
        "none -> nowhere",
        "to_file -> file",
        "a -> b",
        "b -> a",
        "self -> self",
        "real/back -> ../out",
    ];
    let mut look = |path: &str| {
        let found = tree.iter().find_map(|entry| match entry.split_once(" -> ") {
            Some((name, target)) if name == path => {
                Some(There::Symlink { target: target.to_owned() })
            }
            Some(_) => None,
            None if entry.strip_suffix('/') == Some(path) => Some(There::Directory),
            None => (*entry == path).then_some(There::Other),
        });
        Ok::<_, ()>(found.unwrap_or(There::Nothing))
    };
    let mut lead = |from: &str, path: &str| {
        let from = RelPath::new(from).unwrap();
        match follow(&from, path, Some("/top/"), &mut look).unwrap() {
            Ok(Real { path, is_there }) => format!("{path} {is_there}"),
            Err(astray) => astray.to_string(),
        }
    };
    for (path, to) in [
        ("", ". true"),
        ("real/deep", "real/deep true"),
        ("new/er", "new/er false"),
        ("new/../real", "real true"),
        ("out", "real true"),
        ("out/x/y", "real/x/y false"),
        ("deep/new", "real/deep/new false"),
        ("up", "real/deep true"),
        ("inside/deep", "real/deep true"),
        ("real/back/back/deep", "real/deep true"),
        ("out/..", ". true"),
    ] {
        assert_eq!(lead("", path), to, "{path}");
    }
    assert_eq!(lead("real/deep", "../x"), "real/x false");
    for (path, words) in [
        ("away/x", "`away` is a symbolic link to `../x`, which is outside"),
        ("abs", "`abs` is a symbolic link to `/etc`, which is outside"),
        ("beside", "`beside` is a symbolic link to `/topless/real`, which is outside"),
        ("none/x", "`none` is a symbolic link to `nowhere`, where there is nothing"),
        ("a/x", "is a symbolic link that leads back to itself"),
        ("self", "`self` is a symbolic link that leads back to itself"),
        ("file/x", "`file` is not a directory"),
        ("to_file", "`file` is not a directory"),
        ("../x", "it leaves the input root"),
        ("out/../../x", "it leaves the input root"),
    ] {
        let said = lead("", path);
        assert!(said.contains(words), "{path}: {said}");
    }
}

#[test]
fn times_are_differences() {
    let at = |seconds| Mtime::new(seconds, 0);
    let mut trees = Trees(BTreeMap::new());
    let mut below = |file: i64, directory: i64| {
        let node = FileNode {
            name: "f".to_owned(),
            digest: empty(SHA),
            executable: false,
            mtime: at(file),
        };
        let below = Directory { files: vec![node], mtime: at(directory), ..Directory::default() };
        let digest = hash(SHA, format!("{below:?}").as_bytes());
        trees.0.insert(digest, Arc::new(below));
        let node = DirectoryNode { name: "d".to_owned(), digest };
        Directory { directories: vec![node], mtime: at(directory), ..Directory::default() }
    };
    let (old, touched, entered) = (below(1, 1), below(2, 1), below(1, 2));
    assert_eq!(trees.diff(&old, &touched), ["f d/f"]);
    assert_eq!(trees.diff(&old, &entered), ["t  2", "t d 2"]);
    assert_eq!(Mtime::from_nanos(-1), Mtime::new(-1, 999_999_999).unwrap());
}

#[test]
fn the_shape_of_a_tree_counts_each_directory_as_often_as_it_stands_there() {
    use std::collections::BTreeMap;

    use crate::{Held, Shape, shape};
    // Two names for the one below, forty times.
    let digest = |n: u32| hash(SHA, &n.to_be_bytes());
    let leaf = Held { entries: 3, longest: 7, below: Vec::new() };
    let mut directories = BTreeMap::from([(digest(0), leaf)]);
    for n in 1..=40 {
        let below = vec![(digest(n - 1), 1), (digest(n - 1), 2)];
        directories.insert(digest(n), Held { entries: 2, longest: 0, below });
    }
    let one = shape(&digest(1), &directories);
    assert_eq!(one, Shape { depth: 1, entries: 8, directories: 2, path: 2 + 1 + 7 });
    let all = shape(&digest(40), &directories);
    assert_eq!((all.depth, all.path), (40, 40 * 3 + 7));
    assert_eq!(all.directories, 2 * ((1_u64 << 40) - 1));
    assert_eq!(all.entries, all.directories + (3_u64 << 40));
    // What is not there counts as empty.
    assert_eq!(shape(&digest(99), &directories), Shape::default());
}
