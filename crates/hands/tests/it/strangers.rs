//! Those who are no members: another user of the machine who looks into a state directory, and whoever reaches a port.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use crate::home::{HANDS, Home, ran};
use crate::processes::{Server, address};

/// A hub of somebody who lets all look at their files, and whose shell allows few descriptors.
fn hub(home: &Home, state: &Path, flags: &[&str]) -> (Server, String) {
    let mut command = home.program("sh");
    command.args(["-c", "umask 0; ulimit -S -n 200; exec \"$0\" \"$@\"", HANDS, "hub", "--state"]);
    command.arg(state).args(["--listen", "127.0.0.1:0", "--insecure-loopback"]).args(flags);
    Server::spawn(command, "the hub serves")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

/// Another user read live output and command lines: a directory that was there kept its mode.
#[test]
fn a_state_that_others_could_read_is_closed_or_refused() {
    let home = Home::new();
    let state = home.work().join("state");
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    fs::create_dir(&state).unwrap();
    open(&state, 0o755);
    fs::write(state.join("thesis.txt"), "mine").unwrap();
    let started = |program: &str| home.run(&[program, "--state", state.to_str().unwrap()]);
    for program in ["hub", "worker"] {
        let refused = started(program);
        assert!(refused.code == 2 && refused.err.contains("chmod 700"), "{refused:?}");
    }
    assert_eq!(mode(&state), 0o755);
    fs::remove_file(state.join("thesis.txt")).unwrap();
    if rustix::process::getuid().is_root() {
        chown(&state, Some(1), None).unwrap();
        let refused = started("hub");
        assert!(refused.code == 2 && refused.err.contains("belongs to user 1"), "{refused:?}");
        chown(&state, Some(0), None).unwrap();
    }

    // One that is empty becomes ours, and one that an earlier version left open is closed.
    for _ in 0..2 {
        let (hub, line) = hub(&home, &state, &[]);
        let job = ["run", "--cluster", &address(&line), "-d", "--", "true"];
        assert_eq!(home.run(&job).code, 0);
        assert_eq!(mode(&state), 0o700);
        let store = state.join("store");
        let mut closed = files(&state);
        for directory in [&store, &store.join("packs"), &state.join("streams")] {
            closed.extend(files(directory));
        }
        let names: Vec<_> = closed.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        for name in ["hub.db", "hub.db-wal", "hub.db-shm", "hub.lock", "index.db", "index.db-wal"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        for path in closed.iter().filter(|path| path.parent() != Some(&store)) {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
        assert_eq!((mode(&store), mode(&state.join("streams"))), (0o700, 0o700));
        assert_eq!(hub.stop(), Some(0));
        open(&state, 0o755);
        open(&store, 0o755);
        files(&state).iter().for_each(|path| open(path, 0o644));
    }
}

/// 1,100 half-sent requests used up all descriptors, and nobody else got in.
#[test]
fn half_a_request_costs_its_sender_only() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = free.to_string();
    let (hub, line) = hub(&home, &home.work().join("state"), &["--http", &http]);
    let process = format!("/proc/{}", hub.0.id());
    let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "the soft limit is raised: {files}");

    let mut half: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(&http).unwrap();
            // It may have hung up already.
            drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: local"));
            stream
        })
        .collect();
    let mut curl = home.program("curl");
    let url = format!("http://{http}/healthz");
    let got = ran(curl.args(["-sm", "20", "--interface", "127.0.0.2", &url]).output().unwrap());
    assert_eq!(got.out, "ok\n", "{got:?}");
    assert_eq!(home.run(&["workers", "--cluster", &address(&line)]).code, 0);
    let open = fs::read_dir(format!("{process}/fd")).unwrap().count();
    assert!(open < 150, "{open} descriptors");
    for stream in &mut half {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // What it says before it hangs up does not matter.
        let ended = stream.read_to_end(&mut Vec::new());
        let is_late = ended.err().is_some_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_late, "it was not hung up on");
    }
    let got = ran(home.program("curl").args(["-sm", "20", &url]).output().unwrap());
    assert_eq!(got.out, "ok\n", "{got:?}");
    assert_eq!(hub.stop(), Some(0));
}
