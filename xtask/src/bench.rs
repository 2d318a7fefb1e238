//! `cargo xtask bench [PART…]`: builds the release program and the harness of `bench/` and runs them. A whole run is
//! recorded in `bench/results/core.md`; a run of some parts is only shown.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

pub(crate) fn run(root: &Path, parts: &[String]) -> Result<()> {
    let cargo = |arguments: &[&str]| -> Result<()> {
        let status = Command::new(env!("CARGO")).args(arguments).current_dir(root).status()?;
        ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
        Ok(())
    };
    cargo(&["build", "--release", "--package", "hands", "--package", "hands-bench"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), Into::into)
        .join("release");
    let results = root.join("bench/results");
    let mut harness = Command::new(target.join("hands-bench"));
    harness.arg(target.join("hands")).args(parts).current_dir(root);
    if parts.is_empty() {
        std::fs::create_dir_all(&results)?;
        harness.env("HANDS_BENCH_RECORD", results.join("core.md"));
    }
    let status = harness.status()?;
    ensure!(status.success(), "hands-bench: {status}");
    if parts.is_empty() || parts.iter().any(|p| p == "sched") {
        cargo(&["run", "--release", "--package", "hands-sched", "--example", "bench"])?;
    }
    Ok(())
}
