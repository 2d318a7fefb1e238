//! A cluster of one with its own `HANDS_HOME`, started and stopped as a user would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::resident::below;

pub(crate) struct Cluster {
    hands: PathBuf,
    home: PathBuf,
}

impl Cluster {
    /// Starts the agent by running one action; everything it makes lies below `dir`.
    pub(crate) fn start(hands: &Path, dir: &Path) -> Result<Self> {
        let cluster = Self { hands: hands.to_owned(), home: dir.join("home") };
        fs::create_dir_all(&cluster.home)?;
        cluster.hands(&["run", "--", "true"], dir)?;
        Ok(cluster)
    }

    pub(crate) fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.hands);
        command.current_dir(dir).env("HANDS_HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Runs one `hands` command to its end; an error shows what it wrote.
    pub(crate) fn hands(&self, arguments: &[&str], dir: &Path) -> Result<Output> {
        let output = self.command(dir).args(arguments).output().context("hands")?;
        if !output.status.success() {
            bail!(
                "hands {}: {}\n{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output)
    }

    /// Process start to exit, several times.
    pub(crate) fn time(
        &self,
        arguments: &[&str],
        dir: &Path,
        times: usize,
    ) -> Result<Vec<Duration>> {
        (0..times)
            .map(|_| {
                let start = Instant::now();
                self.hands(arguments, dir)?;
                Ok(start.elapsed())
            })
            .collect()
    }

    /// The socket on which the agent serves.
    pub(crate) fn socket(&self) -> Result<PathBuf> {
        find(&self.home, "agent.sock").context("no agent.sock below HANDS_HOME")
    }

    /// Process ids of the agent and all below it.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let status = self.hands(&["agent", "status", "--json"], Path::new("/"))?;
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let digits = text.split("\"pid\":").nth(1).context("agent status has no pid")?;
        let pid: u32 = digits
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()?;
        Ok(below(pid))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopped = self.hands(&["agent", "stop", "--force"], Path::new("/"));
        if let Err(e) = stopped {
            crate::report::say(&format!("the agent did not stop: {e:#}"));
        }
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if entry.file_name() == name {
            return Some(path);
        }
        if path.is_dir()
            && !path.is_symlink()
            && let Some(found) = find(&path, name)
        {
            return Some(found);
        }
    }
    None
}
