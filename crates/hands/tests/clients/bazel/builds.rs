//! Everything that a build has, and how it ends when it does not end well.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;

use super::{Bazel, links};
use crate::grid::Grid;
use crate::home::{json, ran, signal};
use crate::tool::tool;

#[test]
fn bazel_4_builds_by_certificate_and_by_token() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let grid = Grid::new(&[]);
    let bazel = Bazel::new_4(&grid, &program);
    builds(&grid, &bazel, "hands");
    the_cluster_knows_whose_they_were(&grid);
    // The same by the other way in: nothing to do but to look it up; and all over again.
    bazel.ok(&["clean"]);
    all_from_the_cache(&bazel, "bearer");
    bazel.ok(&["clean"]);
    let anew =
        bazel.ok(&["build", "--config=bearer", "--noremote_accept_cached", "//:ran", "//:empty"]);
    assert!(processes(&anew.err).contains("3 remote"), "{}", anew.err);
    // A failure says what there is to say.
    bazel_4_tells_of_failures(&grid, &bazel);
    links::are_refused(&bazel, "hands");
    for config in ["hands", "bearer"] {
        timed_out_tests_keep_their_log(&bazel, config);
        interrupted(&grid, &bazel, config);
    }
}

#[test]
fn bazel_2_builds_on_the_loopback() {
    let Some(program) = tool("HANDS_TEST_BAZEL_2") else { return };
    let grid = Grid::plain();
    let bazel = Bazel::new_2(&grid, &program);
    builds(&grid, &bazel, "plain");
    the_cluster_knows_what_bazel_2_tells(&grid);
    failures_show_both_streams(&bazel, "plain");
    links::are_refused(&bazel, "plain");
    timed_out_tests_keep_their_log(&bazel, "plain");
    interrupted(&grid, &bazel, "plain");
}

/// It sends its header with all calls but GetCapabilities and uploads.
#[test]
fn bazel_2_builds_by_token() {
    let Some(program) = tool("HANDS_TEST_BAZEL_2") else { return };
    let grid = Grid::new(&[]);
    let bazel = Bazel::new_2(&grid, &program);
    builds(&grid, &bazel, "bearer");
    failures_show_both_streams(&bazel, "bearer");
    links::are_refused(&bazel, "bearer");
    timed_out_tests_keep_their_log(&bazel, "bearer");
    interrupted(&grid, &bazel, "bearer");
    // A token that has been revoked opens nothing, whatever the connection has shown before.
    let tokens = json(&grid.home.run(&["token", "list", "--json"]).out);
    let is_bearer = |token: &&serde_json::Value| token["kind"] == "bearer";
    let id = tokens.iter().find(is_bearer).expect("the one of the bazelrc")["id"].as_str().unwrap();
    let revoked = grid.home.run(&["token", "revoke", id]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    bazel.ok(&["clean"]);
    let refused = bazel.run(&["build", "--config=bearer", "//:empty"]);
    let words = "UNAUTHENTICATED: this token is not known, has expired or was revoked";
    assert!(refused.code != 0 && refused.err.contains(words), "{refused:?}");
}

/// A clean build, what it made, the tests, the same again from the cache, and without downloads.
fn builds(grid: &Grid, bazel: &Bazel, config: &str) {
    let config_flag = format!("--config={config}");
    let clean = bazel.ok(&["build", &config_flag, "//..."]);
    assert!(!processes(&clean.err).contains("local"), "{}", clean.err);
    let hello = ran(grid.program(bazel.output("hello")).output().unwrap());
    assert_eq!((hello.code, hello.out.as_str()), (0, "hello, bazel\n"), "{hello:?}");
    assert_eq!(bazel.read("shouted.txt"), "QUIET WORDS\n");
    assert_eq!(bazel.read("ran.txt"), "ran\n", "a program that an action made runs in another");
    assert_eq!(bazel.read("empty.txt"), "");
    // Directories, and links.
    assert_eq!(fs::read_dir(bazel.output("none")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(bazel.output("full/a/b")).unwrap().count(), 1);
    assert_ne!(fs::metadata(bazel.output("full/a/run")).unwrap().permissions().mode() & 0o100, 0);
    let listing =
        "a/b/text 5\na/directory/text 5\na/empty 0\na/relative 5\na/run 29\nfrom the tree\n";
    assert_eq!(bazel.read("full_listing.txt"), listing);
    links::are_built(bazel);

    // Tests, one of them in three shards that share the work.
    bazel.ok(&["test", &config_flag, "//..."]);
    let logs = bazel.root().join("bazel-testlogs");
    for n in 1..=3 {
        let log = fs::read_to_string(logs.join(format!("shards/shard_{n}_of_3/test.log"))).unwrap();
        assert!(log.contains(&format!("shard {} of 3", n - 1)), "{log}");
    }

    bazel.ok(&["clean"]);
    all_from_the_cache(bazel, config);
    assert_eq!(bazel.read("full_listing.txt"), listing);
    links::are_built(bazel);

    // Without downloads, inputs of actions are outputs that this machine never saw. Bazel does that without links.
    bazel.ok(&["clean"]);
    let minimal =
        ["build", &config_flag, "--remote_download_minimal", "--build_tag_filters=-links"];
    bazel.ok(&[&minimal[..], &["--noremote_accept_cached", "//..."]].concat());
    assert!(!bazel.output("ran.txt").exists(), "it was downloaded");
    bazel.ok(&[&minimal[..], &["//..."]].concat());
}

/// What this Bazel says of its actions, lists show.
fn the_cluster_knows_whose_they_were(grid: &Grid) {
    let jobs = grid.jobs(&["-a"]);
    let table = grid.ok(&["ps", "-a"]);
    for (mnemonic, target) in
        [("CppLink", "//:hello"), ("Genrule", "//:shouted"), ("TestRunner", "//:shards")]
    {
        let is_it =
            |job: &serde_json::Value| job["mnemonic"] == mnemonic && job["target"] == target;
        assert!(jobs.iter().any(is_it), "{mnemonic} {target}: {table}");
    }
    assert!(table.contains("Genrule //:shouted"), "{table}");
}

/// It names itself and its builds, and no rules: what is listed is the command.
fn the_cluster_knows_what_bazel_2_tells(grid: &Grid) {
    let jobs = grid.jobs(&["-a", "--limit=500"]);
    assert!(jobs.iter().all(|job| job["tool"] == "bazel" && job["invocation"].is_string()));
    let table = grid.ok(&["ps", "-a", "--limit=500"]);
    assert!(table.contains("> bazel-out/k8-fastbuild/bin/empty.txt"), "{table}");
}

/// Builds what the hub knows: no action is executed.
fn all_from_the_cache(bazel: &Bazel, config: &str) {
    let again = bazel.ok(&["build", &format!("--config={config}"), "//..."]);
    let summary = processes(&again.err);
    assert!(summary.contains("remote cache hit"), "{}", again.err);
    assert!(!summary.contains(" remote,") && !summary.contains(" remote."), "{}", again.err);
    assert_eq!(bazel.read("shouted.txt"), "QUIET WORDS\n");
}

/// The line by which Bazel sums its actions up.
fn processes(log: &str) -> &str {
    log.lines().find(|line| line.contains(" process")).unwrap_or_else(|| panic!("{log}"))
}

/// What Bazel says of an action that failed.
fn failures_show_both_streams(bazel: &Bazel, config: &str) -> String {
    let failed = bazel.run(&["build", &format!("--config={config}"), "//:fails"]);
    let all = format!("{}{}", failed.out, failed.err);
    assert_eq!(failed.code, 1, "{all}");
    assert!(all.contains("said on stdout\n") && all.contains("said on stderr\n"), "{all}");
    assert!(all.contains("to see more: hands status "), "{all}");
    all
}

fn bazel_4_tells_of_failures(grid: &Grid, bazel: &Bazel) {
    let all = failures_show_both_streams(bazel, "hands");
    // What it prints besides is a command that shows more.
    let hint = all.lines().find_map(|line| line.strip_prefix("to see more: ")).expect(&all);
    let words: Vec<&str> = hint.split(' ').collect();
    assert_eq!(words[..2], ["hands", "status"], "{all}");
    let more = grid.ok(&words[1..]);
    assert!(more.contains("//:fails") && more.contains("exit 3"), "{more}");
}

fn timed_out_tests_keep_their_log(bazel: &Bazel, config: &str) {
    let config = format!("--config={config}");
    let slow = bazel.run(&["test", &config, "--test_timeout=2", "//:slow"]);
    assert_eq!(slow.code, 3, "{slow:?}");
    assert!(slow.out.contains("TIMEOUT"), "{slow:?}");
    let log = fs::read_to_string(bazel.root().join("bazel-testlogs/slow/test.log")).unwrap();
    assert!(log.contains("said before the end"), "{log}");
}

fn interrupted(grid: &Grid, bazel: &Bazel, config: &str) {
    let config = format!("--config={config}");
    let build = bazel.start(&["build", &config, "//:stays0", "//:stays1"]);
    let running =
        |grid: &Grid| grid.jobs(&[]).iter().filter(|job| job["state"] == "running").count();
    grid.until("both actions run", |grid| running(grid) == 2);
    signal(&build, Signal::INT);
    let took = grid.until("no slot is busy", |grid| grid.n_busy() == 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(grid.jobs(&[]).is_empty(), "{:?}", grid.jobs(&[]));
    let ended = ran(build.wait_with_output().unwrap());
    assert_eq!(ended.code, 8, "{ended:?}");
}
