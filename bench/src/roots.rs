//! An input root of 10,000 files on a worker that has never seen it, and on one that has.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hands_link::Address;

use crate::grid::Grid;
use crate::report::{Report, Target};
use crate::stats::Times;
use crate::wire::{self, Side};

const N_DIRECTORIES: usize = 100;
const N_FILES: usize = 100;

/// Runs the wanted parts: `roots`, and `wire` over TCP, with `HANDS_BENCH_ENGINE` beside another engine.
pub(crate) fn run(
    hands: &Path,
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    let grid = Grid::start(hands, dir)?;
    if wanted("wire") {
        let address = grid.address.parse()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let named = std::env::var("HANDS_BENCH_ENGINE").ok();
        let other = named.as_deref().map(engine).transpose()?;
        let peer = other.as_ref().map(|(name, address)| Side { address, peer: Some(name) });
        let sides = [Some(Side { address: &address, peer: None }), peer];
        // Each figure of both, one after the other, so that both have the same machine.
        for side in sides.into_iter().flatten() {
            runtime.block_on(wire::noop(side, 3.0, report))?;
        }
        for side in sides.into_iter().flatten() {
            runtime.block_on(wire::hits(side, report))?;
        }
        for side in sides.into_iter().flatten() {
            runtime.block_on(wire::find_missing(side, report))?;
        }
    }
    if wanted("roots") {
        ten_thousand_files(&grid, dir, report)?;
    }
    Ok(())
}

/// Reads `NAME=IP:PORT`: an engine of others, measured beside ours.
fn engine(named: &str) -> Result<(String, Address)> {
    let (name, address) = named.split_once('=').context("HANDS_BENCH_ENGINE is NAME=IP:PORT")?;
    Ok((name.to_owned(), address.parse()?))
}

/// The worker's time from its lease to the start of the command: fetching and staging.
fn ten_thousand_files(grid: &Grid, dir: &Path, report: &mut Report) -> Result<()> {
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    for round in 0..5 {
        let tree = dir.join(format!("tree{round}"));
        for d in 0..N_DIRECTORIES {
            let sub = tree.join(format!("d{d}"));
            fs::create_dir_all(&sub)?;
            for f in 0..N_FILES {
                fs::write(sub.join(format!("f{f}")), format!("{round} {d} {f}\n"))?;
            }
        }
        cold.push(staged(grid, &tree)?);
        for _ in 0..4 {
            warm.push(staged(grid, &tree)?);
        }
    }
    for (name, times, most) in [
        ("input root of 10,000 files, cold", cold, 1000.0),
        ("input root of 10,000 files, warm", warm, 30.0),
    ] {
        let times = Times::new(times);
        report.add(name, times.median_ms(), "ms", times.summary(), Target::AtMost(most));
    }
    Ok(())
}

fn staged(grid: &Grid, tree: &Path) -> Result<Duration> {
    let mut command = grid.client();
    let output = command.current_dir(tree).args(["run", "--json", "--input", ".", "--", "true"]);
    let output = output.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let stage = |name: &str| -> Result<u64> {
        let (_, rest) =
            text.split_once(&format!("\"{name}\":")).with_context(|| text.to_string())?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse()?)
    };
    Ok(Duration::from_micros(stage("fetching_us")? + stage("staging_us")?))
}
