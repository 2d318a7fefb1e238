//! The hostile member's process, as the one that measures sees it.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cluster::Cluster;
use super::sink::Sink;

/// What it sent and took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    /// Bytes of messages.
    pub(super) bytes: f64,
    /// Seconds of CPU.
    pub(super) cpu: f64,
}

pub(super) struct Flood {
    process: Child,
    totals: PathBuf,
}

impl Flood {
    /// Begins to call the hub, or a sink with so many bytes a second.
    pub(super) fn start(
        cluster: &Cluster,
        seed: u64,
        length: Duration,
        sink: Option<(&Sink, f64)>,
    ) -> Result<Self> {
        let totals = cluster.dir("totals");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--hostile").arg(cluster.dir("hostile"));
        command.args([seed.to_string(), length.as_secs().to_string()]).arg(&totals);
        if let Some((sink, rate)) = sink {
            command.args([sink.address.as_str(), &format!("{rate:.0}")]);
        }
        let process = command.stdin(Stdio::null()).spawn()?;
        Ok(Self { process, totals })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    pub(super) fn totals(mut self) -> Result<Totals> {
        ensure!(self.process.wait()?.success(), "the hostile member did not end well");
        let text = std::fs::read_to_string(&self.totals)?;
        let (bytes, cpu) = text.split_once(' ').context("bytes and seconds")?;
        Ok(Totals { bytes: bytes.parse()?, cpu: cpu.parse()? })
    }
}
