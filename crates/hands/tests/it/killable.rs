//! A hub and workers as processes of their own, each with a state of its own, for tests that kill them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::home::{Home, Ran, ran};
use crate::processes::{Server, level};

/// A hub that can be killed and started again on the same state and address.
pub(crate) struct Cluster {
    pub(crate) home: Home,
    pub(crate) socket: String,
    pub(crate) hub: Option<Server>,
    level: String,
    hub_flags: Vec<String>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with flags for the hub.
    pub(crate) fn start_with(hub_flags: &[&str]) -> Self {
        let home = Home::new();
        let socket = format!("unix:{}", home.work().join("hub.sock").display());
        let level = level(&home);
        let hub_flags = hub_flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Self { home, socket, hub: None, level, hub_flags };
        cluster.start_hub();
        cluster
    }

    /// Starts the hub, again after it was killed. Returns when it serves.
    pub(crate) fn start_hub(&mut self) {
        let state = self.hub_state().display().to_string();
        let mut arguments = vec!["hub", "--listen", &self.socket, "--state", &state];
        arguments.extend(self.hub_flags.iter().map(String::as_str));
        self.hub = Some(Server::start(&self.home, &arguments, "the hub serves").0);
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill_hub(&mut self) {
        drop(self.hub.take());
    }

    /// Starts a worker and returns when it is connected.
    pub(crate) fn worker(&self, name: &str, flags: &[&str]) -> Server {
        let state = self.worker_state(name).display().to_string();
        let mut arguments = vec!["worker", &self.socket, "--name", name, "--state", &state];
        arguments.extend(["--isolation", &self.level]);
        arguments.extend(flags);
        Server::start(&self.home, &arguments, "connected to the hub").0
    }

    pub(crate) fn hub_state(&self) -> PathBuf {
        self.home.work().join("states/hub")
    }

    pub(crate) fn worker_state(&self, name: &str) -> PathBuf {
        self.home.work().join("states").join(name)
    }

    /// Any command of `hands` about this cluster.
    pub(crate) fn hands(&self, arguments: &[&str]) -> Ran {
        self.home.run(&[&["--cluster", &self.socket], arguments].concat())
    }

    /// `hands run` with these flags and this command.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.hands(&[&["run"], arguments].concat())
    }

    /// The id of an action that was begun and is left alone.
    pub(crate) fn detached(&self, command: &[&str]) -> String {
        let ran = self.run(&[&["-d", "--"], command].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out.trim().to_owned()
    }

    /// Waits until an action has printed a line on stdout. Of stderr nothing is asked for: nobody here would read it.
    pub(crate) fn until_output(&self, id: &str, wanted: &str) {
        let mut follower =
            self.home.start(&["--cluster", &self.socket, "logs", "-f", "--stdout", id]);
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        if !lines.any(|line| line.unwrap() == wanted) {
            panic!("{id} ended without {wanted}: {:?}", ran(follower.wait_with_output().unwrap()));
        }
        // It follows to the end, which may be far.
        drop(follower.kill());
        follower.wait().unwrap();
    }
}
