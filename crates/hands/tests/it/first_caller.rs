//! The agent owes nothing to whoever happens to call it first, and is found by whoever calls it later.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Signal, kill_process};

use crate::home::{HANDS, Home, Ran, json, ran};

/// A user that exists nowhere, has no other process and owns nothing but what a test gives it.
const USER: u32 = 54_324;

/// A field of the agent's status in `/proc`.
fn field(pid: rustix::process::Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
}

fn agent_status(home: &Home) -> serde_json::Value {
    json(&home.run(&["agent", "status", "--json"]).out).remove(0)
}

#[test]
fn what_the_first_caller_has_of_its_own_the_later_ones_have_not() {
    let usual = Home::new().warm();
    let home = Home::new();
    fs::create_dir(home.work().join("below")).unwrap();
    // Everything here can be undone by anybody, but for the priority.
    let script = "cd below; trap '' CHLD HUP; umask 077; ulimit -S -n 64; ulimit -S -t 100; \
                  ulimit -S -v 4000000; ulimit -S -s 4096; ulimit -S -f 100000; \
                  exec setarch -R taskset -c 0 nice -n 5 ionice -c 3 \"$HANDS\" run -- true";
    let mut first = home.program("sh");
    first.args(["-c", script]).env("HANDS", HANDS).env("SECRET", "of the first caller");
    first.env("LD_LIBRARY_PATH", "/nowhere");
    let first = ran(first.output().unwrap());
    assert_eq!(first.code, 0, "{first:?}");

    let (agent, other) = (home.agent(), usual.agent());
    for name in ["SigIgn:", "SigBlk:", "Cpus_allowed:", "Umask:"] {
        assert_eq!(field(agent, name), field(other, name), "{name}");
    }
    let limits = |pid| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert_eq!(limits(agent), limits(other));
    assert_eq!(fs::read_link(format!("/proc/{agent}/cwd")).unwrap(), PathBuf::from("/"));
    let personality = |pid| fs::read_to_string(format!("/proc/{pid}/personality")).unwrap();
    assert_eq!(personality(agent), personality(other));
    let environment = fs::read(format!("/proc/{agent}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let allowed = |variable: &str| {
        ["HANDS_", "HOME=", "XDG_", "SSL_CERT_"].iter().any(|name| variable.starts_with(name))
    };
    assert!(environment.split_terminator('\0').all(allowed), "{environment:?}");
    let (status, other) = (agent_status(&home), agent_status(&usual));
    assert_eq!(status["isolation"], other["isolation"]);
    if rustix::process::geteuid().is_root() {
        assert_eq!(status["inherited"], other["inherited"]);
    }

    // What a caller's own PATH gives comes with its call, whoever started the agent.
    // Not below `/tmp`, of which every action has its own.
    let user = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("first-caller-{}", std::process::id()));
    let tool = user.join(".cargo/bin");
    fs::create_dir_all(&tool).unwrap();
    let program = tool.join("its-own-tool");
    fs::write(&program, "#!/bin/sh\necho found\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    let call = |path: &str| {
        let mut call = home.hands(&["run", "-q", "--", "its-own-tool"]);
        ran(call.env("HOME", &user).env("PATH", path).output().unwrap())
    };
    assert_eq!(call("/usr/bin:/bin").code, 127);
    let found = call(&format!("{}:/usr/bin:/bin", tool.display()));
    assert_eq!((found.code, found.out.as_str()), (0, "found\n"), "{found:?}");
    assert_eq!(call("/usr/bin:/bin").code, 127);
    fs::remove_dir_all(&user).unwrap();
}

#[test]
fn hard_limits_of_the_first_caller_are_worked_within_and_told() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become a user without other processes");
        return;
    }
    let home = Home::new();
    let program = home.work().join("hands");
    assert!(Command::new("cp").arg(HANDS).arg(&program).status().unwrap().success());
    for path in [home.hands_home(), home.work()] {
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    let run = |script: &str| -> Ran {
        let mut command = home.program("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
        command.args(["bash", "-c", script]).env("HANDS", &program).env("HOME", home.work());
        ran(command.output().unwrap())
    };
    let usual = run(
        "unset SSL_CERT_FILE SSL_CERT_DIR; \"$HANDS\" run -- true; \"$HANDS\" agent status --json; \"$HANDS\" agent stop",
    );
    let usual = json(&usual.out).remove(0);
    assert_eq!(usual["inherited"].as_array().unwrap().len(), 0, "{usual}");
    let ended = run(
        "unset SSL_CERT_FILE SSL_CERT_DIR; ulimit -u 500; ulimit -n 200; ulimit -f 2000000; ulimit -s 4096; \
                     \"$HANDS\" run -- bash -c 'ulimit -u; ulimit -n; echo ran'; \
                     \"$HANDS\" agent status --json; \"$HANDS\" agent status >&2; \"$HANDS\" agent stop",
    );
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[..3], ["500", "200", "ran"], "{ended:?}");
    let status = json(lines[3]).remove(0);
    assert_eq!(status["isolation"], usual["isolation"], "{ended:?}");
    let told = status["inherited"].to_string();
    for what in
        ["at most 500 processes", "at most 200 open files", "files of at most", "a stack of"]
    {
        assert!(told.contains(what) && ended.err.contains(what), "{what}: {ended:?}");
    }
}

/// As people have it: no `HANDS_HOME`, and the runtime directory of a login.
struct Logins<'a> {
    home: &'a Home,
}

impl Logins<'_> {
    fn runtime(&self, name: &str) -> PathBuf {
        let directory = self.home.work().join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        directory
    }

    fn call(&self, login: &str, arguments: &[&str]) -> Ran {
        let mut command = self.home.hands(arguments);
        command.env_remove("HANDS_HOME").env("HOME", self.home.work());
        command.env("XDG_RUNTIME_DIR", self.runtime(login));
        for (name, below) in [
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            // Longer than an address of the kernel's for a socket.
            command.env(name, self.home.work().join("x".repeat(120)).join(below));
        }
        ran(command.output().unwrap())
    }

    fn agent(&self, login: &str) -> rustix::process::Pid {
        let status = self.call(login, &["agent", "status", "--json"]);
        assert_eq!(status.code, 0, "{status:?}");
        let pid = json(&status.out)[0]["pid"].as_i64().unwrap();
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }
}

#[test]
fn the_agent_is_found_beside_its_store_whatever_becomes_of_its_sockets() {
    let home = Home::new();
    let logins = Logins { home: &home };
    let echo = |login: &str| {
        let ended = logins.call(login, &["run", "-q", "--", "echo", login]);
        assert_eq!((ended.code, ended.out), (0, format!("{login}\n")), "{}", ended.err);
    };
    let none = logins.call("first", &["agent", "stop"]);
    assert_eq!((none.code, none.err.as_str()), (0, "hands: no agent is running\n"));
    echo("first");
    let agent = logins.agent("first");
    // Another login, or cron.
    echo("second");
    assert_eq!(logins.agent("second"), agent);
    // The end of the first one takes its sockets; a hand takes the others.
    fs::remove_dir_all(logins.runtime("first")).unwrap();
    echo("first");
    let state = home.work().join("x".repeat(120)).join("state/hands/agent");
    for socket in ["agent.sock", "snapshot.sock"] {
        fs::remove_file(state.join(socket)).unwrap();
    }
    echo("second");
    assert_eq!(logins.agent("first"), agent, "it listens anew");
    home.write("input", "kept\n");
    let inputs = logins.call("second", &["run", "-q", "-I", "input", "--", "cat", "input"]);
    assert_eq!((inputs.code, inputs.out.as_str()), (0, "kept\n"), "{inputs:?}");

    // One that can't be reached is named, and nothing is claimed of it.
    kill_process(agent, Signal::STOP).unwrap();
    for directory in [&state, &logins.runtime("first").join("hands")] {
        for socket in ["agent.sock", "snapshot.sock"] {
            drop(fs::remove_file(directory.join(socket)));
        }
    }
    let unreachable = logins.call("second", &["agent", "stop"]);
    assert_eq!(unreachable.code, 3, "{unreachable:?}");
    let says = format!("an agent lives (process {agent}) and can't be reached");
    assert!(unreachable.err.contains(&says), "{unreachable:?}");
    assert!(unreachable.err.contains("hands agent stop --force"), "{unreachable:?}");
    let forced = logins.call("second", &["agent", "stop", "--force"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    echo("second");
    assert_ne!(logins.agent("first"), agent);
    let stopped = logins.call("first", &["agent", "stop"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
}
