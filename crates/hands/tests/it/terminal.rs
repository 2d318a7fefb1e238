//! Remote terminals, through a real pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::home::{HANDS, Home, signal};

/// `hands` on a terminal of its own.
struct Terminal {
    person: File,
    /// Kept open, so that the terminal outlives the program and its modes can be looked at.
    program: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program =
            rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
                .unwrap();
        let fd = || Stdio::from(program.try_clone().unwrap());
        // `setsid --ctty` makes the terminal the program's own, as a login does.
        let mut command = home.program("setsid");
        command.args(["--ctty", "--wait", HANDS]).args(arguments).env("TERM", "xterm");
        let child = command.stdin(fd()).stdout(fd()).stderr(fd()).spawn().unwrap();
        let terminal = Self { person: person.into(), program, child, seen: String::new() };
        terminal.resize(30, 100);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.person, size).unwrap();
    }

    fn types(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until something is seen; what was seen before counts no more.
    fn sees(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.seen.contains(wanted) {
            let mut ready = [PollFd::new(&self.person, PollFlags::IN)];
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            let n_ready = poll(&mut ready, Some(&patience)).unwrap();
            assert_ne!(n_ready, 0, "{wanted:?} does not come; seen: {:?}", self.seen);
            let length = self.person.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the terminal closed; seen: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let end = self.seen.find(wanted).unwrap() + wanted.len();
        self.seen.drain(..end);
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.program).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn ends(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal was not restored");
        code
    }
}

#[test]
fn a_remote_terminal_resizes_passes_keys_and_is_restored() {
    let home = Home::new().warm();
    let mut terminal = Terminal::start(&home, &["run", "--tty", "--", "sh"]);
    terminal.types("stty size; echo $TERM; echo mark$((1+1))\r");
    terminal.sees("30 100");
    terminal.sees("xterm");
    terminal.sees("mark2");
    assert!(terminal.is_raw());
    terminal.resize(40, 120);
    // The new size travels beside the keys, so it is asked for until it is there.
    terminal.types("until stty size | grep -q '40 120'; do :; done; echo resi''zed\r");
    terminal.sees("resized");
    terminal.types("sh -c 'trap \"echo inter\"\"rupted; exit\" INT; echo set\"\"trap; while :; do sleep 1; done'\r");
    terminal.sees("settrap");
    terminal.types("\x03");
    terminal.sees("interrupted");
    terminal.types("exit 11\r");
    assert_eq!(terminal.ends(), Some(11));
}

#[test]
fn a_tilde_and_a_full_stop_end_a_session() {
    let home = Home::new().warm();
    let mut terminal = Terminal::start(
        &home,
        &["run", "--tty", "--", "sh", "-c", "echo rea''dy; exec sleep 1000"],
    );
    terminal.sees("ready");
    terminal.types("\r~.");
    terminal.sees("session ended");
    assert_eq!(terminal.ends(), Some(129));
}

#[test]
fn sigterm_restores_the_terminal() {
    let home = Home::new().warm();
    let mut terminal = Terminal::start(
        &home,
        &["run", "--tty", "--", "sh", "-c", "echo rea''dy; exec sleep 1000"],
    );
    terminal.sees("ready");
    assert!(terminal.is_raw());
    // The program is the one child of `setsid`, or `setsid` itself where it did not have to fork.
    let pid = terminal.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    match children.split_whitespace().next() {
        Some(child) => {
            let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
            rustix::process::kill_process(child, Signal::TERM).unwrap();
        }
        None => signal(&terminal.child, Signal::TERM),
    }
    assert_eq!(terminal.ends(), Some(143));
}

#[test]
fn a_person_sees_a_closing_line_and_a_bar() {
    let home = Home::new().warm();
    let mut terminal = Terminal::start(&home, &["run", "--", "echo", "hi"]);
    terminal.sees("hi");
    terminal.sees("exit code 0, worker ");
    assert_eq!(terminal.ends(), Some(0));
    let mut terminal = Terminal::start(&home, &["batch", "--", "sleep", "0.{}", ":::", "3", "4"]);
    terminal.sees("2 running");
    terminal.sees("2 succeeded of 2 commands");
    assert_eq!(terminal.ends(), Some(0));
    let mut terminal = Terminal::start(&home, &["shell"]);
    terminal.sees("hands> ");
    terminal.types("echo pro''mpted; exit 3\r");
    terminal.sees("prompted");
    terminal.sees("exit code 3");
    terminal.sees("hands> ");
    // The line is in the history.
    terminal.types("\x1b[A\r");
    terminal.sees("prompted\r\n");
    terminal.sees("hands> ");
    terminal.types("sleep 1000\r");
    terminal.sees("1000");
    terminal.types("\x04");
    drop(terminal.child.kill());
    drop(terminal.child.wait());
}
