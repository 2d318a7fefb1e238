//! Many actions over one session, a build beside a named older one (`HANDS_BENCH_BEFORE`), by turns: each round has both, so that
//! what else the machine does meets both alike.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hands_proto::v1::InfoRequest;
use hands_proto::v1::jobs_client::JobsClient;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::report::{Report, Target};
use crate::resident::{cpu, resident};

/// Rounds, each with both builds.
const ROUNDS: usize = 3;
/// Commands that the cache answers.
const HITS: usize = 10_000;
/// Commands that wait in a hub without a worker.
const QUEUED: usize = 10_000;
/// The same where memory is measured.
const MANY: usize = 100_000;

/// How long a hub has to give memory back.
const REST: Duration = Duration::from_secs(15);

/// One build, with what was measured of it.
struct Side {
    name: &'static str,
    hands: PathBuf,
    figures: Vec<(&'static str, &'static str, Vec<f64>)>,
}

impl Side {
    fn note(&mut self, what: &'static str, unit: &'static str, value: f64) {
        match self.figures.iter_mut().find(|(known, _, _)| *known == what) {
            Some((_, _, values)) => values.push(value),
            None => self.figures.push((what, unit, vec![value])),
        }
    }
}

const HIT: &str = "CPU of all processes per cache hit";
const RUN: &str = "hands run -- true, start to exit";

pub(crate) fn run(
    hands: &Path,
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
    report: &mut Report,
) -> Result<()> {
    let mut sides = Vec::new();
    if let Some(before) = std::env::var_os("HANDS_BENCH_BEFORE") {
        let hands = PathBuf::from(before).canonicalize().context("HANDS_BENCH_BEFORE")?;
        sides.push(Side { name: "before", hands, figures: Vec::new() });
    }
    sides.push(Side { name: "now", hands: hands.to_owned(), figures: Vec::new() });
    for round in 0..ROUNDS {
        for side in &mut sides {
            let home = dir.join(format!("{}{round}", side.name));
            fs::create_dir_all(&home)?;
            if wanted("hits") || wanted("run") {
                on_the_agent(side, &home, wanted)?;
            }
            if wanted("queue") {
                queue(side, &home, QUEUED, false)?;
            }
            if wanted("memory") {
                queue(side, &home, MANY, true)?;
            }
            fs::remove_dir_all(&home)?;
        }
    }
    tell(&sides, report);
    Ok(())
}

/// Medians of each side, and what has become of them.
fn tell(sides: &[Side], report: &mut Report) {
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let Some(now) = sides.last() else { return };
    for (what, unit, values) in &now.figures {
        let all = values.iter().map(|v| format!("{v:.2}")).collect::<Vec<_>>().join(", ");
        let own = median(values);
        let before = sides.iter().find(|side| side.name == "before");
        let before = before
            .and_then(|side| side.figures.iter().find(|(known, _, _)| known == what))
            .map(|(_, _, values)| median(values));
        match before {
            None => report.add(what, own, unit, format!("{own:.2} {unit} ({all})"), Target::None),
            Some(before) => {
                let ratio = own / before;
                let figure = format!("{own:.2} {unit} ({all}), before {before:.2}: {ratio:.2} ×");
                report.add(what, ratio, "×", figure, Target::None);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
const fn count(n: usize) -> f64 {
    n as f64
}

/// Commands that differ by their environment, a JSON line each.
fn list(path: &Path, n: usize, cache: bool) -> Result<()> {
    let line =
        |i| format!("{{\"argv\":[\"/bin/true\"],\"env\":{{\"N\":\"{i}\"}},\"cache\":{cache}}}\n");
    Ok(fs::write(path, (0..n).map(line).collect::<String>())?)
}

/// One person's cluster: answers of the cache, and a single command.
fn on_the_agent(side: &mut Side, home: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    let cluster = Cluster::start(&side.hands, home)?;
    if wanted("hits") {
        list(&home.join("hits"), HITS, true)?;
        cluster.hands(&["batch", "hits"], home)?;
        let processes = cluster.processes()?;
        let (own, theirs, start) = (children()?, cpu(&processes)?, Instant::now());
        cluster.hands(&["batch", "hits"], home)?;
        let took = start.elapsed();
        let own = children()? - own;
        let all = own + cpu(&processes)? - theirs;
        side.note(HIT, "µs", all / count(HITS) * 1e6);
        side.note("  of these the front-end's", "µs", own / count(HITS) * 1e6);
        side.note("  10,000 of them", "s", took.as_secs_f64());
    }
    if wanted("run") {
        let times = crate::stats::Times::new(cluster.time(&["run", "--", "true"], home, 40)?);
        side.note(RUN, "ms", times.median_ms());
    }
    Ok(())
}

/// Commands that wait in a hub without a worker, and are given up by Ctrl-C.
fn queue(side: &mut Side, home: &Path, n: usize, is_for_memory: bool) -> Result<()> {
    let hub = Hub::start(&side.hands, home)?;
    list(&home.join("list"), n, false)?;
    let before = resident(hub.0.id())?;
    let own = children()?;
    let start = Instant::now();
    let mut batch = hub.batch(&side.hands, home)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_queued(&hub.1, n))?;
    let seen = start.elapsed();
    let full = resident(hub.0.id())?;
    let client = resident(batch.id())?;
    let begun = Instant::now();
    let pid = Pid::from_child(&batch);
    kill_process(pid, Signal::INT)?;
    let status = batch.wait()?;
    let ended = begun.elapsed();
    ensure!(status.code() == Some(130), "hands batch: {status}");
    let own = children()? - own;
    if is_for_memory {
        side.note(
            "hub's memory per queued action, of 100,000",
            "KiB",
            (full - before) * 1e6 / 1024.0 / count(n),
        );
        side.note("front-end's memory with 100,000", "MB", client);
        let rest = Instant::now();
        while rest.elapsed() < REST {
            std::thread::park_timeout(REST);
        }
        side.note(
            "hub's memory 15 s after they ended, beyond that before",
            "MB",
            resident(hub.0.id())? - before,
        );
    } else {
        side.note("10,000 commands: all known to the scheduler after", "s", seen.as_secs_f64());
        side.note("  CPU of the front-end per command", "µs", own / count(n) * 1e6);
        side.note("  Ctrl-C with 10,000 open, until its exit", "s", ended.as_secs_f64());
    }
    Ok(())
}

/// CPU of processes that were waited for, seconds.
fn children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Ok((fields[13].parse::<f64>()? + fields[14].parse::<f64>()?) / 100.0)
}

/// A hub without a worker, and where it listens.
struct Hub(Child, String);

impl Hub {
    fn start(hands: &Path, home: &Path) -> Result<Self> {
        let mut command = Command::new(hands);
        command.args(["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"]);
        command.current_dir(home).env("HANDS_HOME", home.join("hub")).stdin(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().context("hands hub")?;
        let mut log = BufReader::new(child.stderr.take().context("piped above")?);
        let mut line = String::new();
        while !line.contains("the hub serves") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                bail!("the hub has ended");
            }
        }
        std::thread::Builder::new()
            .spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())))?;
        let (_, rest) = line.split_once("address=").context("the hub names its address")?;
        let address = rest.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self(child, address))
    }

    fn batch(&self, hands: &Path, home: &Path) -> Result<Child> {
        let mut command = Command::new(hands);
        command.args(["batch", "list"]).current_dir(home).env("HANDS_HOME", home.join("client"));
        command.env("HANDS_CLUSTER", &self.1).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().context("hands batch")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(e) = ended {
            crate::report::say(&format!("the hub did not end: {e}"));
        }
    }
}

/// Asks the hub until it has so many actions that wait.
async fn until_queued(address: &str, n: usize) -> Result<()> {
    let address = address.parse().context("the hub's address")?;
    let mut jobs = JobsClient::new(hands_link::connect(&address));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120) {
        let info = jobs.info(InfoRequest::default()).await?.into_inner();
        if info.queued as usize >= n {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the hub never had {n} actions")
}
