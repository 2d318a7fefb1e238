//! Collecting from trees that a hostile action might leave.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd;
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
        let (items, left_out, memory) = self.collect_at("", declared)?;
        assert_eq!(left_out, "");
        Ok((items, memory))
    }

    /// With what was left out, in lines.
    fn collect_at(
        &self,
        working_directory: &str,
        declared: &[(&str, DeclaredKind)],
    ) -> Result<(Vec<OutputItem>, String, Memory), CollectError> {
        let declared = declared
            .iter()
            .map(|(path, kind)| Declared { path: (*path).to_owned(), kind: *kind })
            .collect();
        let root_at = Some("/inside".to_owned());
        let spec = OutputSpec { declared, working_directory: place(working_directory), root_at };
        let mut memory = Memory::default();
        let collected = collect(self.root(), &spec, &mut memory)?;
        let lines = collected.left_out.entries.iter().map(|e| format!("`{}` {}\n", e.path, e.why));
        Ok((collected.items, lines.collect(), memory))
    }

    /// It is left out, and is all that is.
    fn leaves_out(&self, path: &str, kind: DeclaredKind, words: &str) {
        let (_, left_out, _) = self.collect_at("", &[(path, kind)]).expect("the others");
        assert!(left_out.contains(words) && left_out.lines().count() == 1, "{left_out}");
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
        // As for a command that does not ask for times.
        let mut directory = directory.clone();
        directory.mtime = None;
        directory.files.iter_mut().for_each(|file| file.mtime = None);
        directory.symlinks.iter_mut().for_each(|link| link.mtime = None);
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
    let OutputKind::File { digest, executable: false, .. } = &items[0].kind else {
        panic!("{:?}", items[0])
    };
    assert_eq!(memory.blobs[digest], b"text");
    let OutputKind::Symlink { target, .. } = &items[1].kind else { panic!("{:?}", items[1]) };
    assert_eq!(target, "/nowhere");
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
    tree.leaves_out("f", DeclaredKind::Directory, "`f` was declared as a directory and is a file");
    tree.leaves_out("d", DeclaredKind::File, "`d` was declared as a file and is a directory");
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
    tree.leaves_out("fifo", DeclaredKind::Any, "`fifo` is a named pipe");
    tree.leaves_out("d", DeclaredKind::Any, "`d/pipe` is a named pipe");
    tree.leaves_out("d/*", DeclaredKind::Glob, "`d/pipe` is a named pipe");
    tree.leaves_out("socket", DeclaredKind::Any, "`socket` is a socket");
    tree.leaves_out(
        "out/key",
        DeclaredKind::Any,
        "`out/key` has no place in the input root: `out` is a symbolic link",
    );
    tree.leaves_out("proc/environ", DeclaredKind::Any, "symbolic link");
    let error = tree.collect(&[("../x", DeclaredKind::Any)]).expect_err("no output");
    assert!(error.to_string().contains("leaves the input root"), "{error}");
    tree.leaves_out("out/*", DeclaredKind::Glob, "`out/*` has no place in the input root");
    // The link itself is an output; a wildcard does not go through it.
    let (items, memory) = tree
        .collect(&[("out", DeclaredKind::Any), ("**/key", DeclaredKind::Glob)])
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
    tree.leaves_out("d", DeclaredKind::Any, "`d/bad\\xff` has a name that is not UTF-8");
    tree.leaves_out(
        "link",
        DeclaredKind::Any,
        "`link` is a symbolic link whose target is not UTF-8",
    );
}

/// Nests `deep` directories of this name, with a file in each tenth.
fn nest(tree: &Tree, name: &str, deep: usize) {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let mut here = std::os::fd::OwnedFd::from(tree.root());
    for level in 0..deep {
        rustix::fs::mkdirat(&here, name, 0o755.into()).expect("a directory");
        here = rustix::fs::openat(&here, name, flags, rustix::fs::Mode::empty()).expect("open");
        if level % 10 == 0 {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            rustix::fs::openat(&here, "f", flags, 0o644.into()).expect("a file");
        }
    }
}

#[test]
fn what_is_nested_is_brought_as_deep_as_its_path_is_one() {
    let tree = Tree::new();
    nest(&tree, "d", 2500);
    let (items, left_out, _) =
        tree.collect_at("", &[("d", DeclaredKind::Any)]).expect("what is not too deep");
    let OutputKind::Directory { directories } = &items[0].kind else { panic!("{:?}", items[0]) };
    // 4,095 bytes hold 2,048 names of one letter.
    assert_eq!(directories.len(), 2048);
    assert!(left_out.contains("has a path of more bytes than 4095"), "{left_out}");
    assert_eq!(left_out.lines().count(), 1, "{left_out}");
    let (items, left_out, _) = tree.collect_at("", &[("**/f", DeclaredKind::Glob)]).expect("files");
    assert_eq!(items.len(), 205);
    assert_eq!(left_out.lines().count(), 1, "{left_out}");
    remove_deep(&tree);
}

/// Deeper than what the standard library removes with the descriptors of this process.
fn remove_deep(tree: &Tree) {
    let ended = std::process::Command::new("rm").arg("-rf").arg(tree.0.join("d")).status();
    assert!(ended.expect("rm").success());
}

#[test]
fn links_inside_the_tree_are_followed_to_outputs() {
    let tree = Tree::new();
    tree.file("real/deep/x.o", "x");
    tree.file("real/plain", "p");
    symlink("real", tree.0.join("out")).expect("a link");
    symlink("/inside/real/deep", tree.0.join("deep")).expect("a link");
    symlink("real/deep", tree.0.join("wd")).expect("a link");
    symlink("nowhere", tree.0.join("dangling")).expect("a link");
    symlink("self", tree.0.join("self")).expect("a link");
    let (any, glob) = (DeclaredKind::Any, DeclaredKind::Glob);
    let (items, _) = tree
        .collect(&[
            ("out/plain", any),
            ("out/deep", any),
            ("deep/x.o", any),
            ("out/*/x.*", glob),
            ("out/none", any),
            ("dangling/x", any),
            ("out/plain/x", any),
        ])
        .expect("outputs");
    assert_eq!(paths(&items), ["out/plain", "out/deep", "deep/x.o", "out/deep/x.o"]);
    // Where the working directory is a link, `..` is what the command itself saw.
    let (items, left_out, _) =
        tree.collect_at("wd", &[("x.o", any), ("../plain", any), ("*.o", glob)]).expect("outputs");
    assert_eq!((paths(&items), left_out.as_str()), (vec!["x.o", "../plain"], ""));
    tree.leaves_out("self/x", any, "`self` is a symbolic link that leads back to itself");
}

#[test]
fn patterns_go_through_links_as_a_shells_do() {
    let tree = Tree::new();
    let outside = Tree::new();
    outside.file("b.o", "another's");
    for path in ["wd/r/b.o", "wd/r/sub/b.o", "elsewhere/b.o", "wd/plain"] {
        tree.file(path, "");
    }
    for (target, link) in [
        ("r", "wd/l1"),
        ("l1", "wd/l2"),
        ("../elsewhere", "wd/l3"),
        ("/inside/elsewhere", "wd/l4"),
        (".", "wd/loop"),
        ("self", "wd/self"),
        ("nowhere", "wd/dangling"),
        ("plain", "wd/to-a-file"),
        ("../..", "wd/up"),
        ("..", "wd/r/up"),
        ("r/sub", "wd/sub"),
    ] {
        symlink(target, tree.0.join(link)).expect("a link");
    }
    symlink(&outside.0, tree.0.join("wd/out")).expect("a link");
    let matches = |pattern: &str| {
        let (items, left_out, _) =
            tree.collect_at("wd", &[(pattern, DeclaredKind::Glob)]).expect("outputs");
        assert_eq!(left_out, "", "{pattern}");
        paths(&items).join(" ")
    };
    // What bash has for each, but for what is outside.
    assert_eq!(matches("l*/b.o"), "l1/b.o l2/b.o l3/b.o l4/b.o");
    assert_eq!(matches("*/b.o"), "l1/b.o l2/b.o l3/b.o l4/b.o r/b.o sub/b.o");
    assert_eq!(matches("l?/s*/b.o"), "l1/sub/b.o l2/sub/b.o");
    assert_eq!(matches("r/*/l1/*.o"), "r/up/l1/b.o");
    assert_eq!(matches("*/*/plain"), "l1/up/plain l2/up/plain loop/loop/plain r/up/plain");
    // The last name is itself, and `**` follows no link.
    assert_eq!(matches("l*"), "l1 l2 l3 l4 loop");
    assert_eq!(matches("**/b.o"), "r/b.o r/sub/b.o");
    assert_eq!(matches("l1/**"), "l1/b.o l1/sub/b.o l1/up");
    assert_eq!(matches("**/l1/b.o"), "l1/b.o");
    assert_eq!(
        matches("l*/**/b.o"),
        "l1/b.o l1/sub/b.o l2/b.o l2/sub/b.o l3/b.o l4/b.o loop/r/b.o loop/r/sub/b.o"
    );
}

#[test]
fn an_output_below_a_link_that_is_one_itself_is_named() {
    let tree = Tree::new();
    tree.file("r/b.o", "");
    symlink("r", tree.0.join("l")).expect("a link");
    let declared = [("*/b.o", DeclaredKind::Glob), ("l", DeclaredKind::Any)];
    let (items, left_out, _) = tree.collect_at("", &declared).expect("outputs");
    assert_eq!(paths(&items), ["r/b.o", "l"]);
    assert_eq!(left_out, "`l/b.o` stands below `l`, an output that is a symbolic link\n");
}

#[test]
fn odd_names_take_no_place_from_good_ones() {
    let tree = Tree::new();
    fs::create_dir(tree.0.join("d")).expect("a directory");
    for n in 0..300_u32 {
        let name = [&b"\xff"[..], n.to_string().as_bytes()].concat();
        File::create(tree.0.join("d").join(OsStr::from_bytes(&name))).expect("a file");
    }
    tree.file("d/good", "");
    let (items, left_out, _) =
        tree.collect_at("", &[("d/g*", DeclaredKind::Glob)]).expect("the good one");
    assert_eq!((paths(&items), left_out.as_str()), (vec!["d/good"], ""));
    // They are none of the names that are read at most.
    let mut odd = 0;
    let directory = File::open(tree.0.join("d")).expect("the directory");
    let mut count = |_: &str| {
        odd += 1;
        Ok(())
    };
    let names = crate::collect::names(directory.as_fd(), "d", 2, &mut count).expect("names");
    assert_eq!((names, odd), (vec!["good".to_owned()], 300));
}

#[test]
fn one_odd_entry_leaves_the_others() {
    let tree = Tree::new();
    for n in 0..150 {
        tree.file(&format!("d/{n:03}"), "");
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let (fifo, path) = (rustix::fs::FileType::Fifo, tree.0.join(format!("d/p{n:03}")));
        rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).expect("a fifo");
    }
    let declared = vec![Declared { path: "d".to_owned(), kind: DeclaredKind::Any }];
    let spec = OutputSpec { declared, ..OutputSpec::default() };
    let collected = collect(tree.root(), &spec, &mut Memory::default()).expect("the files");
    let OutputKind::Directory { directories } = &collected.items[0].kind else { panic!() };
    let root = String::from_utf8_lossy(&directories[0].bytes);
    assert_eq!(root.matches("FileNode").count(), 150, "{root}");
    assert_eq!((collected.left_out.entries.len(), collected.left_out.total), (100, 150));
}

#[test]
fn cancelling_ends_it() {
    let tree = Tree::new();
    tree.file("f", "");
    let declared = vec![Declared { path: "f".to_owned(), kind: DeclaredKind::Any }];
    let spec = OutputSpec { declared, ..OutputSpec::default() };
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

fn place(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}
