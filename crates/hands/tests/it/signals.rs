//! What ends a front-end from outside: signals, a stdout that takes no more, a bug.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::home::{Home, json, ran, signal};
use crate::leftovers::assert_no_process_is_left;

/// Starts a command that never ends by itself, and returns when it runs.
fn endless(home: &Home, front_end: &[&str]) -> Child {
    let mark = home.mark();
    let command = ["--", "sh", "-c", "echo ready; sleep 1000; : $0", &mark];
    let mut child = home.start(&[front_end, &command].concat());
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn each_signal_cancels_and_has_its_code() {
    let home = Home::new().warm();
    for (sent, code) in [(Signal::INT, 130), (Signal::HUP, 129), (Signal::TERM, 143)] {
        let child = endless(&home, &["run"]);
        signal(&child, sent);
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.err.as_str()), (code, ""), "{ended:?}");
        assert_eq!(home.run(&["ps"]).out, "", "after {sent:?}");
    }
    // A shell's last line ends the same way.
    let mut shell = home.start(&["shell"]);
    let mut keys = shell.stdin.take().unwrap();
    std::io::Write::write_all(&mut keys, b"echo ready; sleep 1000\n").unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    signal(&shell, Signal::TERM);
    drop(keys);
    assert_eq!(ran(shell.wait_with_output().unwrap()).code, 143);
    assert_eq!(home.run(&["ps"]).out, "");
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
    assert_eq!(home.run(&["agent", "stop"]).code, 0);
    assert_no_process_is_left(&home);
}

/// GNU's `timeout` signals its child and then its whole group; others send one signal after the other. All that was begun ends.
#[test]
fn signals_close_together_cancel_too() {
    let home = Home::new().warm();
    for second in [Signal::TERM, Signal::HUP] {
        for micros in [200, 1_000, 3_000] {
            let child = endless(&home, &["run"]);
            signal(&child, Signal::TERM);
            let pause = Timespec { tv_sec: 0, tv_nsec: micros * 1_000 };
            poll(&mut [], Some(&pause)).unwrap();
            signal(&child, second);
            let ended = ran(child.wait_with_output().unwrap());
            assert!([143, 129].contains(&ended.code), "{ended:?}");
            let id = json(&home.run(&["ps", "-a", "--json"]).out)[0]["id"].to_string();
            let waited = home.run(&["wait", id.trim_matches('"')]);
            assert!(waited.err.contains("cancelled"), "{waited:?}");
        }
    }
}

/// What is not typed is a script, and a signal ends it as it ends a shell's.
#[test]
fn a_signal_ends_a_shell_that_reads_a_script() {
    let home = Home::new().warm();
    for (sent, code) in [(Signal::INT, 130), (Signal::HUP, 129), (Signal::TERM, 143)] {
        let mut shell = home.start(&["shell"]);
        let mut keys = shell.stdin.take().unwrap();
        std::io::Write::write_all(&mut keys, b"echo ready; sleep 1000\necho next\n").unwrap();
        let mut out = BufReader::new(shell.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        signal(&shell, sent);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        assert_eq!((ran(shell.wait_with_output().unwrap()).code, rest.as_str()), (code, ""));
        drop(keys);
    }
    assert_eq!(home.run(&["ps"]).out, "");
}

/// A process that does nothing until this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn now(process: Pid) -> Self {
        kill_process(process, Signal::STOP).unwrap();
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

/// Presses Ctrl-C until the program has gone; true if it took more than one.
fn interrupt_until_gone(child: &Child) -> bool {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    for n_presses in 1..100 {
        signal(child, Signal::INT);
        let pause = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&pause)).unwrap() == 1 {
            return n_presses > 1;
        }
    }
    panic!("it stays whatever is pressed");
}

#[test]
fn a_second_ctrl_c_leaves_a_cluster_that_does_not_answer() {
    let home = Home::new().warm();
    let batch = || {
        let list = ["batch", "--jobs", "1", "--", "echo {}; sleep {}", ":::", "0", "1000"];
        let mut child = home.start(&list);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "0\n");
        child
    };
    for start in [&(|| endless(&home, &["run"])) as &dyn Fn() -> Child, &batch] {
        let child = start();
        let frozen = Frozen::now(home.agent());
        assert!(interrupt_until_gone(&child), "nobody can have answered the first");
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{ended:?}");
        assert!(!ended.err.contains("error:"), "{ended:?}");
        drop(frozen);
        // What was left ends when its connection is missed; who wants it sooner says so.
        for job in json(&home.run(&["ps", "--json"]).out) {
            home.run(&["cancel", job["id"].as_str().unwrap()]);
        }
    }
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
}

#[test]
fn a_reader_who_leaves_ends_everything_in_silence() {
    let home = Home::new().warm();
    let mut shell = home.program("bash");
    let script = "\"$0\" run -- yes | head -1; echo ${PIPESTATUS[0]}; \
                  \"$0\" batch -- 'yes {} | head -100000' ::: 1 2 3 | head -1 >/dev/null; echo ${PIPESTATUS[0]}";
    let ended = ran(shell.args(["-c", script, crate::home::HANDS]).output().unwrap());
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("y\n141\n141\n", ""));
    assert_eq!(home.run(&["ps"]).out, "");
}

#[test]
fn what_standard_output_does_not_take_is_said() {
    let home = Home::new().warm();
    let id = home.run(&["run", "-d", "--", "echo", "x"]).out;
    assert_eq!(home.run(&["wait", id.trim()]).code, 0);
    let cases: &[(&[&str], i32)] = &[
        (&["run", "--", "sh", "-c", "echo x; exec sleep 1000"], 125),
        (&["run", "--json", "--", "true"], 125),
        (&["batch", "--", "echo {}; exec sleep {}", ":::", "0", "1000"], 125),
        (&["attach", id.trim()], 125),
        (&["logs", id.trim()], 3),
        (&["ps", "-a"], 3),
        (&["agent", "status"], 3),
        (&["doctor"], 3),
    ];
    for (arguments, code) in cases {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = ran(home.hands(arguments).stdout(Stdio::from(full)).output().unwrap());
        let text = "error: can't write to standard output: No space left on device (os error 28)\n";
        assert_eq!((ended.code, ended.err.as_str()), (*code, text), "{arguments:?}");
    }
    assert_eq!(home.run(&["ps"]).out, "", "what could not be shown was cancelled");
}

#[test]
fn a_bug_is_said_in_one_sentence_with_the_next_step() {
    let home = Home::new().warm();
    let child = endless(&home, &["run"]);
    // Builds with assertions take this signal as a bug; there is no other way to meet one.
    signal(&child, Signal::USR1);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), None);
    let ended = ran(output);
    assert_eq!(ended.code, 70, "{ended:?}");
    let lines: Vec<&str> = ended.err.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:?}");
    assert!(lines[0].starts_with("error: this is a bug in hands "), "{ended:?}");
    assert!(lines[1].starts_with("hint: please report it"), "{ended:?}");
    assert_eq!(home.run(&["run", "--", "true"]).code, 0);
    for job in json(&home.run(&["ps", "--json"]).out) {
        assert_eq!(home.run(&["cancel", job["id"].as_str().unwrap()]).code, 0);
    }
}
