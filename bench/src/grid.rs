//! A hub and a worker as processes of their own, on the loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) struct Grid {
    hands: PathBuf,
    dir: PathBuf,
    /// Ended in this order.
    programs: Vec<Child>,
    /// `IP:PORT` of the hub.
    pub(crate) address: String,
}

impl Grid {
    /// Everything it makes lies below `dir`; the worker has a slot for each cpu.
    pub(crate) fn start(hands: &Path, dir: &Path) -> Result<Self> {
        let mut grid = Self {
            hands: hands.to_owned(),
            dir: dir.to_owned(),
            programs: Vec::new(),
            address: String::new(),
        };
        let listen = ["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"];
        let line = grid.program("hub", &listen, "the hub serves")?;
        let (_, rest) = line.split_once("address=").context("the hub names its address")?;
        grid.address = rest.split_whitespace().next().unwrap_or_default().to_owned();
        let address = grid.address.clone();
        grid.program("worker", &["worker", &address], "connected to the hub")?;
        grid.programs.reverse();
        Ok(grid)
    }

    /// Starts one that stays, and waits for a line of its log.
    fn program(&mut self, home: &str, arguments: &[&str], ready: &str) -> Result<String> {
        let mut command = self.command(home);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().context("hands")?;
        let log = child.stderr.take().context("piped above")?;
        self.programs.push(child);
        let mut log = BufReader::new(log);
        let mut line = String::new();
        let mut seen = String::new();
        while !line.contains(ready) {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                bail!("hands {} ended: {seen}", arguments.join(" "));
            }
            seen.push_str(&line);
        }
        std::thread::Builder::new()
            .spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())))?;
        Ok(line)
    }

    /// `hands` with a home of this name.
    fn command(&self, home: &str) -> Command {
        let mut command = Command::new(&self.hands);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.env("HANDS_HOME", self.dir.join(home));
        command
    }

    /// The hub's process.
    pub(crate) fn hub(&self) -> u32 {
        self.programs.last().map_or(0, Child::id)
    }

    /// `hands` as a user of this hub.
    pub(crate) fn client(&self) -> Command {
        let mut command = self.command("client");
        command.env("HANDS_CLUSTER", &self.address);
        command
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        let stop = ["agent", "stop", "--force", "--local"];
        // Killed, not asked: what they have done is thrown away.
        let stopped = self.command("client").args(stop).output();
        for mut program in self.programs.drain(..) {
            let ended = program.kill().and_then(|()| program.wait());
            if let Err(e) = ended {
                crate::report::say(&format!("a program did not end: {e}"));
            }
        }
        if let Err(e) = stopped {
            crate::report::say(&format!("the agent did not stop: {e}"));
        }
        // The worker's slots are their own processes' children and gone with it; what they had is removed with the rest.
        drop(fs::remove_dir_all(self.dir.join("worker")));
    }
}
