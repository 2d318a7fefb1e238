//! A hub as a process, which can be killed and started again on its state.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use hands_link::Address;

pub(crate) struct Hub {
    hands: PathBuf,
    dir: PathBuf,
    process: Option<Child>,
}

impl Hub {
    /// Everything it makes lies below `dir`. Returns when it serves.
    pub(crate) fn start(hands: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut hub = Self { hands: hands.to_owned(), dir: dir.to_owned(), process: None };
        let log = hub.spawn()?;
        until(log, "the hub serves")?;
        Ok(hub)
    }

    /// Starts its process, and answers with its log.
    pub(crate) fn spawn(&mut self) -> Result<BufReader<std::process::ChildStderr>> {
        let mut command = Command::new(&self.hands);
        command.args(["hub", "--listen", &format!("unix:{}", self.socket().display()), "--state"]);
        command.arg(self.dir.join("state")).env("HANDS_HOME", self.dir.join("home"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().context("hands hub")?;
        let log = process.stderr.take().context("piped above")?;
        self.process = Some(process);
        Ok(BufReader::new(log))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("hub.sock")
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.socket())
    }

    /// Resident memory, MB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let process = self.process.as_ref().context("it runs")?;
        crate::resident::resident(process.id())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            crate::report::say(&format!("the hub did not end: {error:#}"));
        }
    }
}

/// Reads a log until a line has these words, and then on for ever, so that nobody who writes to it blocks.
pub(crate) fn until(
    mut log: BufReader<impl std::io::Read + Send + 'static>,
    words: &str,
) -> Result<()> {
    let (mut line, mut seen) = (String::new(), String::new());
    while !line.contains(words) {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "it ended: {seen}");
        seen.push_str(&line);
    }
    std::thread::Builder::new()
        .spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())))?;
    Ok(())
}
