//! `cargo xtask test`: the one test command. Installs what the tests need, runs every check and test, fast ones first,
//! and ends by asserting that nothing of ours is left on the machine.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::clients;
use crate::leftovers::Machine;
use crate::macos;
use crate::sources;

/// A program that some test calls, and the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("clang", "clang"),
    ("make", "make"),
    ("gdb", "gdb"),
    ("git", "git"),
    ("python3", "python3"),
    // A library, for Debian's own Python: named from the directories of programs.
    ("../lib/python3/dist-packages/prometheus_client", "python3-prometheus-client"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
    ("ps", "procps"),
    ("nft", "nftables"),
    ("perl", "perl-base"),
    ("umoci", "umoci"),
    ("skopeo", "skopeo"),
    ("busybox", "busybox-static"),
];

/// What all the `test result:` lines of a run add up to.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    pub(crate) failed: u64,
    skipped: u64,
}

pub(crate) fn run(root: &Path) -> ExitCode {
    let start = Instant::now();
    if let Err(why) = install_needed() {
        eprintln!("{why}");
        return ExitCode::from(3);
    }
    let scratch = match scratch_directory() {
        Ok(dir) => dir,
        Err(e) => {
            eprintln!("a directory for the tests' files: {e}");
            return ExitCode::from(3);
        }
    };
    if let Err(why) = sources::install(root) {
        eprintln!("skipped: sources that tests compile: {why}");
    }
    let before = Machine::observe();
    let mut tally = Tally::default();
    let steps: &[(&str, &[&str])] = &[
        ("format", &["fmt", "--all", "--check"]),
        ("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        // It is no part of `--all-targets`, as it is not run with the other tests.
        (
            "lints of the clients",
            &[
                "clippy",
                "--package",
                "hands",
                "--test",
                "clients",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ],
        ),
        (
            "the program without its heavy parts",
            &["check", "--package", "hands", "--no-default-features", "--quiet"],
        ),
        ("tidy", &["test", "--quiet", "--package", "xtask"]),
        (
            "the program and all tests, built",
            &["test", "--workspace", "--exclude", "xtask", "--no-run", "--quiet"],
        ),
        ("tests", &["test", "--workspace", "--exclude", "xtask", "--no-fail-fast"]),
    ];
    for (title, arguments) in steps {
        let began = Instant::now();
        println!("== {title}: cargo {}", arguments.join(" "));
        let ok = step(root, &scratch, arguments, &[], &mut tally);
        println!(
            "== {title}: {} in {:.0} s",
            if ok { "ok" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        if !ok && arguments[0] != "test" {
            tally.failed += 1;
        } else if !ok && tally.failed == 0 {
            // A test binary that died, or one that did not compile, prints no result line of its own.
            tally.failed += 1;
        }
    }
    clients(root, &scratch, &[], &mut tally);
    check_for_macos(root, &scratch, &mut tally);
    let left = Machine::observe().left_since(&before, &scratch);
    for thing in &left {
        eprintln!("left behind: {thing}");
    }
    if left.is_empty() {
        println!("== nothing is left: no process, mount, namespace, cgroup or file of ours");
        tally.passed += 1;
    } else {
        tally.failed += 1;
    }
    if let Err(e) = std::fs::remove_dir_all(&scratch) {
        eprintln!("{}: {e}", scratch.display());
    }
    println!("== {:.0} s in all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tests with programs of others, or those of them whose names hold a word of `filter`.
pub(crate) fn clients(root: &Path, scratch: &Path, filter: &[String], tally: &mut Tally) {
    let began = Instant::now();
    let programs = clients::install(root);
    let mut arguments = clients::ARGUMENTS.to_vec();
    arguments.extend(filter.iter().map(String::as_str));
    println!("== clients: cargo {}", arguments.join(" "));
    let failed = tally.failed;
    let ok = step(root, scratch, &arguments, &programs, tally);
    if !ok && tally.failed == failed {
        tally.failed += 1;
    }
    let verdict = if ok { "ok" } else { "FAILED" };
    println!("== clients: {verdict} in {:.0} s", began.elapsed().as_secs_f64());
}

fn check_for_macos(root: &Path, scratch: &Path, tally: &mut Tally) {
    match macos::environment(&clients::directory(root)) {
        Ok(environment) => {
            println!("== macOS: cargo {}", macos::ARGUMENTS.join(" "));
            if step(root, scratch, macos::ARGUMENTS, &environment, tally) {
                tally.passed += 1;
            } else {
                println!("== macOS: FAILED");
                tally.failed += 1;
            }
        }
        Err(why) => {
            println!("skipped: {why}");
            tally.skipped += 1;
        }
    }
}

/// Runs one cargo command, shows its output as it comes and counts its results.
fn step(
    root: &Path,
    scratch: &Path,
    arguments: &[&str],
    environment: &[(&str, PathBuf)],
    tally: &mut Tally,
) -> bool {
    let mut command = hearing_signals(&crate::cargo());
    command.args(arguments).current_dir(root).env("TMPDIR", scratch).env("CARGO_INCREMENTAL", "0");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(target) = target_directory() {
        command.env("CARGO_TARGET_DIR", target);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            eprintln!("cargo: {e}");
            return false;
        }
    };
    let output = child.stdout.take().expect("piped above");
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count(&line, tally);
    }
    child.wait().is_ok_and(|status| status.success())
}

/// The same command, with every signal as it is by default: tests send signals to programs which rightly go on ignoring
/// what they were started with, as `nohup` and the background jobs of a shell start them. Where `env` can't do that (it is
/// GNU's, from coreutils 8.31 on, that can), signals are as this program was given them.
fn hearing_signals(cargo: &Command) -> Command {
    let mut trial = Command::new("env");
    trial.args(["--default-signal", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut command = if trial.status().is_ok_and(|status| status.success()) {
        let mut env = Command::new("env");
        env.arg("--default-signal").arg(cargo.get_program());
        env
    } else {
        Command::new(cargo.get_program())
    };
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// `test result: ok. 12 passed; 0 failed; 0 ignored; …` from cargo's harness, `NAME: 12 passed, 0 failed` from the tests that
/// are programs of their own, and `skipped: WHY` from a test that could not run here.
fn count(line: &str, tally: &mut Tally) {
    if line.starts_with("skipped:") {
        tally.skipped += 1;
    }
    let is_result =
        line.contains("test result: ") || (line.contains(" passed, ") && line.contains(" failed"));
    if !is_result {
        return;
    }
    let mut last = 0;
    for word in line.split([' ', ';', ',']).filter(|word| !word.is_empty()) {
        match word {
            "passed" => tally.passed += last,
            "failed" => tally.failed += last,
            "ignored" => tally.skipped += last,
            number => last = number.parse().unwrap_or(last),
        }
    }
}

/// CI clones afresh each time; its build cache lives in the user's cache directory so that it may find it again.
pub(crate) fn target_directory() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CARGO_TARGET_DIR") {
        return Some(named.into());
    }
    std::env::var_os("CI")?;
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("manyhands-build"))
}

pub(crate) fn scratch_directory() -> std::io::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("hands-test-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    // Tests that become another user need to reach their own directories below.
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o1777))?;
    Ok(dir)
}

pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|d| d.join(program).exists()))
}

fn install_needed() -> Result<(), String> {
    let missing: BTreeSet<&str> =
        NEEDED.iter().filter(|(program, _)| !on_path(program)).map(|(_, p)| *p).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.into_iter().collect::<Vec<_>>();
    apt_install(&list).map_err(|why| format!("{why}; the tests need these packages or their like"))
}

/// Installs Debian packages, as root only.
pub(crate) fn apt_install(list: &[&str]) -> Result<(), String> {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if !is_root || !on_path("apt-get") {
        return Err(format!("not installed, and only root on Debian can: {}", list.join(" ")));
    }
    println!("== packages: {}", list.join(" "));
    for arguments in [
        vec!["update", "-qq"],
        [&["install", "-y", "-qq", "--no-install-recommends"], list].concat(),
    ] {
        let status = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("apt-get {}: {status:?}", arguments.join(" ")));
        }
    }
    Ok(())
}
