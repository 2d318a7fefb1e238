//! Hubs and workers as processes of their own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::home::{Home, json, signal};

/// A program that stays, ended at the end of its test.
pub(crate) struct Server(pub(crate) Child);

impl Server {
    /// Starts it and waits for a line of its log that holds a word.
    pub(crate) fn start(home: &Home, arguments: &[&str], ready: &str) -> (Self, String) {
        Self::spawn(home.hands(arguments), ready)
    }

    pub(crate) fn spawn(mut command: Command, ready: &str) -> (Self, String) {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let mut seen = String::new();
        while !line.contains(ready) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {seen}");
            seen.push_str(&line);
        }
        // Its log goes on; nobody reads it, but it must not block.
        std::thread::Builder::new()
            .spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())))
            .unwrap();
        (Self(child), line)
    }

    /// As the kernel does it when memory is short: at once, and nothing can be done about it.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn stop(mut self) -> Option<i32> {
        signal(&self.0, Signal::TERM);
        // Dropping it then finds it gone.
        self.0.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn address(line: &str) -> String {
    let from = line.find("address=").expect(line) + "address=".len();
    line[from..].split_whitespace().next().unwrap().to_owned()
}

/// The best level that this machine allows: the tests of the level itself are the sandbox's.
pub(crate) fn level(home: &Home) -> String {
    let checks = json(&home.run(&["doctor", "--json"]).out);
    let found = checks.iter().find(|c| c["check"] == "isolation").expect("doctor tests isolation");
    found["found"].as_str().unwrap().split(':').next().unwrap().to_owned()
}
