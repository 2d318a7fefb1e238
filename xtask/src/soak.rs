//! `cargo xtask soak`: the counts that take too long for `cargo xtask test`. One command runs all of them, shows each as
//! it goes, and writes down what came of it in `bench/results/soak.md`, whatever that is.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};

use crate::bench;

/// One long count.
struct Part {
    what: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Lines of its output that hold this word are its result.
    result: &'static str,
}

const TEST: &[&str] = &["test", "--package", "hands", "--test", "it", "--"];

const PARTS: &[Part] = &[
    Part {
        what: "the hub is killed 50 times in 500 actions, gone for 0.5 to 30 s each",
        arguments: &["durability::a_hub_killed_at_any_moment"],
        environment: &[("HANDS_SOAK_KILLS", "50"), ("HANDS_SOAK_GONE", "30000")],
        result: "test result",
    },
    Part {
        what: "a worker stands still for two minutes",
        arguments: &["lost_workers::a_late_result_of_a_worker_that_stood_still"],
        environment: &[("HANDS_SOAK_STILL", "120")],
        result: "test result",
    },
    Part {
        what: "over TLS, outputs and input under way: the hub stands still for 65 s, and is gone for 50 s",
        arguments: &["long_pauses::a_hub_over_tls"],
        environment: &[("HANDS_SOAK_STILL", "65"), ("HANDS_SOAK_AWAY", "50")],
        result: "test result",
    },
    Part {
        what: "over TLS, outputs under way: a worker stands still for 65 s",
        arguments: &["long_pauses::a_worker_over_tls"],
        environment: &[("HANDS_SOAK_STILL", "65")],
        result: "test result",
    },
    Part {
        what: "20,000 simulated histories with faults",
        arguments: &[],
        environment: &[("SIM_SEEDS", "20000")],
        result: "test result",
    },
];

/// Parts of `cargo xtask bench cluster`, and what they are.
const MEASURED: &[(&str, &str)] = &[
    ("a start with 100,000 queued actions and 1,000,000 blobs", "startup"),
    ("ten minutes of a hostile member's calls, an honest one beside it", "hostile"),
];

pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    // Each time at other moments; what a failure needs to be repeated is in its line.
    let seed = SystemTime::UNIX_EPOCH.elapsed().context("a clock")?.as_secs().to_string();
    let mut table = String::new();
    let mut all_well = true;
    let mut row = |what: &str, went_well: bool, result: &str, began: Instant| {
        let verdict = if went_well { "ok" } else { "FAILED" };
        let seconds = began.elapsed().as_secs();
        println!("== {what}: {verdict} in {seconds} s");
        writeln!(table, "| {what} | {verdict} | {result} | {seconds} s |")
    };
    for part in PARTS {
        println!("== {}", part.what);
        let began = Instant::now();
        let (went_well, result) = one(root, part, &seed)?;
        all_well &= went_well;
        row(part.what, went_well, &result, began)?;
    }
    for (what, part) in MEASURED {
        println!("== {what}");
        let began = Instant::now();
        let (went_well, result) = measured(root, part, &seed)?;
        all_well &= went_well;
        row(what, went_well, &result, began)?;
    }
    let record = root.join("bench/results/soak.md");
    std::fs::create_dir_all(root.join("bench/results"))?;
    let text = format!(
        "# Soak\n\n{}, HANDS_SOAK_SEED={seed}\n\n| what | | result | time |\n| --- | --- | --- | --- |\n{table}",
        machine()
    );
    std::fs::write(&record, text)?;
    println!("recorded in {}", record.display());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(root: &Path, part: &Part, seed: &str) -> Result<(bool, String)> {
    let mut command = crate::cargo();
    if part.arguments.is_empty() {
        command.args(["test", "--profile", "sim", "--package", "hands-sim"]);
    } else {
        command.args(TEST).args(part.arguments);
    }
    command.envs(part.environment.iter().copied()).env("HANDS_SOAK_SEED", seed);
    show(command.current_dir(root), |line| line.contains(part.result))
}

/// A part of the bench that has limits of its own.
fn measured(root: &Path, part: &str, seed: &str) -> Result<(bool, String)> {
    let target = bench::build(root)?;
    let mut harness = Command::new(target.join("hands-bench"));
    harness.arg(target.join("hands")).args(["cluster", part]).current_dir(root);
    harness.env("HANDS_SOAK_SEED", seed).env("HANDS_BENCH_HOSTILE_SECONDS", "600");
    let (went_well, result) = show(&mut harness, |line| line.contains('≤'))?;
    Ok((went_well && !result.contains("MISSED"), result))
}

/// Runs a program, shows its output as it comes, and keeps the lines that say what came of it.
fn show(command: &mut Command, is_result: impl Fn(&str) -> bool) -> Result<(bool, String)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("piped above")?;
    let mut kept = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if is_result(&line) {
            kept.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    Ok((child.wait()?.success() && !kept.is_empty(), kept.join("; ")))
}

fn machine() -> String {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    format!(
        "{}, commit {}, {} cpus ({}), Linux {}",
        output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
        output("nproc", &[]),
        model.trim_matches([' ', '\t', ':']),
        output("uname", &["-r"]),
    )
}
