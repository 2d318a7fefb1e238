//! Collecting from trees that a hostile action might leave.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hands_tree::{BuiltDirectory, Directory};
use hands_types::{Digest, DigestFunction, RelPath};

use crate::collect::{
    CollectError, Declared, DeclaredKind, OutputItem, OutputKind, OutputSpec, OutputStore, collect,
};

/// A directory that is removed again.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hands-collect-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("parents");
        fs::write(path, content).expect("a file");
    }

    fn root(&self) -> File {
        File::open(&self.0).expect("the root")
    }

    fn collect(
        &self,
        declared: &[(&str, DeclaredKind)],
    ) -> Result<(Vec<OutputItem>, Memory), CollectError> {
        let declared = declared
            .iter()
            .map(|(path, kind)| Declared { path: (*path).to_owned(), kind: *kind })
            .collect();
        let spec = OutputSpec { declared, working_directory: RelPath::default() };
        let mut memory = Memory::default();
        collect(self.root(), &spec, &mut memory).map(|items| (items, memory))
    }

    fn fails(&self, path: &str, kind: DeclaredKind, words: &str) {
        let error = self.collect(&[(path, kind)]).expect_err("no output");
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(error.class(), hands_types::ErrorClass::User, "{text}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the test's directory is removed");
    }
}

/// Blobs in memory, and a readable encoding of directories.
#[derive(Debug, Default)]
struct Memory {
    blobs: BTreeMap<Digest, Vec<u8>>,
    cancelled: bool,
}

impl OutputStore for Memory {
    fn function(&self) -> DigestFunction {
        DigestFunction::Sha256
    }

    fn file(
        &mut self,
        _path: &str,
        mut file: File,
    ) -> Result<Digest, Box<dyn std::error::Error + Send + Sync>> {
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let digest = hands_tree::hash(DigestFunction::Sha256, &content);
        self.blobs.insert(digest, content);
        Ok(digest)
    }

    fn encode(&mut self, directory: &Directory) -> Vec<u8> {
        format!("{directory:?}").into_bytes()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

fn paths(items: &[OutputItem]) -> Vec<&str> {
    items.iter().map(|item| item.path.as_str()).collect()
}

#[test]
fn every_kind_of_output_and_none_that_is_missing() {
    let tree = Tree::new();
    tree.file("plain", "text");
    tree.file("d/tool", "#!");
    fs::set_permissions(tree.0.join("d/tool"), PermissionsExt::from_mode(0o755)).expect("a mode");
    symlink("/nowhere", tree.0.join("absolute")).expect("a link");
    symlink("gone", tree.0.join("d/dangling")).expect("a link");
    fs::create_dir_all(tree.0.join("d/empty")).expect("a directory");
    let any = DeclaredKind::Any;
    let (items, memory) = tree
        .collect(&[
            ("plain", any),
            ("missing", any),
            ("plain/below", any),
            ("absolute", any),
            ("d/", any),
            ("d/tool", any),
        ])
        .expect("outputs");
    assert_eq!(paths(&items), ["plain", "absolute", "d/", "d/tool"]);
    let OutputKind::File { digest, executable: false } = &items[0].kind else {
        panic!("{:?}", items[0])
    };
    assert_eq!(memory.blobs[digest], b"text");
    assert_eq!(items[1].kind, OutputKind::Symlink { target: "/nowhere".to_owned() });
    let OutputKind::Directory { directories } = &items[2].kind else { panic!("{:?}", items[2]) };
    let root = String::from_utf8_lossy(&directories[0].bytes);
    assert!(
        root.contains("dangling") && root.contains("\"gone\"") && root.contains("empty"),
        "{root}"
    );
    assert!(matches!(items[3].kind, OutputKind::File { executable: true, .. }), "{:?}", items[3]);
}

#[test]
fn a_tree_has_parents_first_and_each_directory_once() {
    let tree = Tree::new();
    // The same directory at several depths: wherever it is kept, it must come after all that name it.
    for path in ["t/a/same/f", "t/b/c/same/f", "t/same/f", "t/z/deep/deeper/same/f"] {
        tree.file(path, "x");
    }
    let (items, _) = tree.collect(&[("t", DeclaredKind::Directory)]).expect("outputs");
    let OutputKind::Directory { directories } = &items[0].kind else { panic!("{:?}", items[0]) };
    let text = |d: &BuiltDirectory| String::from_utf8_lossy(&d.bytes).into_owned();
    for (at, directory) in directories.iter().enumerate() {
        let name = format!("{:?}", directory.digest);
        let named: Vec<usize> =
            (0..directories.len()).filter(|&i| text(&directories[i]).contains(&name)).collect();
        assert!(named.iter().all(|&i| i < at), "{at} is named by {named:?}");
        assert!(at == 0 || !named.is_empty(), "only the root is named by none");
    }
    // t, a, b, c, z, deep, deeper and same; `a`, `c` and `deeper` are equal.
    assert_eq!(directories.len(), 6);
}

#[test]
fn declared_kinds_are_kept_to() {
    let tree = Tree::new();
    tree.file("f", "");
    tree.file("d/f", "");
    tree.fails("f", DeclaredKind::Directory, "`f` was declared as a directory and is a file");
    tree.fails("d", DeclaredKind::File, "`d` was declared as a file and is a directory");
    // Buck2 in its compatible mode.
    let both = [
        ("f", DeclaredKind::File),
        ("f", DeclaredKind::Directory),
        ("d", DeclaredKind::File),
        ("d", DeclaredKind::Directory),
    ];
    let (items, _) = tree.collect(&both).expect("outputs");
    assert_eq!(paths(&items), ["f", "d"]);
}

#[test]
fn hostile_trees_neither_block_nor_lead_elsewhere() {
    let tree = Tree::new();
    let secret = Tree::new();
    secret.file("secret/key", "another's");
    symlink(secret.0.join("secret"), tree.0.join("out")).expect("a link");
    symlink("/proc/self", tree.0.join("proc")).expect("a link");
    fs::create_dir(tree.0.join("d")).expect("a directory");
    let make = |path: &str, kind| {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, tree.0.join(path), kind, mode, 0).expect("a node");
    };
    make("fifo", rustix::fs::FileType::Fifo);
    make("d/pipe", rustix::fs::FileType::Fifo);
    make("socket", rustix::fs::FileType::Socket);
    tree.fails("fifo", DeclaredKind::Any, "`fifo` is a named pipe");
    tree.fails("d", DeclaredKind::Any, "`d/pipe` is a named pipe");
    tree.fails("d/*", DeclaredKind::Glob, "`d/pipe` is a named pipe");
    tree.fails("socket", DeclaredKind::Any, "`socket` is a socket");
    tree.fails("out/key", DeclaredKind::Any, "`out/key` lies behind a symbolic link");
    tree.fails("proc/environ", DeclaredKind::Any, "symbolic link");
    tree.fails("../x", DeclaredKind::Any, "leaves the input root");
    // The link itself is an output; a pattern does not go through it.
    let (items, memory) = tree
        .collect(&[
            ("out", DeclaredKind::Any),
            ("out/*", DeclaredKind::Glob),
            ("**/key", DeclaredKind::Glob),
        ])
        .expect("a link");
    assert_eq!(paths(&items), ["out"]);
    assert!(memory.blobs.is_empty(), "nothing of another's was read");
}

#[test]
fn names_and_targets_that_are_not_utf8_are_named() {
    let tree = Tree::new();
    fs::create_dir(tree.0.join("d")).expect("a directory");
    File::create(tree.0.join("d").join(OsStr::from_bytes(b"bad\xff"))).expect("a file");
    symlink(Path::new(OsStr::from_bytes(b"x\xfe")), tree.0.join("link")).expect("a link");
    tree.fails("d", DeclaredKind::Any, "`d/bad\u{fffd}` has a name that is not UTF-8");
    tree.fails("link", DeclaredKind::Any, "`link` is a symbolic link whose target is not UTF-8");
}

#[test]
fn depth_is_bounded() {
    let tree = Tree::new();
    let mut here = std::os::fd::OwnedFd::from(File::open(&tree.0).expect("the root"));
    for _ in 0..300 {
        rustix::fs::mkdirat(&here, "dd", 0o755.into()).expect("a directory");
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, "dd", flags, rustix::fs::Mode::empty()).expect("open");
    }
    tree.fails("dd", DeclaredKind::Any, "`dd` is nested deeper than 200");
    tree.fails("**/x", DeclaredKind::Glob, "is nested deeper than 200");
}

#[test]
fn cancelling_ends_it() {
    let tree = Tree::new();
    tree.file("f", "");
    let declared = vec![Declared { path: "f".to_owned(), kind: DeclaredKind::Any }];
    let spec = OutputSpec { declared, working_directory: RelPath::default() };
    let mut memory = Memory { cancelled: true, ..Memory::default() };
    assert!(matches!(collect(tree.root(), &spec, &mut memory), Err(CollectError::Cancelled)));
}

#[test]
fn patterns_match_as_a_shell_user_expects() {
    let tree = Tree::new();
    for path in
        ["a.o", "b.o", "b.c", "sub/c.o", "sub/deep/d.o", "sub/deep/e.h", "out/x", "lit*ral", "é.o"]
    {
        tree.file(path, path);
    }
    let matches = |pattern: &str| {
        let (items, _) = tree.collect(&[(pattern, DeclaredKind::Glob)]).expect("outputs");
        paths(&items).join(" ")
    };
    assert_eq!(matches("*.o"), "a.o b.o é.o");
    assert_eq!(matches("?.o"), "a.o b.o é.o");
    assert_eq!(matches("**/*.o"), "a.o b.o sub/c.o sub/deep/d.o é.o");
    assert_eq!(matches("sub/**"), "sub/c.o sub/deep/d.o sub/deep/e.h");
    assert_eq!(matches("sub/**/deep/*.h"), "sub/deep/e.h");
    assert_eq!(matches("**/deep"), "sub/deep");
    assert_eq!(matches("su*/d*"), "sub/deep");
    assert_eq!(matches("o*"), "out");
    assert_eq!(matches("none*"), "");
    assert_eq!(matches("*/none"), "");
    // A name that really has a star in it is itself.
    assert_eq!(matches("lit*ral"), "lit*ral");
    // Two ways to the same are one output.
    let (items, _) =
        tree.collect(&[("*.o", DeclaredKind::Glob), ("a.*", DeclaredKind::Glob)]).expect("outputs");
    assert_eq!(paths(&items), ["a.o", "b.o", "é.o"]);
}
