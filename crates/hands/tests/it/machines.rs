//! Several machines, as network namespaces with addresses of their own. They need root, and end with their test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::home::{HANDS, Home, Ran, ran, signal};

/// Nothing in these tests takes this long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// A machine: a namespace, and a home.
pub(crate) struct Machine {
    pub(crate) home: Home,
    /// Its address towards the hub; the hub's towards it ends in 1.
    pub(crate) address: String,
    holder: Child,
    // Dropped by hand before `holder` is waited for.
    stdin: Option<ChildStdin>,
}

/// One machine to which all others have a link of their own, and no way around it.
pub(crate) struct Net {
    pub(crate) hub: Machine,
    pub(crate) others: Vec<Machine>,
}

impl Net {
    /// None where this user may not make networks.
    pub(crate) fn new(n_others: u8) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let why = b"SKIPPED: needs root to make network namespaces\n";
            std::io::stderr().write_all(why).unwrap();
            return None;
        }
        let hub = Machine::new();
        let mut others = Vec::new();
        for n in 1..=n_others {
            let mut other = Machine::new();
            let (ours, theirs) = (format!("10.77.{n}.1/24"), format!("10.77.{n}.2/24"));
            other.address = format!("10.77.{n}.2");
            let (here, there) = (hub.pid(), other.pid());
            let link = format!("n{n}");
            hub.ip(&[
                "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &there,
            ]);
            hub.ip(&["addr", "add", &ours, "dev", &link]);
            hub.ip(&["link", "set", &link, "up"]);
            other.ip(&["addr", "add", &theirs, "dev", "eth0"]);
            other.ip(&["link", "set", "eth0", "up"]);
            assert_ne!(here, there);
            others.push(other);
        }
        Some(Self { hub, others })
    }
}

impl Machine {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        // `cat` ends when this test does, whatever becomes of it: its input closes.
        command.args(["--net", "--", "sh", "-c", "echo ready; exec cat"]);
        let mut holder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let stdin = holder.stdin.take();
        let machine = Self { home: Home::new(), address: String::new(), holder, stdin };
        machine.ip(&["link", "set", "lo", "up"]);
        machine
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    fn ip(&self, arguments: &[&str]) {
        let done = self.command("ip", arguments).output().unwrap();
        assert!(
            done.status.success(),
            "ip {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Any program, on this machine.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.home.program("nsenter");
        command.args(["--target", &self.pid(), "--net", "--", program]).args(arguments);
        command
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        ran(self.command(program, arguments).output().unwrap())
    }

    /// Runs `hands` to its end.
    pub(crate) fn hands(&self, arguments: &[&str]) -> Ran {
        self.run(HANDS, arguments)
    }

    /// The same, and it must go well; what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.hands(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out.trim().to_owned()
    }

    /// Starts `hands` as a program that stays, with something on its standard input.
    pub(crate) fn start(&self, arguments: &[&str], input: &str) -> Program {
        Program::spawn(self.command(HANDS, arguments), input)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.holder.wait());
    }
}

/// A program that stays, and its log.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts a program that stays, with something on its standard input.
    pub(crate) fn spawn(mut command: Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::Builder::new()
            .spawn(move || {
                for line in log.lines().map_while(Result::ok) {
                    // The test may have seen enough.
                    drop(sender.send(line));
                }
            })
            .unwrap();
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that holds a word; what was seen before counts no more.
    pub(crate) fn says(&mut self, word: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{word:?} does not come; seen: {}", self.seen.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended before {word:?}: {}", self.seen.join("\n"))
                }
            }
        }
    }

    /// How many of the lines that were read so far hold a word.
    pub(crate) fn said(&self, word: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(word)).count()
    }

    pub(crate) const fn child(&self) -> &Child {
        &self.child
    }

    pub(crate) fn ends(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    pub(crate) fn stop(mut self) {
        signal(&self.child, Signal::TERM);
        assert_eq!(self.ends(), 0, "{}", self.seen.join("\n"));
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
