//! A worker whose disk is full, as a process of its own: what it can't do goes elsewhere or fails with the numbers, and it
//! lives on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use crate::full_disk::fill_below;
use crate::home::{HANDS, json, ran};
use crate::killable::Cluster;
use crate::processes::{Server, level};

/// A worker with one slot whose state is on a file system of its own; none where this machine allows no mounts.
fn small_worker(cluster: &Cluster) -> Option<(Server, PathBuf)> {
    let home = &cluster.home;
    let state = home.work().join("small");
    fs::create_dir_all(&state).unwrap();
    let mut probe = home.program("unshare");
    let probed = probe.args(["-m", "mount", "-t", "tmpfs", "x"]).arg(&state).output();
    if !probed.is_ok_and(|done| done.status.success()) {
        return None;
    }
    let script = "mount -t tmpfs -o size=2080m worker small
         exec \"$HANDS\" worker \"$SOCKET\" --name small --tag small --slots 1 --state small --isolation \"$LEVEL\"";
    let mut command = home.program("unshare");
    command.args(["-m", "sh", "-ec", script]);
    command.env("HANDS", HANDS).env("SOCKET", &cluster.socket).env("LEVEL", level(home));
    Some((Server::spawn(command, "connected to the hub").0, state))
}

#[test]
fn what_a_full_worker_can_not_do_goes_elsewhere_or_fails_with_the_numbers() {
    let cluster = Cluster::start();
    let Some((mut small, state)) = small_worker(&cluster) else {
        let why = b"SKIPPED: this machine allows no mounts\n";
        std::io::stderr().write_all(why).unwrap();
        return;
    };
    let home = &cluster.home;
    let here = |words: &[&str]| cluster.run(&[&["--tag", "small"], words].concat());
    let works = || {
        let ran = here(&["--", "echo", "well"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "well\n"), "{ran:?}");
    };
    let process = small.0.id().to_string();
    let resize = |size: &str| {
        let (size, path) = (format!("remount,size={size}"), state.to_str().unwrap());
        let flags = ["-t", &process, "-m", "mount", "-o", &size, path];
        assert!(home.program("nsenter").args(flags).status().unwrap().success());
    };
    works();
    // All that is left has to stay free. There is nobody else, and it says so with the numbers.
    resize("6m");
    let mut tried = (0..20).map(|n| {
        home.write("in", &format!("input {n}\n").repeat(10_000));
        here(&["--input", "in", "--", "wc", "-l", "in"])
    });
    // A look at the disk is good for 200 ms.
    let refused = tried.find(|ran| ran.code != 0).expect("one that finds the disk full");
    assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{refused:?}");
    let numbers = " are needed, and its disk has 0 bytes beside the 2 GiB that always stay free";
    for part in ["the worker's disk is full", numbers] {
        assert!(refused.err.contains(part), "{part:?}: {refused:?}");
    }
    // Another one can do it.
    let roomy = cluster.worker("roomy", &["--slots", "1"]);
    let moved = cluster.run(&["--json", "--input", "in", "--", "wc", "-l", "in"]);
    assert_eq!(moved.code, 0, "{moved:?}");
    let moved = json(&moved.out).remove(0);
    assert_eq!((&moved["worker"], &moved["stdout"]), (&"roomy".into(), &"10000 in\n".into()));
    assert_eq!(roomy.stop(), Some(0));
    resize("2080m");
    works();
    // Outputs, too. The command has run, and is not run again.
    let script = "echo ran; head -c 60000000 /dev/zero >out";
    let refused = here(&["--output", "out", "--", "sh", "-c", script]);
    assert_eq!((refused.code, refused.out.as_str()), (125, "ran\n"), "{refused:?}");
    assert!(refused.err.contains("beside the 2 GiB that always stay free"), "{refused:?}");
    works();
    // Not a byte is left. A little that a command prints is on its way to the hub all the same; more than stays in memory
    // is too much, and what has its input from here can't be run again.
    for (lines, goes_well) in [("10000", true), ("1000000", false)] {
        let script = format!("echo begun; read line; exec seq {lines}");
        let arguments = ["run", "--cluster", &cluster.socket, "-i", "--", "sh", "-c", &script];
        let mut prints = home.start(&arguments);
        let mut line = String::new();
        BufReader::new(prints.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        resize("6m");
        let filler = fill_below(&small, &state);
        writeln!(prints.stdin.take().unwrap(), "go on").unwrap();
        let printed = ran(prints.wait_with_output().unwrap());
        if goes_well {
            assert_eq!((printed.code, printed.out.lines().count()), (0, 10_000), "{printed:?}");
        } else {
            assert_eq!(printed.code, 125, "{}", printed.err);
            let why = "the worker can't keep the action's output: No space left on device";
            assert!(printed.err.contains(why), "{}", printed.err);
        }
        fs::remove_file(filler).unwrap();
        resize("2080m");
    }
    works();
    assert!(small.0.try_wait().unwrap().is_none(), "it is the same process");
    assert_eq!(small.stop(), Some(0));
}
