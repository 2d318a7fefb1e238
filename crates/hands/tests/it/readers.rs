//! Whoever reads what we write: one who leaves early, one who is slow, and pipes that say "not now".

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Signal, kill_process};

use crate::home::{HANDS, Home, json, names, ran, signal};

/// Runs a script in bash; `$H` is `hands run --output f --`, or nothing where it is to run here.
fn bash(home: &Home, script: &str, here: bool) -> (String, String) {
    let mut command = home.program("bash");
    command.args(["-c", script]);
    command.env("H", if here { String::new() } else { format!("{HANDS} run --output f --") });
    let ended = ran(command.output().unwrap());
    (ended.out, ended.err)
}

#[test]
fn a_reader_who_leaves_ends_a_command_as_it_would_here() {
    let home = Home::new().warm();
    for script in [
        "seq 1000000 | head -1",
        "yes | head -1",
        // It outlives its closed stream, makes what it promised and has its own code.
        "sh -c 'yes; echo made >f' | head -1",
        "sh -c 'yes; exit 3' | head -1",
        "sh -c 'exec yes >&2' 2>&1 | head -1",
    ] {
        let script = format!("$H {script}; echo ${{PIPESTATUS[0]}}; cat f 2>&1; rm -f f");
        let (here, there) = (bash(&home, &script, true), bash(&home, &script, false));
        assert_eq!(there, here, "{script}");
        assert_eq!(there.1, "", "{script}");
    }
    // All was written before anybody could say that nobody reads it: what was not shown is no success.
    let script = format!(
        "{HANDS} run -o f -- sh -c 'echo made >f; seq 100000' | read -n 1; echo ${{PIPESTATUS[0]}}; cat f"
    );
    let (out, err) = bash(&home, &script, true);
    assert_eq!((out.as_str(), err.as_str()), ("141\nmade\n", ""));
    assert_eq!(home.run(&["ps"]).out, "");
}

#[test]
fn a_full_disk_loses_what_is_shown_and_nothing_that_was_declared() {
    let home = Home::new().warm();
    let full = |arguments: &[&str]| {
        let disk = File::options().write(true).open("/dev/full").unwrap();
        let ended = home.hands(arguments).stdout(disk).stderr(Stdio::piped()).spawn().unwrap();
        ran(ended.wait_with_output().unwrap())
    };
    let said = "error: can't write to standard output: No space left on device (os error 28)\n";
    for (end, code) in [("", 125), ("; exit 3", 3)] {
        let script = format!("echo shown; echo made >f{end}");
        let ended = full(&["run", "-o", "f", "--", "sh", "-c", &script]);
        assert_eq!((ended.code, ended.err.as_str()), (code, said), "{ended:?}");
        assert_eq!(home.read("f"), "made\n");
        std::fs::remove_file(home.work().join("f")).unwrap();
    }
    for question in [&["store", "status"][..], &["store", "gc", "--json"], &["agent", "status"]] {
        let ended = full(question);
        assert_eq!((ended.code, ended.err.as_str()), (3, said), "{question:?}: {ended:?}");
    }
    // Nothing of it was wanted but what can't be shown.
    let ended = full(&["run", "--", "yes"]);
    assert_eq!((ended.code, ended.err.as_str()), (125, said), "{ended:?}");
    assert_eq!(home.run(&["ps"]).out, "");
}

#[test]
fn a_reader_who_leaves_is_heard_of_behind_input_that_nobody_reads() {
    let home = Home::new().warm();
    let script = format!(
        "head -c 2M /dev/zero | timeout 60 {HANDS} run --stdin -- yes | head -1; echo ${{PIPESTATUS[1]}}"
    );
    assert_eq!(bash(&home, &script, true), ("y\n141\n".to_owned(), String::new()));
}

/// A pipe whose ends are both non-blocking.
fn pipe() -> (OwnedFd, OwnedFd) {
    let ends = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    for end in [&ends.0, &ends.1] {
        fcntl_setfl(end, fcntl_getfl(end).unwrap() | OFlags::NONBLOCK).unwrap();
    }
    ends
}

fn is_non_blocking(fd: impl AsFd) -> bool {
    fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn a_stream_that_is_non_blocking_is_waited_for_and_left_so() {
    let home = Home::new().warm();
    let ((input, keys), (reader, output), (complaints, error)) = (pipe(), pipe(), pipe());
    let script = "echo ready; cat; seq 300000; seq 300000 >&2";
    let mut child = home
        .hands(&["run", "--stdin", "--", "sh", "-c", script])
        .stdin(input.try_clone().unwrap())
        .stdout(output.try_clone().unwrap())
        .stderr(error.try_clone().unwrap())
        .spawn()
        .unwrap();
    // Ours block: it is only we who read and write there.
    for end in [&keys, &reader, &complaints] {
        rustix::io::ioctl_fionbio(end, false).unwrap();
    }
    let mut reader = BufReader::new(File::from(reader));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let mut keys = File::from(keys);
    keys.write_all(b"typed\n").unwrap();
    drop(keys);
    // Nobody reads until both are full: it must have been told "not now" by then.
    while rustix::io::ioctl_fionread(reader.get_ref()).unwrap() < 60_000 {
        assert_eq!(child.try_wait().unwrap(), None, "it did not wait for its reader");
        std::thread::yield_now();
    }
    assert!([&input, &output, &error].into_iter().all(is_non_blocking), "flags were changed");
    drop((output, error));
    let err = std::thread::Builder::new().spawn(move || {
        let mut err = String::new();
        File::from(complaints).read_to_string(&mut err).unwrap();
        err
    });
    let err = err.unwrap();
    let mut out = String::new();
    reader.read_to_string(&mut out).unwrap();
    let numbers: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(out == format!("typed\n{numbers}"), "{} bytes of stdout", out.len());
    assert!(err.join().unwrap() == numbers, "stderr differs");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_program_of_nodes_shares_its_pipes() {
    if Command::new("node").arg("--version").output().is_err() {
        println!("SKIPPED: there is no node on this machine");
        return;
    }
    let home = Home::new().warm();
    // Its own streams are pipes, which it makes non-blocking when it touches them; hands inherits them so.
    let script = r#"
        process.stdin.on("error", () => {}); process.stdin.resume(); process.stdin.pause();
        process.stdout.write("of node\n"); process.stderr.write("of node\n");
        const { spawnSync } = require("child_process");
        for (const words of [["run", "--", "seq", "200000"], ["batch", "--", "seq {}", ":::", "200000"], ["ps", "-a", "--json"]])
            if (spawnSync(process.argv[1], words, { stdio: "inherit" }).status !== 0) process.exit(1);
    "#;
    let mut child = home
        .program("node")
        .args(["-e", script, HANDS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let keys = child.stdin.take();
    let ended = ran(child.wait_with_output().unwrap());
    drop(keys);
    assert_eq!((ended.code, ended.err.as_str()), (0, "of node\n"));
    assert_eq!(ended.out.lines().filter(|line| *line == "200000").count(), 2);
}

#[test]
fn signals_are_heard_while_outputs_come_and_while_a_reader_is_stuck() {
    let home = Home::new().warm();
    let large = ["run", "-d", "-o", "large", "--", "sh", "-c", "head -c 400M /dev/zero >large"];
    let id = home.run(&large).out.trim().to_owned();
    assert_eq!(home.run(&["wait", &id]).code, 0);
    let agent = home.agent();
    for (sent, code, arguments) in [
        (Signal::INT, 130, &["fetch", &id][..]),
        (
            Signal::TERM,
            143,
            &["run", "-o", "large", "--", "sh", "-c", "head -c 400M /dev/zero >large"],
        ),
        (
            Signal::HUP,
            129,
            &["batch", "-o", "large", "--", "head -c 400M /dev/zero >{}", ":::", "large"],
        ),
    ] {
        let mut child = home.start(arguments);
        while !names(&home.work()).iter().any(|name| name.starts_with(".hands-")) {
            assert_eq!(child.try_wait().unwrap(), None, "{arguments:?}");
            std::thread::yield_now();
        }
        // Nothing more comes: it can't be done before it hears the signal.
        kill_process(agent, Signal::STOP).unwrap();
        signal(&child, sent);
        let ended = ran(child.wait_with_output().unwrap());
        kill_process(agent, Signal::CONT).unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert_eq!(names(&home.work()), Vec::<String>::new(), "{arguments:?}");
    }
    // A reader who does not read, as a pager that shows its first page.
    for arguments in [&["run", "--", "yes"][..], &["batch", "--", "seq {}", ":::", "300000"]] {
        let mut child = home.start(arguments);
        while rustix::io::ioctl_fionread(child.stdout.as_ref().unwrap()).unwrap() < 60_000 {
            assert_eq!(child.try_wait().unwrap(), None, "{arguments:?}");
            std::thread::yield_now();
        }
        signal(&child, Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{arguments:?}");
    }
    assert_eq!(home.run(&["ps"]).out, "");
}

#[test]
fn what_was_ignored_stays_ignored() {
    let home = Home::new().warm();
    let script = "echo begun; sleep 2";
    for front_end in ["run", "batch", "wait", "attach", "logs"] {
        let detach = || home.run(&["run", "-d", "--", "sh", "-c", script]).out.trim().to_owned();
        let mut shell = home.program("sh");
        shell.args([
            "-c",
            "trap '' HUP INT TERM QUIT; echo deaf; exec \"$@\"",
            "sh",
            HANDS,
            front_end,
        ]);
        let shell = match front_end {
            "run" => shell.args(["--", "sh", "-c", script]),
            "batch" => shell.arg("-").stdin(Stdio::piped()),
            "logs" => shell.args(["--follow", &detach()]),
            _ => shell.arg(detach()),
        };
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It listens to signals before it connects, and shows or begins something after that.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "deaf");
        match front_end {
            "batch" => {
                writeln!(child.stdin.take().unwrap(), "{script}").unwrap();
                while json(&home.run(&["ps", "--json"]).out).is_empty() {
                    assert_eq!(child.try_wait().unwrap(), None);
                }
            }
            "wait" => {}
            _ => assert_eq!(lines.next().unwrap().unwrap(), "begun"),
        }
        for sent in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT] {
            signal(&child, sent);
        }
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{front_end}");
    }
}

#[test]
fn whoever_attaches_leaves_without_ending_it() {
    let home = Home::new().warm();
    let script = "echo begun; exec sleep 1000";
    let id = home.run(&["run", "-d", "--", "sh", "-c", script]).out.trim().to_owned();
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut child = home.start(&["attach", &id]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        signal(&child, sent);
        let ended = ran(child.wait_with_output().unwrap());
        let said = format!(
            "hands: left action {id}, which goes on: `hands attach {id}` comes back, `hands cancel {id}` ends it\n"
        );
        assert_eq!((ended.code, ended.err), (code, said));
    }
    let status = json(&home.run(&["status", "--json", &id]).out).remove(0);
    assert_eq!(status["state"], "running", "{status}");
    assert!(status.get("exit_code").is_none(), "{status}");
    // What was cancelled has no exit code, and says how it ended.
    assert_eq!(home.run(&["cancel", &id]).code, 0);
    let status = json(&home.run(&["status", "--json", &id]).out).remove(0);
    assert_eq!(
        (&status["state"], &status["end"]),
        (&"done".into(), &"cancelled".into()),
        "{status}"
    );
    assert!(status.get("exit_code").is_none(), "{status}");
    let listed = json(&home.run(&["ps", "-a", "--json"]).out);
    assert!(listed.iter().all(|job| job.get("exit_code").is_some() == (job["end"] == "succeeded")));
}
