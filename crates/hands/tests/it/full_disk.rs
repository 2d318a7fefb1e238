//! A hub whose state is on a disk that is really full: a small file system of its own, filled to the last byte.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::home::{Home, json, ran};
use crate::processes::{Server, level};

/// A hub on a file system of six mebibytes, its store elsewhere; none where this machine allows no mounts.
fn hub(home: &Home, socket: &str) -> Option<Server> {
    let state = home.work().join("state");
    fs::create_dir_all(&state).unwrap();
    let mut flags = vec!["-m"];
    if !rustix::process::geteuid().is_root() {
        flags.push("-Ur");
    }
    let store = home.work().join("store");
    fs::create_dir_all(&store).unwrap();
    let mut probe = home.program("unshare");
    probe.args(&flags).args(["mount", "-t", "tmpfs", "x"]).arg(&state);
    if !probe.output().unwrap().status.success() {
        return None;
    }
    let mut command = home.program("unshare");
    command.args(&flags).args([
        "sh",
        "-ec",
        "mount -t tmpfs -o size=6m hub state; mkdir state/store; mount --bind store state/store
         exec \"$HANDS\" hub --state state --listen \"$SOCKET\"",
    ]);
    command.env("HANDS", crate::home::HANDS).env("SOCKET", socket);
    Some(Server::spawn(command, "the hub serves").0)
}

/// Takes all room that is left; gives the file that does.
fn fill(home: &Home, hub: &Server) -> PathBuf {
    fill_below(hub, &home.work().join("state"))
}

/// The same below a directory that is a file system of its own for a process only.
pub(crate) fn fill_below(process: &Server, directory: &Path) -> PathBuf {
    let root = format!("/proc/{}/root{}", process.0.id(), directory.display());
    let path = Path::new(&root).join("filler");
    let mut file = File::create(&path).unwrap();
    let mut piece = vec![b'x'; 1 << 16];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => panic!("{error}"),
        }
    }
    path
}

const SENTENCE: &str = "the disk of the hub's state is full";

#[test]
fn a_hub_on_a_full_disk_says_so_loses_nothing_and_goes_on_when_there_is_room() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let Some(hub) = hub(&home, &socket) else {
        eprintln!("SKIPPED: this machine allows no mounts");
        return;
    };
    let level = level(&home);
    let mut worker = home.hands(&["worker", &socket, "--slots", "2", "--isolation", &level]);
    worker.env("HANDS_HOME", home.work().join("worker"));
    let (_worker, _) = Server::spawn(worker, "connected to the hub");
    let cluster = ["--cluster", &socket];
    let hands = |words: &[&str], rest: &[&str]| home.run(&[words, &cluster, rest].concat());

    // Accepted before, and ends while the disk is full.
    let mut waits = home.start(&[
        "run",
        "--cluster",
        &socket,
        "-i",
        "--",
        "sh",
        "-c",
        "echo begun; read line; echo $line; exit 7",
    ]);
    let mut output = BufReader::new(waits.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    let before = hands(&["run"], &["--", "sh", "-c", "exit 3"]);
    assert_eq!(before.code, 3, "{before:?}");

    let filler = fill(&home, &hub);
    for _ in 0..2 {
        let refused = hands(&["run"], &["--", "true"]);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.err.contains(SENTENCE), "{refused:?}");
        assert_eq!(refused.err.matches("full").count(), 1, "one sentence: {refused:?}");
    }
    writeln!(waits.stdin.take().unwrap(), "the end").unwrap();
    let refused = hands(&["run"], &["-d", "--", "true"]);
    assert!(refused.code == 125 && refused.err.contains(SENTENCE), "{refused:?}");
    // What is known is shown all the same.
    let listed = json(&hands(&["ps"], &["--json", "--all"]).out);
    assert!(listed.iter().any(|job| job["exit_code"] == 3), "{listed:?}");

    fs::remove_file(&filler).unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "the end\n");
    let ended = ran(waits.wait_with_output().unwrap());
    assert_eq!(ended.code, 7, "{ended:?}");
    // Its result was durable before it was told: the hub can write again.
    let after = hands(&["run"], &["--", "sh", "-c", "exit 4"]);
    assert_eq!(after.code, 4, "{after:?}");
    let listed = json(&hands(&["ps"], &["--json", "--all"]).out);
    let codes: Vec<_> = listed.iter().map(|job| job["exit_code"].clone()).collect();
    for code in [3, 4, 7] {
        assert_eq!(codes.iter().filter(|c| **c == code).count(), 1, "{listed:?}");
    }

    // It ends when it is told to, room or not.
    fill(&home, &hub);
    let refused = hands(&["run"], &["--", "true"]);
    assert!(refused.err.contains(SENTENCE), "{refused:?}");
    assert_eq!(hub.stop(), Some(0));
}
