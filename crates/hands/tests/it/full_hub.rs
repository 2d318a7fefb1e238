//! A hub whose store has no room for a while, as a process of its own: what has run is kept by its workers, and not run again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::home::{HANDS, Home, json};
use crate::marks::Marks;
use crate::processes::{Server, level};

/// Beyond the time for which a worker waits for room.
const LONG: Duration = Duration::from_secs(100);

/// A hub whose state is on a file system of its own; none where this machine allows no mounts.
fn small_hub(home: &Home, socket: &str) -> Option<Server> {
    let state = home.work().join("small");
    fs::create_dir_all(&state).unwrap();
    let mut probe = home.program("unshare");
    let probed = probe.args(["-m", "mount", "-t", "tmpfs", "x"]).arg(&state).output();
    if !probed.is_ok_and(|done| done.status.success()) {
        return None;
    }
    let script = "mount -t tmpfs -o size=2200m hub small
         exec \"$HANDS\" hub --state small --listen \"$SOCKET\"";
    let mut command = home.program("unshare");
    command.args(["-m", "sh", "-ec", script]).env("HANDS", HANDS).env("SOCKET", socket);
    Some(Server::spawn(command, "the hub serves").0)
}

/// A worker, and its log line by line.
fn worker(home: &Home, socket: &str, flags: &[String]) -> (Server, Receiver<String>) {
    let level = level(home);
    let mut command =
        home.hands(&["worker", socket, "--name", "w", "--slots", "4", "--isolation", &level]);
    command.args(flags).env("HANDS_HOME", home.work().join("worker"));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (to, lines) = channel();
    // Whoever reads them may have ended.
    let read = move || log.lines().map_while(Result::ok).try_for_each(|line| to.send(line));
    std::thread::Builder::new().spawn(move || drop(read())).unwrap();
    (Server(child), lines)
}

fn until(log: &Receiver<String>, word: &str) {
    let mut seen = Vec::new();
    loop {
        let line = log.recv_timeout(LONG).unwrap_or_else(|_| panic!("no {word:?} in {seen:#?}"));
        if line.contains(word) {
            return;
        }
        seen.push(line);
    }
}

#[test]
fn results_that_find_no_room_at_the_hub_are_kept_until_there_is_some() {
    let Some(mut marks) = Marks::new() else { return };
    let goes_on = marks.file("goes-on");
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let Some(hub) = small_hub(&home, &socket) else {
        eprintln!("SKIPPED: this machine allows no mounts");
        return;
    };
    let (worker, log) = worker(&home, &socket, &marks.flags());
    until(&log, "connected to the hub");
    let hands =
        |words: &[&str], rest: &[&str]| home.run(&[&["--cluster", &socket], words, rest].concat());
    let (process, state) = (hub.0.id().to_string(), home.work().join("small"));
    let resize = |size: &str| {
        let (size, path) = (format!("remount,size={size}"), state.to_str().unwrap());
        let flags = ["-t", &process, "-m", "mount", "-o", &size, path];
        assert!(home.program("nsenter").args(flags).status().unwrap().success());
    };
    let ids = ["one", "two", "three"].map(|word| {
        let script = format!(
            "{}; until grep -q now {}; do sleep 0.1; done; echo said by {word}; echo out of {word} >{word}",
            marks.say(word),
            goes_on.display()
        );
        let begun = hands(&["run", "-d", "--output", word], &["--", "sh", "-c", &script]);
        assert_eq!(begun.code, 0, "{begun:?}");
        begun.out.trim().to_owned()
    });
    // What it prints is all that it brings, and finds no room either.
    let script = format!(
        "{}; until grep -q now {}; do sleep 0.1; done; echo said by four",
        marks.say("four"),
        goes_on.display()
    );
    let prints = hands(&["run", "-d"], &["--", "sh", "-c", &script]).out;
    marks.wait_for(4);

    // All that is left has to stay free. A look at the disk is good for 200 ms.
    resize("64m");
    let refused = (0..20).any(|n| {
        home.write("in", &format!("input {n}\n").repeat(10_000));
        hands(&["run", "--input", "in"], &["--", "wc", "-l", "in"]).code == 125
    });
    assert!(refused, "the hub's store has room");
    fs::write(&goes_on, "now\n").unwrap();
    until(&log, "the hub has no room");
    // Three times as often as a worker may be unable to do an action until that fails for good, and more.
    marks.listen(Duration::from_secs(4));
    let cancelled = hands(&["cancel"], &[&ids[2]]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    resize("2200m");
    for (id, word) in ids.iter().zip(["one", "two"]) {
        let waited = hands(&["wait"], &[id]);
        assert_eq!(waited.code, 0, "{waited:?}");
        let job = json(&hands(&["status", "--json"], &[id]).out).remove(0);
        assert_eq!((&job["attempt"], &job["exit_code"]), (&1.into(), &0.into()), "{job}");
        let fetched = hands(&["fetch"], &[id]);
        assert_eq!(fetched.code, 0, "{fetched:?}");
        assert_eq!(home.read(word), format!("out of {word}\n"));
        assert_eq!(hands(&["logs"], &[id]).out, format!("said by {word}\n"));
    }
    let waited = hands(&["wait"], &[prints.trim()]);
    assert_eq!(waited.code, 0, "{waited:?}");
    assert_eq!(hands(&["logs"], &[prints.trim()]).out, "said by four\n");
    assert!(marks.all().values().all(|n| *n == 1), "{:?}", marks.all());
    assert_eq!(worker.stop(), Some(0));
    // Not for each of them, and not each time.
    let more: Vec<String> = log.iter().filter(|line| line.contains("no room")).collect();
    assert!(more.is_empty(), "{more:#?}");
    assert_eq!(hub.stop(), Some(0));
}
