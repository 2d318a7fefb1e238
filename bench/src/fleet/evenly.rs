//! Two workers of two slots, each machine a network namespace: 400 actions of 100 ms.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::hub::until;
use crate::report::{Report, Target, say};
use crate::stats::Times;

const ACTIONS: u32 = 400;
const TAKES: Duration = Duration::from_millis(100);
const SLOTS: u32 = 4;

pub(crate) fn evenly(hands: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        say("skipped: two workers in namespaces: needs root");
        return Ok(());
    }
    let machines = ["hub", "one", "two", "client"]
        .map(|name| Machine::new(hands, dir.join("machines").join(name)));
    let [hub, one, two, client] = machines;
    let (hub, one, two, client) = (hub?, one?, two?, client?);
    for (n, other) in [(1, &one), (2, &two), (3, &client)] {
        hub.link(other, n)?;
    }
    let _hub = hub.start(&["hub", "--listen", "0.0.0.0:8980"], "the hub serves")?;
    let token = |role: &str| hub.output(&["token", "create", "--role", role]);
    let mut workers = Vec::new();
    for (name, machine) in [("one", &one), ("two", &two)] {
        let arguments = ["worker", &token("worker")?, "--name", name, "--slots", "2"];
        workers.push(machine.start(&arguments, "connected to the hub")?);
    }
    client.output(&["login", &token("submit")?])?;
    let list = client.dir.join("list").display().to_string();
    let seconds = sleep_that_takes(TAKES)?;
    let line = format!("{{\"argv\":[\"sleep\",\"{seconds}\"]}}\n");
    fs::write(&list, (0..ACTIONS).map(|_| line.as_str()).collect::<String>())?;
    client.output(&["batch", "--jobs", "64", &list])?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        client.output(&["batch", "--jobs", "64", &list])?;
        times.push(start.elapsed());
    }
    let times = Times::new(times);
    let ideal = TAKES * (ACTIONS / SLOTS);
    let ratio = times.at(0.5).as_secs_f64() / ideal.as_secs_f64();
    report.add(
        "2 workers × 2 slots, 400 actions of 100 ms: of the ideal",
        ratio,
        "×",
        format!("{ratio:.3} × ({}; hands batch, start to exit)", times.summary()),
        Target::AtMost(1.03),
    );
    Ok(())
}

/// What to tell `sleep` so that it takes this long from its start to its end on this machine: a process takes a
/// millisecond or two by itself.
fn sleep_that_takes(time: Duration) -> Result<String> {
    let asked = time.as_secs_f64();
    let mut took = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        let done = Command::new("sleep").arg(asked.to_string()).status()?;
        ensure!(done.success(), "sleep: {done}");
        took.push(start.elapsed());
    }
    let more = Times::new(took).at(0.5).as_secs_f64() - asked;
    Ok(format!("{:.4}", asked - more))
}

/// A machine: a network namespace with an address, and a home.
struct Machine {
    hands: PathBuf,
    dir: PathBuf,
    holder: Child,
}

impl Machine {
    fn new(hands: &Path, dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut command = Command::new("unshare");
        // `cat` ends with this program, whatever becomes of it: its input closes.
        command.args(["--net", "--", "sh", "-c", "echo ready; exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("piped above")?).read_line(&mut line)?;
        let machine = Self { hands: hands.to_owned(), dir, holder };
        ensure!(line == "ready\n", "no network namespace");
        machine.ip(&["link", "set", "lo", "up"])?;
        Ok(machine)
    }

    /// Joins another one to this by a cable of its own.
    fn link(&self, other: &Self, n: u8) -> Result<()> {
        let (ours, theirs, name) =
            (format!("10.78.{n}.1/24"), format!("10.78.{n}.2/24"), format!("n{n}"));
        let there = other.holder.id().to_string();
        let pair = ["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &there];
        self.ip(&pair)?;
        self.ip(&["addr", "add", &ours, "dev", &name])?;
        self.ip(&["link", "set", &name, "up"])?;
        other.ip(&["addr", "add", &theirs, "dev", "eth0"])?;
        other.ip(&["link", "set", "eth0", "up"])
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--", program]);
        command.env("HANDS_HOME", self.dir.join("home")).current_dir(&self.dir);
        command.stdin(Stdio::null());
        command
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        let done = self.command("ip").args(arguments).status()?;
        ensure!(done.success(), "ip {}: {done}", arguments.join(" "));
        Ok(())
    }

    /// Runs `hands` to its end; what it printed.
    fn output(&self, arguments: &[&str]) -> Result<String> {
        let program = self.hands.to_str().context("a UTF-8 path")?;
        let done = self.command(program).args(arguments).output()?;
        let err = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "hands {}: {}\n{err}", arguments.join(" "), done.status);
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }

    /// Starts `hands` as a program that stays.
    fn start(&self, arguments: &[&str], ready: &str) -> Result<Program> {
        let program = self.hands.to_str().context("a UTF-8 path")?;
        let mut command = self.command(program);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().context("piped above")?;
        let program = Program(child);
        until(BufReader::new(log), ready)?;
        Ok(program)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
