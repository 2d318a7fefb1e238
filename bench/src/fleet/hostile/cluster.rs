//! The hub, the honest member's worker, and where their processes run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use hands_link::{Address, JoinString};
use hands_types::{Role, Roles};

use super::TAG;
use crate::fleet::hub::until;
use crate::report::say;
use crate::resident::{below, cpu, resident};

/// A hub with its authority on loopback, and one real worker.
pub(super) struct Cluster {
    hands: PathBuf,
    dir: PathBuf,
    hub: Child,
    worker: Option<Child>,
}

impl Cluster {
    pub(super) fn start(hands: &Path, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut cluster = Self {
            hands: hands.to_owned(),
            dir: dir.to_owned(),
            hub: spawn_hub(hands, dir)?,
            worker: None,
        };
        cluster.ready()?;
        let join = cluster.token(&[Role::Worker])?;
        let mut worker = cluster.command();
        worker.args(["worker", &join, "--name", "honest", "--tag", TAG, "--slots", "2", "--state"]);
        let mut worker = worker.arg(dir.join("worker")).stderr(Stdio::piped()).spawn()?;
        let log = worker.stderr.take().context("piped above")?;
        cluster.worker = Some(worker);
        until(std::io::BufReader::new(log), "connected to the hub")?;
        Ok(cluster)
    }

    fn ready(&mut self) -> Result<()> {
        let log = self.hub.stderr.take().context("piped")?;
        until(std::io::BufReader::new(log), "the hub serves")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.hands);
        command
            .env("HANDS_HOME", self.dir.join("home"))
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        command
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.dir.join(format!("member-{name}"))
    }

    fn token(&self, roles: &[Role]) -> Result<String> {
        let mut command = self.command();
        command.args(["token", "create"]);
        for role in roles {
            command.args(["--role", role.name()]);
        }
        let made = command.output()?;
        if !made.status.success() {
            bail!("hands token create: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// Joins; how the member dials.
    pub(super) async fn member(&self, name: &str, roles: &[Role]) -> Result<Address> {
        let join: JoinString = self.token(roles)?.parse()?;
        let all = roles.iter().fold(Roles::NONE, |all, role| all.with(*role));
        hands_link::enrol(&join, name, all, &self.dir(name)).await?;
        Ok(Address::Member(self.dir(name)))
    }

    /// Resident memory of the hub, MB.
    pub(super) fn resident(&self) -> Result<f64> {
        resident(self.hub.id())
    }

    /// Seconds of CPU of the hub so far.
    pub(super) fn cpu(&self) -> Result<f64> {
        cpu(&[self.hub.id()])
    }

    /// Has the hub, the worker with all below it, and this program run on these CPUs only, as `taskset` lists them.
    pub(super) fn run_on(&self, cpus: &str) -> Result<()> {
        let roots = [self.hub.id(), std::process::id()];
        let worker = self.worker.iter().flat_map(|worker| below(worker.id()));
        roots.into_iter().chain(worker).try_for_each(|process| run_on(process, cpus))
    }
}

/// Has all threads of a process run on these CPUs only.
pub(super) fn run_on(process: u32, cpus: &str) -> Result<()> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", cpus, &process.to_string()]);
    let done = command.output().context("taskset")?;
    // One that has just ended runs nowhere.
    let is_here = Path::new("/proc").join(process.to_string()).exists();
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success() || !is_here, "taskset: {said}");
    Ok(())
}

fn spawn_hub(hands: &Path, dir: &Path) -> Result<Child> {
    let mut hub = Command::new(hands);
    hub.args(["hub", "--listen", "127.0.0.1:0", "--name", "bench"]);
    hub.env("HANDS_HOME", dir.join("home")).current_dir(dir);
    hub.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    hub.spawn().context("hands hub")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.worker.iter_mut().chain([&mut self.hub]) {
            let ended = process.kill().and_then(|()| process.wait());
            if let Err(error) = ended {
                say(&format!("a process did not end: {error}"));
            }
        }
    }
}
