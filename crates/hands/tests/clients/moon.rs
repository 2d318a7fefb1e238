//! moon, which uses the cache and runs everything itself.

use std::fs;

use crate::grid::Grid;
use crate::home::ran;
use crate::tool::tool;

const WORKSPACE: &str = "\
projects: ['app']
telemetry: false
remote:
  host: 'grpcs://ADDRESS'
  cache:
    instanceName: ''
  mtls:
    caCert: 'MEMBER/ca.pem'
    clientCert: 'MEMBER/cert.pem'
    clientKey: 'MEMBER/key.pem'
    domain: 'localhost'
";

const PROJECT: &str = "\
tasks:
  build:
    command: 'sh build.sh'
    toolchains: ['system']
    inputs: ['in.txt', 'build.sh']
    outputs: ['out.txt', 'tree']
";

const BUILD: &str = "\
tr a-z A-Z < in.txt > out.txt
mkdir -p tree/sub
echo deep > tree/sub/f
: > tree/empty
";

#[test]
fn moon_finds_what_another_machine_built() {
    let Some(program) = tool("HANDS_TEST_MOON") else { return };
    let grid = Grid::new(&[]);
    // It records results itself, which takes a role of its own.
    let member = grid.member("writer", &["cache-write"]);
    let member = member.join("state/clusters/grid").display().to_string();
    let workspace = WORKSPACE.replace("ADDRESS", &grid.address).replace("MEMBER", &member);
    grid.home.write("ws/.moon/workspace.yml", &workspace);
    grid.home.write("ws/app/moon.yml", PROJECT);
    grid.home.write("ws/app/build.sh", BUILD);
    grid.home.write("ws/app/in.txt", "words\n");
    grid.home.write("ws/.gitignore", ".moon/cache\nout.txt\ntree\n");
    let root = grid.home.work().join("ws");
    let run = |program: &std::path::Path, arguments: &[&str]| {
        let ended = ran(grid.program(program).current_dir(&root).args(arguments).output().unwrap());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        format!("{}{}", ended.out, ended.err)
    };
    // It wants a commit.
    let who = ["-c", "user.name=a", "-c", "user.email=a@b"];
    for words in [&["init", "-q", "."][..], &["add", "-A"], &["commit", "-q", "-m", "x"]] {
        run("git".as_ref(), &[&who, words].concat());
    }
    let first = run(&program, &["run", "app:build"]);
    assert!(!first.contains("cached") && !first.contains("WARN"), "{first}");
    // As on a machine that has the sources alone.
    fs::remove_dir_all(root.join(".moon/cache")).unwrap();
    fs::remove_dir_all(root.join("app/tree")).unwrap();
    fs::remove_file(root.join("app/out.txt")).unwrap();
    let second = run(&program, &["run", "app:build"]);
    assert!(second.contains("cached from remote") && !second.contains("WARN"), "{second}");
    assert_eq!(grid.home.read("ws/app/out.txt"), "WORDS\n");
    assert_eq!(grid.home.read("ws/app/tree/sub/f"), "deep\n");
    assert_eq!(grid.home.read("ws/app/tree/empty"), "");
}
