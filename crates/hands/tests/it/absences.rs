//! A hub that is not there: whoever looks for it says so once, and goes on when it comes.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::Signal;

use crate::home::{Home, json, signal};
#[cfg(target_os = "linux")]
use crate::machines::Net;
use crate::processes::{Server, level};

/// A worker, and what it says.
struct Worker {
    child: Child,
    log: ChildStderr,
}

impl Worker {
    fn start(home: &Home, hub: &str) -> Self {
        let level = level(home);
        let mut command = home.hands(&["worker", hub, "--slots", "1", "--isolation", &level]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().unwrap();
        Self { child, log }
    }

    /// Ends it, and gives all lines of its log that are about the hub.
    fn ends(mut self) -> Vec<String> {
        signal(&self.child, Signal::TERM);
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        let about = |line: &&str| line.contains("the hub") && !line.contains("has started");
        log.lines().filter(about).map(str::to_owned).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Stands where the hub should be, and hangs up on whoever calls, so often.
fn hang_up(path: &Path, times: usize) {
    let listener = UnixListener::bind(path).unwrap();
    for _ in 0..times {
        drop(listener.accept().unwrap());
    }
    drop(listener);
    fs::remove_file(path).unwrap();
}

/// Two workers: one sees the hub go, the other was there before it. They try again and again, and say so once.
#[test]
fn a_lost_hub_and_one_that_was_never_there_cost_one_line_each() {
    let home = Home::new();
    let path = home.work().join("hub.sock");
    let socket = format!("unix:{}", path.display());
    let state = home.work().join("hub");
    let hub = || {
        let arguments = ["hub", "--listen", &socket, "--state", state.to_str().unwrap()];
        Server::start(&home, &arguments, "the hub serves").0
    };
    let busy = |n: usize| {
        let workers = || home.run(&["workers", "--cluster", &socket, "--json"]).out;
        while workers().lines().count() < n {}
        let ran = home.run(&["run", "--cluster", &socket, "--", "true"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    // Longer than any pause between two tries: they have tried often by then.
    let early = Worker::start(&home, &socket);
    hang_up(&path, 6);
    let running = hub();
    busy(1);
    running.kill();
    fs::remove_file(&path).unwrap();
    hang_up(&path, 8);
    let _running = hub();
    busy(1);
    let said = early.ends();
    let wanted = [
        "no connection to the hub",
        "connected to the hub",
        "no connection to the hub",
        "connected to the hub again",
    ];
    assert_eq!(said.len(), wanted.len(), "{said:#?}");
    for (line, wanted) in said.iter().zip(wanted) {
        assert!(line.contains(wanted), "{wanted:?}: {said:#?}");
    }
    assert!(!said[1].contains("again"), "it is there for the first time: {said:#?}");
}

/// The same of an agent that works for a cluster beside its user's own work.
#[cfg(target_os = "linux")]
#[test]
fn an_agent_that_works_for_a_lost_hub_says_so_once() {
    let Some(net) = Net::new(1) else { return };
    let laptop = &net.others[0];
    let hub = || {
        let mut hub = net.hub.start(&["hub", "--listen", "0.0.0.0:8980", "--name", "build"], "");
        hub.says("the hub serves");
        hub
    };
    let running = hub();
    let config = laptop.home.hands_home().join("config");
    fs::create_dir_all(&config).unwrap();
    let level = level(&laptop.home);
    let file = format!("[agent]\nworker = true\n[worker]\nslots = 1\nisolation = \"{level}\"\n");
    fs::write(config.join("hands.toml"), file).unwrap();
    let token = net.hub.ok(&["token", "create", "--role", "submit", "--role", "worker"]);
    laptop.ok(&["login", &token]);
    assert_eq!(laptop.ok(&["run", "--", "echo", "lent"]), "lent");
    running.kill();
    // Stands where the hub was, and hangs up on whoever calls.
    let hang_up = "import socket
s = socket.create_server(('0.0.0.0', 8980))
for _ in range(8): s.accept()[0].close()";
    let stood = net.hub.run("python3", &["-c", hang_up]);
    assert_eq!(stood.code, 0, "{stood:?}");
    let _running = hub();
    assert_eq!(laptop.ok(&["run", "--", "echo", "lent"]), "lent");
    // Its own work went on meanwhile.
    assert_eq!(laptop.ok(&["run", "--local", "--", "echo", "own"]), "own");
    let status = json(&laptop.ok(&["agent", "status", "--json"])).remove(0);
    let log = fs::read_to_string(status["log"].as_str().unwrap()).unwrap();
    let count = |word: &str| log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(count("no connection to the hub"), 1, "{log}");
    assert_eq!(count("connected to the hub again"), 1, "{log}");
}
