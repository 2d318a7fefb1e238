//! Do actions see warm pages? A file of 200 MB read in five actions, against five native warm reads; and staging of a
//! big input root of which little changed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::report::{Report, Target};
use crate::stats::Times;

/// CPU-seconds of five actions that read a 200 MB file, as they report it, against the same program here.
pub(crate) fn big_file(cluster: &Cluster, dir: &Path, report: &mut Report) -> Result<()> {
    let tree = dir.join("big");
    fs::create_dir_all(&tree)?;
    let mut state = 1_u64;
    let content: Vec<u8> = (0..25_000_000)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()
        })
        .collect();
    fs::write(tree.join("file"), content)?;
    let read = "cat file > /dev/null; cat /proc/self/stat > /dev/null; times";
    let submit = ["run", "--input", ".", "--", "bash", "-c", read];
    cluster.hands(&submit, &tree)?;
    let (mut ours, mut native) = (0.0, 0.0);
    for _ in 0..5 {
        ours += times(&cluster.hands(&submit, &tree)?.stdout)?;
        native +=
            times(&Command::new("bash").args(["-c", read]).current_dir(&tree).output()?.stdout)?;
    }
    let ratio = ours / native.max(0.001);
    let figure = format!("{ratio:.2} × ({:.0} ms against {:.0} ms)", ours * 1e3, native * 1e3);
    report.add(
        "200 MB file read in five actions: CPU against native",
        ratio,
        "×",
        figure,
        Target::AtMost(1.15),
    );
    Ok(())
}

/// The user and system seconds of a shell's children: the second line of its `times`.
fn times(output: &[u8]) -> Result<f64> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().nth(1).context("times prints two lines")?;
    line.split_whitespace()
        .map(|word| {
            let (minutes, seconds) =
                word.trim_end_matches('s').split_once('m').context("0m0.000s")?;
            Ok(minutes.parse::<f64>()? * 60.0 + seconds.parse::<f64>()?)
        })
        .sum()
}

/// An input root of 5,000 files of which one changed: the worker's time from lease to start of the command.
pub(crate) fn staging(cluster: &Cluster, dir: &Path, report: &mut Report) -> Result<()> {
    let tree = dir.join("five");
    for d in 0..50 {
        let sub = tree.join(format!("d{d:02}"));
        fs::create_dir_all(&sub)?;
        for f in 0..100 {
            fs::write(sub.join(format!("f{f:03}")), format!("{d} {f}\n").repeat(50))?;
        }
    }
    let submit = ["run", "--json", "--input", ".", "--", "true"];
    cluster.hands(&submit, &tree)?;
    let mut staged = Vec::new();
    for i in 0..30 {
        fs::write(tree.join("d25/f050"), format!("changed {i}\n").repeat(50))?;
        let output = cluster.hands(&submit, &tree)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = text.split("\"staging_us\":").nth(1).context("run --json tells staging_us")?;
        let micros: u64 = field
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()?;
        staged.push(std::time::Duration::from_micros(micros));
    }
    let staged = Times::new(staged);
    report.add(
        "5,000 files, one changed: staged",
        staged.median_ms(),
        "ms",
        staged.summary(),
        Target::AtMost(10.0),
    );
    Ok(())
}
