//! What it costs when nothing happens, and what it weighs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::report::{Report, Target};

/// CPU and memory of the agent (hub and worker in one) with its launcher and spawners, over 20 idle seconds.
pub(crate) fn idle(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let processes = cluster.processes()?;
    let before = cpu(&processes)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        std::thread::park_timeout(Duration::from_secs(20));
    }
    let share = (cpu(&processes)? - before) / start.elapsed().as_secs_f64() * 100.0;
    report.add(
        "idle: CPU of hub, worker and slots",
        share,
        "%",
        format!("{share:.3} %"),
        Target::AtMost(0.1),
    );
    let agent = resident(processes[0])?;
    report.add(
        "idle: agent's resident memory",
        agent,
        "MB",
        format!("{agent:.1} MB"),
        Target::AtMost(40.0),
    );
    let all: f64 = processes.iter().filter_map(|&p| resident(p).ok()).sum();
    report.add("  with launcher and slots", all, "MB", format!("{all:.1} MB"), Target::None);
    Ok(())
}

pub(crate) fn binary(hands: &Path, report: &mut Report) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let size = fs::metadata(hands)?.len() as f64 / 1e6;
    report.add("binary", size, "MB", format!("{size:.1} MB"), Target::AtMost(25.0));
    Ok(())
}

/// A process and all below it.
pub(crate) fn below(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        // A process that has ended has no children.
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    all
}

/// Seconds of CPU of these processes so far; clock ticks are hundredths on Linux.
pub(crate) fn cpu(processes: &[u32]) -> Result<f64> {
    let mut ticks = 0.0;
    for pid in processes {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let (_, rest) = stat.rsplit_once(')').context("stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        ticks += fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}

/// Resident memory, MB.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse::<f64>()? * 1024.0 / 1e6)
}
