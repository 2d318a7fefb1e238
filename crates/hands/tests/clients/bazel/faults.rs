//! What goes wrong around a build, which it gets over.

use std::fmt::Write as _;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use super::Bazel;
use crate::grid::Grid;
use crate::home::ran;
use crate::tool::tool;

/// Small actions, each a moment long: something happens in the middle of a build of them.
const N: usize = 40;

#[test]
fn a_build_gets_over_the_loss_of_the_hub_of_workers_and_of_all_blobs() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let mut grid = Grid::new(&[]);
    let bazel = Bazel::new_4(&grid, &program);
    gets_over_losses(&mut grid, &bazel, "hands");
}

#[test]
fn a_build_of_bazel_2_gets_over_the_same() {
    let Some(program) = tool("HANDS_TEST_BAZEL_2") else { return };
    let mut grid = Grid::plain();
    let bazel = Bazel::new_2(&grid, &program);
    gets_over_losses(&mut grid, &bazel, "plain");
}

fn gets_over_losses(grid: &mut Grid, bazel: &Bazel, config: &str) {
    let config = format!("--config={config}");
    for round in 0..4 {
        let package = (0..N).fold(String::new(), |mut text, i| {
            let command = format!("sleep 0.3; echo {i} of {round} > $@");
            writeln!(text, "genrule(name = 'g{i}', outs = ['o{i}'], cmd = '{command}')").unwrap();
            text
        });
        write(bazel, &format!("many{round}/BUILD"), &package);
    }
    for round in 0..4 {
        let build = bazel.start(&["build", &config, "--jobs=8", &format!("//many{round}:all")]);
        let done = |grid: &Grid| {
            let jobs = grid.jobs(&["-a", "--limit=500"]);
            let output = format!("/many{round}/");
            let of_this = |job: &&serde_json::Value| {
                job["state"] == "done"
                    && job["command"].as_str().is_some_and(|c| c.contains(&output))
            };
            jobs.iter().filter(of_this).count()
        };
        grid.until("a part is done", |grid| done(grid) >= N / 8);
        match round {
            0 => {
                grid.kill_hub();
                let away = Instant::now();
                grid.start_hub();
                assert!(away.elapsed() < Duration::from_secs(1), "{:?}", away.elapsed());
            }
            1 => {
                grid.kill_worker(0);
                grid.restart_worker(0);
            }
            2 => {
                // Nothing that was uploaded or made is there any more.
                grid.kill_hub();
                fs::remove_dir_all(grid.home.hands_home().join("state/hub/store")).unwrap();
                grid.start_hub();
            }
            _ => {
                // Both at once, in the other order.
                grid.kill_worker(1);
                grid.kill_hub();
                grid.start_hub();
                grid.restart_worker(1);
            }
        }
        passed(build);
        for i in 0..N {
            assert_eq!(bazel.read(&format!("many{round}/o{i}")), format!("{i} of {round}\n"));
        }
    }
}

#[test]
fn a_build_that_no_worker_can_do_ends_with_a_sentence() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let grid = Grid::new(&[]);
    ends_with_a_sentence(&grid, &Bazel::new_4(&grid, &program), "hands");
}

#[test]
fn a_build_of_bazel_2_that_no_worker_can_do_ends_with_the_same() {
    let Some(program) = tool("HANDS_TEST_BAZEL_2") else { return };
    let grid = Grid::new(&[]);
    ends_with_a_sentence(&grid, &Bazel::new_2(&grid, &program), "bearer");
}

fn ends_with_a_sentence(grid: &Grid, bazel: &Bazel, config: &str) {
    let property = "--remote_default_exec_properties=OSFamily=plan9";
    let ended = bazel.run(&["build", &format!("--config={config}"), property, "//:empty"]);
    assert_ne!(ended.code, 0);
    let sentence = "no worker offers os=plan9; 2 workers offer linux";
    assert!(ended.err.contains(sentence), "{}", ended.err);
    assert!(grid.jobs(&[]).is_empty(), "it is not queued any more");
}

/// What docs/bazel.md says of builds without downloads: this Bazel takes for there what it saw made.
#[test]
fn outputs_that_are_gone_end_a_build_without_downloads_until_bazel_forgets() {
    let Some(program) = tool("HANDS_TEST_BAZEL") else { return };
    let mut grid = Grid::new(&[]);
    let bazel = Bazel::new_4(&grid, &program);
    let rule = |name: &str, inputs: &str, command: &str| {
        format!(
            "genrule(name = '{name}', srcs = {inputs}, outs = ['{name}.txt'], cmd = '{command}')\n"
        )
    };
    let rules = rule("first", "[]", "echo first > $@")
        + &rule("slow", "['first']", "sleep 2; echo slow > $@")
        + &rule("last", "['first', 'slow']", "cat $(SRCS) > $@");
    write(&bazel, "chain/BUILD", &rules);
    let minimal = ["build", "--config=hands", "--remote_download_minimal", "//chain:last"];
    let build = bazel.start(&minimal);
    grid.until("the second runs", |grid| {
        let jobs = grid.jobs(&[]);
        jobs.iter().any(|job| job["state"] == "running" && job["target"] == "//chain:slow")
    });
    grid.kill_hub();
    fs::remove_dir_all(grid.home.hands_home().join("state/hub/store")).unwrap();
    grid.start_hub();
    for refused in [ran(build.wait_with_output().unwrap()), bazel.run(&minimal)] {
        assert!(refused.code != 0 && refused.err.contains("ensureInputsPresent"), "{refused:?}");
    }
    bazel.ok(&["shutdown"]);
    bazel.ok(&minimal);
}

fn passed(build: Child) {
    let ended = ran(build.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
}

fn write(bazel: &Bazel, path: &str, text: &str) {
    let path = bazel.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
