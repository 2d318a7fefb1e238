//! Single cases; `model` compares random stacks with a naive overlay, `kernel` with the real one.

mod kernel;
mod model;

use hands_types::RelPath;

use super::*;
use crate::build::{Entry, Leaf, build};

const SHA: DigestFunction = DigestFunction::Sha256;

/// An encoding that is good enough to tell directories apart.
fn encode(directory: &Directory) -> Vec<u8> {
    format!("{directory:?}").into_bytes()
}

#[derive(Default)]
struct Trees(BTreeMap<Digest, Arc<Directory>>);

impl Trees {
    fn put(&mut self, directory: Directory) -> Digest {
        directory.check(SHA).unwrap();
        let digest = hash(SHA, &encode(&directory));
        self.0.insert(digest, Arc::new(directory));
        digest
    }

    /// A tree of `path` or `path=content`; a path that ends with a slash is a directory.
    fn tree(&mut self, paths: &str) -> Digest {
        let entries = paths.split_whitespace().map(|text| {
            let (path, content) = text.split_once('=').unwrap_or((text, ""));
            let leaf = match path.ends_with('/') {
                true => Leaf::Directory,
                false => Leaf::File { digest: hash(SHA, content.as_bytes()), executable: false },
            };
            Entry { path: RelPath::normalized(path).unwrap(), leaf }
        });
        let built = std::cell::RefCell::new(Vec::new());
        let encoded = build(SHA, entries, |directory| {
            built.borrow_mut().push(directory.clone());
            encode(directory)
        });
        for directory in built.into_inner() {
            self.put(directory);
        }
        encoded.unwrap().last().unwrap().digest
    }

    /// Merges, and takes what was put together.
    fn merge(&mut self, layers: &[MergeLayer<'_>], unread: &[Digest]) -> Digest {
        let put = std::cell::RefCell::new(Vec::new());
        let trees = &self.0;
        let merged = merge(
            SHA,
            layers,
            &mut |digest| {
                assert!(!unread.contains(digest), "{digest} is read");
                trees.get(digest).cloned().ok_or("it is not there")
            },
            &mut |directory| {
                put.borrow_mut().push(directory.clone());
                encode(directory)
            },
        )
        .unwrap();
        let put = put.into_inner();
        let digests: BTreeSet<Digest> =
            put.into_iter().map(|directory| self.put(directory)).collect();
        assert_eq!(digests.len(), merged.directories.len(), "each directory once");
        assert!(merged.directories.iter().all(|d| digests.contains(&d.digest)));
        merged.root
    }

    fn list(&self, root: &Digest, prefix: &str, all: &mut Vec<String>) {
        for node in self.0[root].nodes() {
            let path = format!("{prefix}{}", node.name());
            match node {
                Node::Directory(below) => {
                    all.push(format!("{path}/"));
                    self.list(&below.digest, &format!("{path}/"), all);
                }
                Node::File(_) | Node::Symlink(_) => all.push(path),
            }
        }
    }

    #[track_caller]
    fn check(&mut self, layers: &[MergeLayer<'_>], unread: &[Digest], expect: &str) -> Digest {
        let root = self.merge(layers, unread);
        let mut all = Vec::new();
        self.list(&root, "", &mut all);
        assert_eq!(all.join(" "), expect);
        root
    }
}

fn plain(root: Digest) -> MergeLayer<'static> {
    MergeLayer { root, marks: Marks::NONE }
}

fn gone(names: &[&str]) -> Marks {
    Marks { gone: names.iter().map(|&n| n.to_owned()).collect(), ..Marks::default() }
}

fn below(name: &str, marks: Marks) -> Marks {
    Marks { below: BTreeMap::from([(name.to_owned(), marks)]), ..Marks::default() }
}

#[test]
fn the_upper_one_counts_and_directories_merge() {
    let mut trees = Trees::default();
    let low = trees.tree("a=1 d/x=1 d/y=1 f/z=1 g");
    let up = trees.tree("a=2 d/x=2 d/w=2 f g/");
    trees.check(&[plain(low), plain(up)], &[], "a d/ d/w d/x d/y f g/");
    trees.check(&[plain(up), plain(low)], &[], "a d/ d/w d/x d/y f/ f/z g");
    let x = trees.merge(&[plain(low), plain(up)], &[]);
    let Some(Node::File(a)) = trees.0[&x].get("a") else { panic!() };
    assert_eq!(a.digest, hash(SHA, b"2"));
}

#[test]
fn what_one_layer_alone_brings_is_not_read() {
    let mut trees = Trees::default();
    let low = trees.tree("bin/deep/tool usr/lib/a usr/share/b");
    let up = trees.tree("etc/deep/file usr/lib/c");
    let of = |trees: &Trees, root: Digest, name: &str| match trees.0[&root].get(name) {
        Some(Node::Directory(node)) => node.digest,
        _ => panic!("{name}"),
    };
    let usr = of(&trees, low, "usr");
    let alone = [of(&trees, low, "bin"), of(&trees, up, "etc"), of(&trees, usr, "share")];
    trees.check(
        &[plain(low), plain(up)],
        &alone,
        "bin/ bin/deep/ bin/deep/tool etc/ etc/deep/ etc/deep/file usr/ usr/lib/ usr/lib/a usr/lib/c usr/share/ \
         usr/share/b",
    );
}

#[test]
fn one_tree_and_equal_trees_are_themselves() {
    let mut trees = Trees::default();
    let tree = trees.tree("a/b c");
    for n in 1..4 {
        assert_eq!(trees.merge(&vec![plain(tree); n], &[tree]), tree);
    }
    let empty = trees.merge(&[], &[]);
    assert!(trees.0[&empty].is_empty());
}

#[test]
fn marks_take_away_from_below_and_not_from_their_own_layer() {
    let mut trees = Trees::default();
    let low = trees.tree("a b d/x d/y e/z");
    let up = trees.tree("a d/y2 e/");
    let marks = gone(&["a", "b", "d"]);
    trees.check(&[plain(low), MergeLayer { root: up, marks: &marks }], &[], "a d/ d/y2 e/ e/z");
    let marks = below("d", gone(&["x", "never"]));
    let layers = [plain(low), MergeLayer { root: up, marks: &marks }];
    trees.check(&layers, &[], "a b d/ d/y d/y2 e/ e/z");
    let marks = below("d", Marks { opaque: true, ..Marks::default() });
    let layers = [plain(low), MergeLayer { root: up, marks: &marks }];
    trees.check(&layers, &[], "a b d/ d/y2 e/ e/z");
    let marks = Marks { opaque: true, ..Marks::default() };
    let layers = [plain(low), MergeLayer { root: up, marks: &marks }];
    assert_eq!(trees.merge(&layers, &[up, low]), up, "what lies below the opaque one is not read");
}

#[test]
fn what_is_gone_comes_back_in_a_layer_above() {
    let mut trees = Trees::default();
    let low = trees.tree("d/x d/y");
    let middle = trees.tree("");
    let up = trees.tree("d/z");
    let marks = gone(&["d"]);
    trees.check(
        &[plain(low), MergeLayer { root: middle, marks: &marks }, plain(up)],
        &[],
        "d/ d/z",
    );
}

#[test]
fn a_layer_that_equals_one_above_still_takes_away() {
    let mut trees = Trees::default();
    let low = trees.tree("d/x d/y");
    let same = trees.tree("d/z");
    let marks = below("d", gone(&["x"]));
    let layers = [plain(low), MergeLayer { root: same, marks: &marks }, plain(same)];
    trees.check(&layers, &[], "d/ d/y d/z");
}

#[test]
fn nodes_keep_what_their_layer_says_of_them() {
    let mut trees = Trees::default();
    let file = |name: &str, seconds, executable| FileNode {
        name: name.to_owned(),
        digest: hash(SHA, b"f"),
        executable,
        mtime: Mtime::new(seconds, 7),
    };
    let link =
        SymlinkNode { name: "l".to_owned(), target: "a".to_owned(), mtime: Mtime::new(3, 0) };
    let directory = |files: Vec<FileNode>, symlinks, mtime| Directory {
        files,
        symlinks,
        mtime,
        ..Directory::default()
    };
    let low = directory(vec![file("a", 1, true)], vec![link.clone()], Mtime::new(1, 0));
    let up = directory(vec![file("b", 2, false)], Vec::new(), None);
    let timed = Directory { mtime: Mtime::new(2, 0), ..up.clone() };
    let [low, up, timed] = [low, up, timed].map(|d| trees.put(d));
    let both = vec![file("a", 1, true), file("b", 2, false)];
    for (top, mtime) in [(up, Mtime::new(1, 0)), (timed, Mtime::new(2, 0))] {
        let root = trees.merge(&[plain(low), plain(top)], &[]);
        assert_eq!(*trees.0[&root], directory(both.clone(), vec![link.clone()], mtime));
    }
}

#[test]
fn depth_and_entries_are_bounded() {
    let mut trees = Trees::default();
    let deep = |n: usize, name: &str| format!("{}{name}", "d/".repeat(n));
    let pair = |trees: &mut Trees, n| [deep(n, "a"), deep(n, "b")].map(|t| plain(trees.tree(&t)));
    let layers = pair(&mut trees, MAX_TREE_DEPTH);
    trees.merge(&layers, &[]);
    let layers = pair(&mut trees, MAX_TREE_DEPTH + 1);
    let load = |digest: &Digest| Ok::<_, ()>(trees.0[digest].clone());
    let error = merge(SHA, &layers, &mut { load }, &mut encode).unwrap_err();
    assert_eq!(error, MergeError::TooDeep(deep(MAX_TREE_DEPTH, "d")));

    let [a, b] = ["a b", "c"].map(|text| trees.tree(text));
    let load = |digest: &Digest| Ok::<_, ()>(trees.0[digest].clone());
    for (most_entries, fits) in [(3, true), (2, false)] {
        let mut merge = Merge {
            function: SHA,
            load: &mut { load },
            encode: &mut encode,
            most_entries,
            built: BTreeSet::new(),
            directories: Vec::new(),
        };
        let stack = [a, b].map(|digest| Part { digest, marks: Marks::NONE });
        assert_eq!(merge.flatten(stack.to_vec(), &mut Vec::new()).is_ok(), fits);
    }
}

#[test]
fn what_is_not_there_is_said() {
    let (a, b) = (hash(SHA, b"a"), hash(SHA, b"b"));
    let error =
        merge(SHA, &[plain(a), plain(b)], &mut |digest| Err(*digest), &mut encode).unwrap_err();
    assert_eq!(error, MergeError::Load(b));
}
