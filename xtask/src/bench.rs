//! `cargo xtask bench [core|cluster|bazel|reapi|session [PART…]]`: builds the release program and the harness of `bench/` and runs
//! them. Whole sets are recorded in `bench/results/core.md` and so on; a run of some parts is only shown. Without a name the
//! first two run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};

const SETS: &[&str] = &["core", "cluster", "bazel", "reapi", "session"];

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    match arguments {
        [] => {
            run_set(root, "core", &[])?;
            run_set(root, "cluster", &[])
        }
        [set, parts @ ..] if SETS.contains(&set.as_str()) => run_set(root, set, parts),
        [other, ..] => bail!("no set of figures is called {other}: {}", SETS.join(", ")),
    }
}

/// Builds what is measured; where its programs are.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let cargo = |arguments: &[&str]| -> Result<()> {
        let status = crate::cargo().args(arguments).current_dir(root).status()?;
        ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
        Ok(())
    };
    cargo(&["build", "--release", "--package", "hands", "--package", "hands-bench"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), Into::into)
        .join("release");
    Ok(target)
}

fn run_set(root: &Path, set: &str, parts: &[String]) -> Result<()> {
    let target = build(root)?;
    let results = root.join("bench/results");
    let record = results.join(format!("{set}.md"));
    let mut harness = Command::new(target.join("hands-bench"));
    harness.arg(target.join("hands")).arg(set).args(parts).current_dir(root);
    if parts.is_empty() {
        std::fs::create_dir_all(&results)?;
        harness.env("HANDS_BENCH_RECORD", &record);
    }
    let status = harness.status()?;
    ensure!(status.success(), "hands-bench: {status}");
    // Programs of their own: one core alone, what the sandbox costs without anything around it, the services alone.
    for (of, part, package) in [
        ("core", "sched", "hands-sched"),
        ("core", "graph", "hands-graph"),
        ("core", "sandbox", "hands-sandbox"),
        ("reapi", "services", "hands-reapi"),
    ] {
        if set != of {
            continue;
        }
        if !parts.is_empty() && !parts.iter().any(|p| p == part) {
            continue;
        }
        let arguments = match part {
            "services" => vec!["bench", "--quiet", "--package", package, "--bench", "blobs"],
            _ => vec!["run", "--quiet", "--release", "--package", package, "--example", "bench"],
        };
        let mut command = crate::cargo();
        command.args(arguments);
        // The one that the harness measures beside ours.
        if let ("services", Some(engine)) = (part, std::env::var_os("HANDS_BENCH_ENGINE")) {
            command.arg("--").arg(engine);
        }
        let output = command.current_dir(root).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the bench of {package}: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        if parts.is_empty() {
            let mut record = OpenOptions::new().append(true).open(&record)?;
            write!(record, "\n## {package} alone\n\n```text\n{text}```\n")?;
        }
    }
    Ok(())
}
