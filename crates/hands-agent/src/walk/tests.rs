#![expect(clippy::unwrap_in_result, reason = "the tested result is the walk's own")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use hands_proto::reapi;
use prost::Message;
use rustix::fs::{Mode, OFlags};

use super::*;
use crate::test_dir;

/// Hashes, and counts what it read.
#[derive(Default)]
struct Reader {
    read: Mutex<Vec<u64>>,
}

impl Sink for Reader {
    fn ingest(&self, file: &mut std::fs::File) -> Result<Ingest, SnapshotError> {
        let digest = hands_store::digest_of_stream(DigestFunction::Sha256, file).unwrap();
        self.read.lock().unwrap().push(digest.size);
        Ok(Ingest::Whole(digest))
    }

    fn stores(&self) -> bool {
        false
    }
}

/// A clock that stands where it is put, nanoseconds.
struct At(i128);

impl Clock for At {
    fn now(&self) -> i128 {
        self.0
    }
}

const FAR_FUTURE: At = At(i128::MAX / 2);

fn input(path: &Path, place: &str, respect_ignore: bool) -> WalkInput {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    WalkInput {
        directory: rustix::fs::open(path, flags, Mode::empty()).unwrap(),
        entry: None,
        place: RelPath::new(place).unwrap(),
        respect_ignore,
        display: "in".to_owned(),
    }
}

/// The walked tree as lines: `path* content-size` for files (* executable), `path -> target`, `path/` for directories.
fn lines(inputs: &[WalkInput]) -> Result<Vec<String>, String> {
    let cache = StatCache::new();
    walk_with(inputs, &cache, &FAR_FUTURE).map(|(lines, _)| lines)
}

fn left_out_of(inputs: &[WalkInput]) -> (Vec<String>, LeftOut) {
    let (lines, _, left_out) = walk_telling(inputs, &StatCache::new(), &FAR_FUTURE).unwrap();
    (lines, left_out)
}

fn walk_with(
    inputs: &[WalkInput],
    cache: &StatCache,
    clock: &dyn Clock,
) -> Result<(Vec<String>, usize), String> {
    walk_telling(inputs, cache, clock).map(|(lines, read, _)| (lines, read))
}

fn walk_telling(
    inputs: &[WalkInput],
    cache: &StatCache,
    clock: &dyn Clock,
) -> Result<(Vec<String>, usize, LeftOut), String> {
    let sink = Reader::default();
    let progress = Progress::default();
    let walk = Walk {
        inputs,
        working_directory: &RelPath::default(),
        function: DigestFunction::Sha256,
        times: false,
        cache,
        clock,
        sink: &sink,
        progress: &progress,
        threads: 2,
    };
    let walked = walk.run().map_err(|e| e.to_string())?;
    let mut lines = Vec::new();
    show(walked.root(), walked.directories(), "", &mut lines);
    lines.sort();
    let read = sink.read.lock().unwrap().len();
    let left_out = walked.left_out().clone();
    Ok((lines, read, left_out))
}

fn show(root: Digest, all: &HashMap<Digest, Bytes>, at: &str, lines: &mut Vec<String>) {
    let directory = reapi::Directory::decode(all[&root].clone()).unwrap();
    for file in &directory.files {
        let star = if file.is_executable { "*" } else { "" };
        lines.push(format!("{at}{}{star} {}", file.name, file.digest.as_ref().unwrap().size_bytes));
    }
    for link in &directory.symlinks {
        lines.push(format!("{at}{} -> {}", link.name, link.target));
    }
    for below in &directory.directories {
        lines.push(format!("{at}{}/", below.name));
        let digest = below.digest.as_ref().unwrap().to_digest(DigestFunction::Sha256).unwrap();
        show(digest, all, &format!("{at}{}/", below.name), lines);
    }
}

fn make(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn a_tree_with_links_modes_odd_names_and_empty_directories() {
    let dir = test_dir("walk");
    make(
        dir.path(),
        &[("a.txt", "12345"), ("sub/run.sh", "#!"), ("sub/ü ö\n", ""), (".hidden", "h"), ("Z", "")],
    );
    fs::set_permissions(dir.path().join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    symlink("../outside/nowhere", dir.path().join("sub/link")).unwrap();
    symlink("/", dir.path().join("root")).unwrap();
    let expected = [
        ".hidden 1",
        "Z 0",
        "a.txt 5",
        "empty/",
        "root -> /",
        "sub/",
        "sub/link -> ../outside/nowhere",
        "sub/run.sh* 2",
        "sub/ü ö\n 0",
    ];
    assert_eq!(lines(&[input(dir.path(), "", false)]).unwrap(), expected);
}

#[test]
fn the_root_is_the_one_that_hands_tree_builds() {
    let dir = test_dir("golden");
    make(dir.path(), &[("b", "x"), ("a/c", "y")]);
    let inputs = [input(dir.path(), "", false)];
    let (cache, sink, progress) = (StatCache::new(), Reader::default(), Progress::default());
    let walk = Walk {
        inputs: &inputs,
        working_directory: &RelPath::default(),
        function: DigestFunction::Sha256,
        times: false,
        cache: &cache,
        clock: &FAR_FUTURE,
        sink: &sink,
        progress: &progress,
        threads: 1,
    };
    // Computed by hand: Directory{directories: [a]}, with protobuf's own encoding.
    let file = |name: &str, text: &[u8]| reapi::FileNode {
        name: name.to_owned(),
        digest: Some(hands_tree::hash(DigestFunction::Sha256, text).into()),
        ..reapi::FileNode::default()
    };
    let below = reapi::Directory { files: vec![file("c", b"y")], ..reapi::Directory::default() }
        .encode_to_vec();
    let root = reapi::Directory {
        files: vec![file("b", b"x")],
        directories: vec![reapi::DirectoryNode {
            name: "a".to_owned(),
            digest: Some(hands_tree::hash(DigestFunction::Sha256, &below).into()),
        }],
        ..reapi::Directory::default()
    };
    let expected = hands_tree::hash(DigestFunction::Sha256, &root.encode_to_vec());
    assert_eq!(walk.run().unwrap().root(), expected);
}

#[test]
fn ignore_files_mean_what_git_means() {
    let dir = test_dir("ignore");
    let root = dir.path().join("repo");
    make(
        &root,
        &[
            (".git/config", ""),
            (".git/info/exclude", "excluded\n"),
            (".gitignore", "*.o\n/target/\n!keep.o\nlogs/**/*.log\n# comment\nbuild/\n"),
            (".ignore", "big.bin\n"),
            (".handsignore", "!big.bin\nsecret\n"),
            ("a.o", ""),
            ("keep.o", ""),
            ("target/x", ""),
            ("sub/target/y", ""),
            ("sub/.gitignore", "!*.o\nlocal\n"),
            ("sub/b.o", ""),
            ("sub/local", ""),
            ("local", ""),
            ("logs/1/2/x.log", ""),
            ("logs/x.txt", ""),
            ("big.bin", ""),
            ("secret", ""),
            ("excluded", ""),
            ("build", ""),
            // A repository inside: the outer .gitignore ends at it, .handsignore does not.
            ("inner/.git/HEAD", ""),
            ("inner/c.o", ""),
            ("inner/secret", ""),
        ],
    );
    let all = lines(&[input(&root, "", true)]).unwrap();
    let files: Vec<&str> = all
        .iter()
        .filter(|l| !l.ends_with('/'))
        .map(|l| l.strip_suffix(" 0").unwrap_or(l))
        .collect();
    let small: Vec<&str> = files.iter().copied().filter(|f| !f.contains("ignore ")).collect();
    assert_eq!(
        small,
        [
            "big.bin",
            "build",
            "inner/c.o",
            "keep.o",
            "local",
            "logs/x.txt",
            "sub/b.o",
            "sub/target/y"
        ]
    );
    // The ignore files themselves are sent.
    assert_eq!(files.len() - small.len(), 4);

    // From below, the rules above hold as well, up to the repository's root.
    let sub = lines(&[input(&root.join("sub"), "", true)]).unwrap();
    assert_eq!(sub, [".gitignore 11", "b.o 0", "target/", "target/y 0"]);
    // Named explicitly, all of it is sent, .git of the inner one included.
    let whole = lines(&[input(&root.join("inner"), "", false)]).unwrap();
    assert_eq!(whole, [".git/", ".git/HEAD 0", "c.o 0", "secret 0"]);
    // A directory that is itself ignored is there because somebody named it.
    let named = lines(&[input(&root.join("target"), "out", true)]).unwrap();
    assert_eq!(named, ["out/", "out/x 0"]);
}

#[test]
fn without_a_repository_rules_above_do_not_count() {
    let dir = test_dir("no-repo");
    make(
        dir.path(),
        &[(".gitignore", "*.o\n"), ("in/a.o", ""), ("in/.gitignore", "*.tmp\n"), ("in/b.tmp", "")],
    );
    assert_eq!(
        lines(&[input(&dir.path().join("in"), "", true)]).unwrap(),
        [".gitignore 6", "a.o 0"]
    );
}

#[test]
fn what_an_input_root_cannot_hold_is_an_error_that_names_the_path() {
    let dir = test_dir("unfit");
    let case = |make: &dyn Fn(&Path)| {
        let root = dir.path().join("case");
        fs::create_dir_all(root.join("sub")).unwrap();
        make(&root.join("sub"));
        let error = lines(&[input(&root, "", true)]).unwrap_err();
        fs::remove_dir_all(&root).unwrap();
        error
    };
    let foreign = std::ffi::OsStr::from_bytes(b"bad\xffname");
    assert!(
        case(&|d| fs::write(d.join(foreign), "").unwrap())
            .starts_with("in/sub/bad\u{fffd}name has a name that is not UTF-8")
    );
    let link = case(&|d| symlink(foreign, d.join("l")).unwrap());
    assert_eq!(link, "in/sub/l is a link to a path that is not UTF-8");
    // Ignored, none of them matters.
    make(dir.path(), &[("ok/.ignore", "bad*\n")]);
    fs::write(dir.path().join("ok").join(std::ffi::OsStr::from_bytes(b"good")), "").unwrap();
    assert_eq!(lines(&[input(&dir.path().join("ok"), "", true)]).unwrap(), [".ignore 5", "good 0"]);
}

#[test]
fn what_stays_here_is_told() {
    let dir = test_dir("left-out");
    let files = [
        (".ignore", "*.o\nout\n"),
        ("a/one.o", ""),
        ("out/x", ""),
        // They ignore themselves: all of them, all but the file that says so, and a part.
        ("b/self/.gitignore", "*\n"),
        ("b/self/x", ""),
        ("b/kept/.gitignore", "*\n!.gitignore\n"),
        ("b/kept/x", ""),
        ("b/part/.gitignore", "x\n"),
        ("b/part/x", ""),
        ("b/part/y", ""),
        ("b/empty/.gitignore", "x\n"),
    ];
    make(dir.path(), &files);
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("a/s")).unwrap());
    let mode = Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("a/p"), fifo, mode, 0).unwrap();
    let inputs = [input(dir.path(), "at", true)];
    let (tree, left_out) = left_out_of(&inputs);
    assert!(tree.contains(&"at/a/".to_owned()) && tree.contains(&"at/b/part/y 0".to_owned()));
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let LeftOut { unfit, ignored, ignored_directories, .. } = &left_out;
    assert_eq!(sorted(&unfit.names), ["in/a/p (named pipe)", "in/a/s (socket)"]);
    assert_eq!(
        sorted(&ignored.names),
        [
            "in/a/one.o",
            "in/b/kept/x",
            "in/b/part/x",
            "in/b/self/.gitignore",
            "in/b/self/x",
            "in/out"
        ]
    );
    assert_eq!((unfit.count, ignored.count, left_out.vanished.count), (2, 6, 0));
    let places = ["at/a", "at/b/kept", "at/b/self", "at/out"];
    assert_eq!(sorted(ignored_directories), places);
    // A person who names one of them wants what is in it.
    let named = lines(&[input(&dir.path().join("b/self"), "", true)]).unwrap();
    assert_eq!(named, [".gitignore 2", "x 0"]);
    // One that only happens to hold nothing else keeps its secrets.
    make(dir.path(), &[("b/empty/x", "")]);
    let named = lines(&[input(&dir.path().join("b/empty"), "", true)]).unwrap();
    assert_eq!(named, [".gitignore 2"]);
    let mut pipe = input(&dir.path().join("a"), "p", true);
    pipe.entry = Some("p".to_owned());
    assert_eq!(lines(&[pipe]).unwrap_err(), "in/p is a named pipe");
}

#[test]
fn unreadable_files_are_errors_for_whoever_is_not_root() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything; the ordinary user's run of the tests covers this.
        return;
    }
    let dir = test_dir("unreadable");
    make(dir.path(), &[("closed", "x")]);
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(
        lines(&[input(dir.path(), "", true)]).unwrap_err().starts_with("in/closed can't be opened")
    );
}

#[test]
fn inputs_merge_and_clash() {
    let dir = test_dir("merge");
    make(dir.path(), &[("one/a/x", "1"), ("two/a/y", "22"), ("three/a", "333")]);
    let at = |name: &str, place: &str| input(&dir.path().join(name), place, false);
    let merged = lines(&[at("one", ""), at("two", ""), at("three", "deep/er")]).unwrap();
    assert_eq!(merged, ["a/", "a/x 1", "a/y 2", "deep/", "deep/er/", "deep/er/a 3"]);
    let clash = lines(&[at("one", ""), at("three", "")]).unwrap_err();
    assert!(clash.contains("something else already stands at"), "{clash}");
    // What is named twice is there once: as itself, by a part of it, by a whole that it is in.
    let mut part = at("one/a", "a/x");
    part.entry = Some("x".to_owned());
    for inputs in [[at("one", ""), at("one", "")], [at("one", ""), part]] {
        assert_eq!(lines(&inputs).unwrap(), ["a/", "a/x 1"]);
        let [first, second] = inputs;
        assert_eq!(lines(&[second, first]).unwrap(), ["a/", "a/x 1"]);
    }

    let mut single = at("one/a", "place/renamed");
    single.entry = Some("x".to_owned());
    assert_eq!(lines(&[single]).unwrap(), ["place/", "place/renamed 1"]);
    for entry in ["..", "a/x", "."] {
        let mut hostile = at("one", "p");
        hostile.entry = Some(entry.to_owned());
        lines(&[hostile]).unwrap_err();
    }
}

#[test]
fn unchanged_files_are_not_read_again_and_changed_ones_are() {
    let dir = test_dir("cache");
    let many: Vec<(String, String)> =
        (0..300).map(|i| (format!("d{}/f{i}", i % 7), i.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    make(dir.path(), &many);
    let cache = StatCache::new();
    let inputs = [input(dir.path(), "", true)];
    let (first, read) = walk_with(&inputs, &cache, &FAR_FUTURE).unwrap();
    assert_eq!(read, 300);
    let (second, read) = walk_with(&inputs, &cache, &FAR_FUTURE).unwrap();
    assert_eq!((second, read), (first.clone(), 0));

    // Same length, and the old modification time put back: the inode's change time tells.
    let path = dir.path().join("d3/f3");
    let times = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "4").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
    let (_, read) = walk_with(&inputs, &cache, &FAR_FUTURE).unwrap();
    assert_eq!(read, 1);
}

#[test]
fn files_that_have_just_changed_are_read_each_time() {
    let dir = test_dir("fresh");
    make(dir.path(), &[("f", "x")]);
    let cache = StatCache::new();
    let inputs = [input(dir.path(), "", true)];
    // Within two seconds of the change, by a clock that we hold.
    let stat = rustix::fs::stat(dir.path().join("f")).unwrap();
    let changed = i128::from(crate::stat_cache::StatKey::of(&stat).ctime);
    for (offset, expected) in
        [(1_000_000_000, 1), (1_999_999_999, 1), (2_000_000_000, 1), (2_000_000_001, 0)]
    {
        let (_, read) = walk_with(&inputs, &cache, &At(changed + offset)).unwrap();
        assert_eq!(read, expected, "{offset}");
    }
}

#[test]
fn a_walk_of_more_directories_than_descriptors_ends() {
    let dir = test_dir("wide");
    let mut expected = BTreeMap::new();
    for i in 0..700 {
        let name = format!("d{i}/e/f");
        make(dir.path(), &[(&name, "x")]);
        expected.insert(name, ());
    }
    let all = lines(&[input(dir.path(), "", true)]).unwrap();
    assert_eq!(all.iter().filter(|l| !l.ends_with('/')).count(), expected.len());
}
