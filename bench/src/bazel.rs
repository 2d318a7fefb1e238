//! A Bazel workspace of 500 small rules, built on a hub of ours.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::grid::Grid;
use crate::relay::Relay;
use crate::report::{Report, Target, say};
use crate::resident;
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
    // The server starts, the workspace is read, Java compiles what it runs often; the figures are thrown away.
    bazel.build(&clean)?;
    for jobs in ["--jobs=50", "--jobs=1"] {
        for _ in 0..6 {
            bazel.build(&cached(jobs))?;
        }
    }
    bazel.figure(report, "500 rules, clean, --jobs=50", &clean, 5, Target::AtMost(8.0))?;
    let name = "500 rules, cached, --jobs=50";
    let before = bazel.cpu(&grid)?;
    bazel.figure(report, name, &cached("--jobs=50"), 9, Target::AtMost(1.0))?;
    let after = bazel.cpu(&grid)?;
    for (name, before, after) in [
        ("  Bazel's own share: CPU of its server, a build", before.0, after.0),
        ("  the hub's share: its CPU, a build", before.1, after.1),
    ] {
        let each = (after - before) / 9.0;
        report.add(name, each, "s", format!("{each:.2} s of CPU on two cores"), Target::None);
    }
    let name = "500 rules, cached, --jobs=1";
    bazel.figure(report, name, &cached("--jobs=1"), 7, Target::AtMost(2.2))?;
    // The same through a relay that sees how long the hub takes to answer: the rest is Bazel's.
    let relay = Relay::start(&grid.address)?;
    let through = format!("--remote_executor=grpc://{}", relay.address);
    let through = [through.as_str(), remote[1], remote[2], "--jobs=1"];
    bazel.build(&through)?;
    let (mut own, mut hubs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        relay.take();
        let all = bazel.build(&through)?;
        let hub = relay.take();
        hubs.push(hub);
        own.push(all.saturating_sub(hub));
    }
    for (name, times) in [
        ("  Bazel's own share, through a relay", own),
        ("  the hub's share: until it answers", hubs),
    ] {
        let times = Times::new(times);
        report.add(name, times.at(0.5).as_secs_f64(), "s", times.summary(), Target::None);
    }
    let nothing =
        (0..5).map(|_| bazel.build_as_it_is(&cached("--jobs=50"))).collect::<Result<Vec<_>>>()?;
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

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BAZEL);
        command.current_dir(&self.workspace).stdin(Stdio::null()).arg(&self.startup);
        command.env("HOME", &self.workspace).env("PATH", "/usr/bin:/bin").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        let output = self.command(arguments).output()?;
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

    /// Seconds of CPU that Bazel's server and the hub have taken so far.
    fn cpu(&self, grid: &Grid) -> Result<(f64, f64)> {
        let mut command = self.command(&["info", "server_pid"]);
        let output = command.output()?;
        let pid = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok((resident::cpu(&[pid])?, resident::cpu(&[grid.hub()])?))
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
