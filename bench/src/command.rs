//! Whole commands, process start to exit: what a person waits for.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::peer::Maelstrom;
use crate::report::{Report, Target};
use crate::stats::{Times, rates};

/// `hands run -- true` and 1,000 no-op actions, each beside Maelstrom where it is installed.
pub(crate) fn noop(
    cluster: &Cluster,
    peer: Option<&Maelstrom>,
    dir: &Path,
    report: &mut Report,
) -> Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        ours.extend(cluster.time(&["run", "--", "true"], dir, 20)?);
        if let Some(peer) = peer {
            theirs.extend((0..3).map(|_| peer.one()).collect::<Result<Vec<_>>>()?);
        }
    }
    let ours = Times::new(ours);
    report.add(
        "hands run -- true, start to exit",
        ours.median_ms(),
        "ms",
        ours.summary(),
        Target::AtMost(12.0),
    );
    if !theirs.is_empty() {
        let theirs = Times::new(theirs);
        report.add(
            "  maelstrom-run --one",
            theirs.median_ms(),
            "ms",
            theirs.summary(),
            Target::None,
        );
    }

    // Distinct actions: each has another environment, and no result is cached. Not another argument: with one, coreutils'
    // `true` loads the locale to see whether it asks for help, which takes as long as all the rest of it.
    let list = dir.join("thousand");
    fs::write(
        &list,
        (0..1000)
            .map(|i| format!("{{\"argv\":[\"/bin/true\"],\"env\":{{\"N\":\"{i}\"}}}}\n"))
            .collect::<String>(),
    )?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        cluster.hands(&["batch", "thousand"], dir)?;
        ours.push(1000.0 / start.elapsed().as_secs_f64());
        if let Some(peer) = peer {
            theirs.push(1000.0 / peer.thousand()?.as_secs_f64());
        }
    }
    let (rate, figure) = rates(ours);
    report.add("1,000 no-op actions, hands batch", rate, "/s", figure, Target::AtLeast(1000.0));
    if !theirs.is_empty() {
        let (rate, figure) = rates(theirs);
        report.add("  maelstrom-run -f", rate, "/s", figure, Target::None);
    }
    Ok(())
}

/// A tree of 2,000 files of 100 KiB: first, unchanged, one byte changed.
pub(crate) fn tree(cluster: &Cluster, dir: &Path, report: &mut Report) -> Result<()> {
    let (mut cold, mut floor) = (Vec::new(), Vec::new());
    let submit = ["run", "--input", ".", "--", "true"];
    let mut last = None;
    for round in 0..3_u8 {
        let tree = dir.join(format!("tree{round}"));
        write_tree(&tree, round)?;
        floor.push(sum_and_copy(&tree, &dir.join("copy"))?);
        cold.extend(cluster.time(&submit, &tree, 1)?);
        last = Some(tree);
    }
    let (cold, floor) = (Times::new(cold), Times::new(floor));
    let ratio = cold.median_ms() / floor.median_ms();
    let figure = format!("{ratio:.2} × ({}; floor {:.0} ms)", cold.summary(), floor.median_ms());
    report.add(
        "2,000 × 100 KiB, first: against 1.3 × sha256sum + copy",
        ratio,
        "×",
        figure,
        Target::AtMost(1.0),
    );

    let tree = last.context("three rounds")?;
    wait_for_trust();
    cluster.hands(&submit, &tree)?;
    let warm = Times::new(cluster.time(&submit, &tree, 40)?);
    report.add(
        "2,000 × 100 KiB, unchanged",
        warm.median_ms(),
        "ms",
        warm.summary(),
        Target::AtMost(30.0),
    );

    let mut changed = Vec::new();
    for i in 0..20_u8 {
        let file = tree.join("d07/f0042");
        let mut content = fs::read(&file)?;
        content[50_000] = content[50_000].wrapping_add(i + 1);
        fs::write(&file, content)?;
        changed.extend(cluster.time(&submit, &tree, 1)?);
    }
    let changed = Times::new(changed);
    report.add(
        "2,000 × 100 KiB, one byte changed",
        changed.median_ms(),
        "ms",
        changed.summary(),
        Target::AtMost(50.0),
    );
    Ok(())
}

/// A file changed within two seconds of its hashing is hashed again: what is measured is a tree at rest.
fn wait_for_trust() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        std::thread::park_timeout(Duration::from_millis(2500));
    }
}

fn write_tree(tree: &Path, seed: u8) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(seed) << 32);
    for d in 0..20 {
        let sub = tree.join(format!("d{d:02}"));
        fs::create_dir_all(&sub)?;
        for f in 0..100 {
            let content: Vec<u8> = (0..12_800)
                .flat_map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()
                })
                .collect();
            fs::write(sub.join(format!("f{f:04}")), content)?;
        }
    }
    Ok(())
}

/// The floor: 1.3 times `sha256sum` of the tree and one copy of it.
fn sum_and_copy(tree: &Path, copy: &Path) -> Result<Duration> {
    let shell = |script: &str| -> Result<Duration> {
        let start = Instant::now();
        let status = std::process::Command::new("sh").args(["-c", script]).status()?;
        anyhow::ensure!(status.success(), "{script}");
        Ok(start.elapsed())
    };
    let (tree, copy) = (tree.display(), copy.display());
    let sum = shell(&format!("find {tree} -type f -print0 | xargs -0 sha256sum > /dev/null"))?;
    let copied = shell(&format!("cp -r {tree} {copy}"))?;
    shell(&format!("rm -r {copy}"))?;
    Ok(sum.mul_f64(1.3) + copied)
}
