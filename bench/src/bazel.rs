//! A Bazel workspace of 500 small rules, built on a hub of ours.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::grid::Grid;
use crate::report::{Report, Target, say};
use crate::stats::Times;

const N_RULES: usize = 500;
/// Debian's, from `bazel-bootstrap`.
const BAZEL: &str = "/usr/bin/bazel";

/// All figures, or a line that says why there are none.
pub(crate) fn run(
    hands: &Path,
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    if !wanted("rules") {
        return Ok(());
    }
    if !Path::new(BAZEL).exists() {
        say(&format!("skipped: {BAZEL} is not here; Debian's package is bazel-bootstrap"));
        return Ok(());
    }
    let grid = Grid::start(hands, dir)?;
    let bazel = Bazel::new(dir)?;
    let remote = format!("--remote_executor=grpc://{}", grid.address);
    let remote = [remote.as_str(), "--spawn_strategy=remote", "--strategy=Genrule=remote"];
    let cached = |jobs: &'static str| [&remote[..], &[jobs]].concat();
    let clean = [&cached("--jobs=50")[..], &["--noremote_accept_cached"]].concat();
    // The server starts, the workspace is read, the figure is thrown away.
    bazel.build(&clean)?;
    for (name, flags, n, target) in [
        ("500 rules, clean, --jobs=50", clean, 5, Target::AtMost(8.0)),
        ("500 rules, cached, --jobs=50", cached("--jobs=50"), 9, Target::AtMost(1.0)),
        ("500 rules, cached, --jobs=1", cached("--jobs=1"), 5, Target::AtMost(2.2)),
    ] {
        bazel.figure(report, name, &flags, n, target)?;
    }
    // What Bazel takes for itself: the same from files of its own, with no server at all, and nothing to do.
    let disk = format!("--disk_cache={}", dir.join("disk").display());
    let local = [disk.as_str(), "--spawn_strategy=local", "--strategy=Genrule=local"];
    bazel.build(&local)?;
    for (name, jobs) in [
        ("  Bazel's own share: cached on disk, --jobs=50", "--jobs=50"),
        ("  Bazel's own share: cached on disk, --jobs=1", "--jobs=1"),
    ] {
        bazel.figure(report, name, &[&local[..], &[jobs]].concat(), 5, Target::None)?;
    }
    let nothing = (0..5).map(|_| bazel.build_as_it_is(&local)).collect::<Result<Vec<_>>>()?;
    let nothing = Times::new(nothing);
    let seconds = nothing.at(0.5).as_secs_f64();
    report.add("  Bazel's own share: nothing to do", seconds, "s", nothing.summary(), Target::None);
    Ok(())
}

struct Bazel {
    workspace: PathBuf,
    startup: String,
}

impl Bazel {
    fn new(dir: &Path) -> Result<Self> {
        let workspace = dir.join("workspace");
        fs::create_dir_all(&workspace)?;
        fs::write(workspace.join("WORKSPACE"), "")?;
        fs::write(workspace.join("in.txt"), "in\n")?;
        let mut build = String::new();
        for i in 0..N_RULES {
            let command = format!("(cat $(location in.txt); echo {i}) > $@");
            writeln!(
                build,
                "genrule(name = 'g{i}', srcs = ['in.txt'], outs = ['o{i}.txt'], cmd = '{command}')"
            )?;
        }
        fs::write(workspace.join("BUILD"), build)?;
        let startup = format!("--output_user_root={}", dir.join("bazel").display());
        Ok(Self { workspace, startup })
    }

    fn run(&self, arguments: &[&str]) -> Result<Duration> {
        let mut command = Command::new(BAZEL);
        command.current_dir(&self.workspace).stdin(Stdio::null()).arg(&self.startup);
        command.env("HOME", &self.workspace).env("PATH", "/usr/bin:/bin");
        let start = Instant::now();
        let output = command.args(arguments).output()?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bazel {}: {said}", arguments.join(" "));
        Ok(took)
    }

    /// From nothing here to all outputs here.
    fn build(&self, flags: &[&str]) -> Result<Duration> {
        self.run(&["clean"])?;
        self.build_as_it_is(flags)
    }

    fn build_as_it_is(&self, flags: &[&str]) -> Result<Duration> {
        let fixed = ["build", "--nosandbox_debug", "--noshow_progress", "--color=no"];
        self.run(&[&fixed, flags, &["//..."]].concat())
    }

    fn figure(
        &self,
        report: &mut Report,
        name: &str,
        flags: &[&str],
        n: usize,
        target: Target,
    ) -> Result<()> {
        let times = (0..n).map(|_| self.build(flags)).collect::<Result<Vec<_>>>()?;
        let times = Times::new(times);
        report.add(name, times.at(0.5).as_secs_f64(), "s", times.summary(), target);
        Ok(())
    }
}

impl Drop for Bazel {
    fn drop(&mut self) {
        if let Err(e) = self.run(&["shutdown"]) {
            say(&format!("{e:#}"));
        }
    }
}
