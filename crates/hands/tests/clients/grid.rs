//! A hub with TLS, two workers of two slots, and a user who has logged in.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, Ran, json, ran};
use crate::server::{Server, address, level};

/// Nothing that a test waits for takes this long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Grid {
    hub: Option<Server>,
    more: Vec<String>,
    workers: Vec<Option<Server>>,
    level: String,
    /// `IP:PORT` of the hub.
    pub(crate) address: String,
    pub(crate) is_encrypted: bool,
    // Dropped last: it removes everything.
    pub(crate) home: Home,
}

impl Grid {
    /// With these options for the hub, besides.
    pub(crate) fn new(more: &[&str]) -> Self {
        let mut grid = Self::start(more, true);
        for n in 0..2 {
            let join = grid.token(&["--role", "worker"]);
            grid.start_worker(n, &[&join]);
        }
        let join = grid.token(&["--role", "submit"]);
        let login = ran(grid.client(&["login", &join]).output().unwrap());
        assert_eq!(login.code, 0, "{login:?}");
        grid
    }

    /// Without TLS, on the loopback.
    pub(crate) fn plain() -> Self {
        let mut grid = Self::start(&["--insecure-loopback"], false);
        for n in 0..2 {
            let address = grid.address.clone();
            grid.start_worker(n, &[&address]);
        }
        grid
    }

    fn start(more: &[&str], is_encrypted: bool) -> Self {
        let home = Home::new();
        let mut grid = Self {
            hub: None,
            more: more.iter().map(|&m| m.to_owned()).collect(),
            workers: vec![None, None],
            level: level(&home),
            address: "127.0.0.1:0".to_owned(),
            is_encrypted,
            home,
        };
        grid.start_hub();
        grid
    }

    /// Starts the hub at its address, or at any if it has none yet.
    pub(crate) fn start_hub(&mut self) {
        let mut arguments = vec!["hub", "--listen", &self.address, "--name", "grid"];
        arguments.extend(self.more.iter().map(String::as_str));
        let (hub, line) = Server::start(&self.home, &arguments, "the hub serves");
        self.address = address(&line);
        self.hub = Some(hub);
    }

    /// As the kernel does it when memory is short.
    pub(crate) fn kill_hub(&mut self) {
        self.hub.take().expect("it runs").kill();
    }

    /// Starts a worker, with the join string or the hub's address.
    fn start_worker(&mut self, n: usize, more: &[&str]) {
        let name = format!("w{n}");
        let fixed = ["--name", &name, "--slots", "2", "--isolation", &self.level];
        let mut command = self.home.hands(&[&["worker"], more, &fixed].concat());
        command.env("HANDS_HOME", self.home.work().join(&name));
        self.workers[n] = Some(Server::spawn(command, "connected to the hub").0);
    }

    /// Starts one again that has been killed.
    pub(crate) fn restart_worker(&mut self, n: usize) {
        // One that has joined knows its hub.
        let address = (!self.is_encrypted).then(|| self.address.clone());
        self.start_worker(n, &address.as_deref().into_iter().collect::<Vec<_>>());
    }

    pub(crate) fn kill_worker(&mut self, n: usize) {
        self.workers[n].take().expect("it runs").kill();
    }

    /// Makes a token at the hub: a join string, or with `--bearer` one for other clients.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let made = self.home.run(&[&["token", "create"], arguments].concat());
        assert_eq!(made.code, 0, "{made:?}");
        made.out.trim().to_owned()
    }

    /// `hands` as the user who logged in.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.hands(arguments);
        command.env("HANDS_HOME", self.client_home());
        if !self.is_encrypted {
            command.env("HANDS_CLUSTER", &self.address);
        }
        command
    }

    pub(crate) fn client_home(&self) -> PathBuf {
        self.home.work().join("client")
    }

    /// Runs `hands` as the user; it must go well.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ended = ran(self.client(arguments).output().unwrap());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    /// What `hands ps --json` lists; with `-a` what has ended, too.
    pub(crate) fn jobs(&self, more: &[&str]) -> Vec<Value> {
        json(&self.ok(&[&["ps", "--json"], more].concat()))
    }

    /// Asks until the answer is yes; how long that took.
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !is_so(self) {
            let now = || self.ok(&["ps", "-a"]);
            assert!(start.elapsed() < PATIENCE, "{what}: does not come\n{}", now());
        }
        start.elapsed()
    }

    /// The hub's figures; it was started with `--http` and this address.
    pub(crate) fn metrics(&self, address: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Actions that occupy a slot of some worker.
    pub(crate) fn n_busy(&self) -> u64 {
        let workers = json(&self.ok(&["workers", "--json"]));
        workers.iter().map(|worker| worker["busy"].as_u64().unwrap()).sum()
    }

    /// Asks the hub about its store (`status`), or has it cleaned (`gc`), as who runs it.
    pub(crate) fn store(&self, command: &str) -> Value {
        let socket = self.home.hands_home().join("run/hub.sock");
        let mut asked = self.home.hands(&["store", command, "--json"]);
        asked.env("HANDS_CLUSTER", format!("unix:{}", socket.display()));
        let asked = ran(asked.output().unwrap());
        assert_eq!(asked.code, 0, "{asked:?}");
        json(&asked.out).remove(0)
    }

    /// The home of another user, who has logged in with these roles.
    pub(crate) fn member(&self, name: &str, roles: &[&str]) -> PathBuf {
        let roles: Vec<&str> = roles.iter().flat_map(|role| ["--role", role]).collect();
        let join = self.token(&roles);
        let home = self.home.work().join(name);
        let mut login = self.home.hands(&["login", &join]);
        let login = ran(login.env("HANDS_HOME", &home).output().unwrap());
        assert_eq!(login.code, 0, "{login:?}");
        home
    }

    /// Any program, as a user of this machine who knows nothing of us.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        outsider(&self.home.work(), program)
    }
}

/// Bytes that do not compress; the same for the same number.
pub(crate) fn noise(number: usize, bytes: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// A port of the loopback that nobody had a moment ago, for those who can't take port 0.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A program with a home in this directory and little else around it.
pub(crate) fn outsider(work: &Path, program: impl AsRef<OsStr>) -> Command {
    let home = work.join("user");
    // What it leaves of its temporary files when it is killed goes with the test.
    let temporary = home.join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(program);
    command.env_clear().current_dir(work).stdin(Stdio::null());
    command.env("HOME", home).env("USER", "somebody").env("PATH", "/usr/bin:/bin");
    command.env("LANG", "C.UTF-8").env("TMPDIR", temporary);
    command
}

impl Drop for Grid {
    fn drop(&mut self) {
        self.workers.clear();
        drop(self.hub.take());
        let stopped: Ran =
            ran(self.client(&["agent", "stop", "--force", "--local"]).output().unwrap());
        if !std::thread::panicking() {
            assert_eq!(stopped.code, 0, "{stopped:?}");
        }
    }
}
