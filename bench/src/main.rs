//! The figures of Manyhands beside its peers'. `cargo xtask bench` builds the release program and runs this.
//!
//! `hands-bench HANDS core|cluster|bazel|reapi|session [NAME…]`: with names only those parts run. Results go to stdout and, with
//! `HANDS_BENCH_RECORD`, as a table to that file.

mod bazel;
mod cluster;
mod command;
mod fleet;
mod grid;
mod pages;
mod peer;
mod relay;
mod report;
mod resident;
mod roots;
mod session;
mod stats;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::peer::Maelstrom;
use crate::report::{Report, say};

/// A set of parts.
type Figures = fn(&Path, &Path, &dyn Fn(&str) -> bool, &mut Report) -> Result<()>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("--hostile") {
        return fleet::call_as_a_hostile_member(&arguments.collect::<Vec<_>>());
    }
    if first.as_deref() == Some("--sink") {
        return fleet::sink();
    }
    let usage = "usage: hands-bench HANDS core|cluster|bazel|reapi|session [NAME…]";
    let hands = PathBuf::from(first.context(usage)?);
    let (title, figures): (_, Figures) = match arguments.next().as_deref() {
        Some("core") => ("Core", run),
        Some("cluster") => ("Cluster", fleet::run),
        Some("bazel") => ("Bazel's", bazel::run),
        Some("reapi") => ("Services'", roots::run),
        Some("session") => ("A session's", session::run),
        Some(_) | None => bail!("{usage}"),
    };
    let names: Vec<String> = arguments.collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let dir = std::env::temp_dir().join(format!("hands-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut report = Report::default();
    let outcome = figures(&hands.canonicalize()?, &dir, &wanted, &mut report);
    std::fs::remove_dir_all(&dir)?;
    if let Some(file) = std::env::var_os("HANDS_BENCH_RECORD") {
        std::fs::write(&file, report.markdown(&heading(title)))?;
        say(&format!("recorded in {}", Path::new(&file).display()));
    }
    outcome
}

fn run(hands: &Path, dir: &Path, wanted: &dyn Fn(&str) -> bool, report: &mut Report) -> Result<()> {
    let peer = if wanted("noop") { Maelstrom::start(dir)? } else { None };
    let cluster = Cluster::start(hands, dir)?;
    let address = hands_link::Address::Unix(cluster.socket()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if wanted("idle") {
        resident::binary(hands, report)?;
        resident::idle(&cluster, report)?;
    }
    if wanted("wire") {
        let side = wire::Side { address: &address, peer: None };
        runtime.block_on(wire::noop(side, 2.0, report))?;
        runtime.block_on(wire::hits(side, report))?;
        runtime.block_on(wire::find_missing(side, report))?;
    }
    if wanted("noop") {
        command::noop(&cluster, peer.as_ref(), dir, report)?;
    }
    if wanted("tree") {
        command::tree(&cluster, dir, report)?;
    }
    if wanted("pages") {
        pages::big_file(&cluster, dir, report)?;
        pages::staging(&cluster, dir, report)?;
    }
    Ok(())
}

/// Date, commit and machine, which every recorded result carries.
fn heading(title: &str) -> String {
    let output = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("")
        .trim_matches([' ', '\t', ':'])
        .to_owned();
    format!(
        "# {title} figures\n\n{}, commit {}, {} cpus ({model}), Linux {}, load {}",
        output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
        output("nproc", &[]),
        output("uname", &["-r"]),
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .split(' ')
            .next()
            .unwrap_or(""),
    )
}
