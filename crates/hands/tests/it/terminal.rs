//! Remote terminals, through a real pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::home::{HANDS, Home};

/// `hands` on a terminal of its own.
pub(crate) struct Terminal {
    person: File,
    /// Kept open, so that the terminal outlives the program and its modes can be looked at.
    program: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::sized(home, arguments, 30, 100, &[])
    }

    /// Starts `hands` on a terminal of this size, with these variables.
    pub(crate) fn sized(
        home: &Home,
        arguments: &[&str],
        rows: u16,
        columns: u16,
        variables: &[(&str, &str)],
    ) -> Self {
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
        command.env_remove("NO_COLOR").envs(variables.iter().copied());
        // The size is there before anybody can ask for it.
        resize(&person, rows, columns);
        let child = command.stdin(fd()).stdout(fd()).stderr(fd()).spawn().unwrap();
        Self { person: person.into(), program, child, seen: String::new() }
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        resize(&self.person, rows, columns);
    }

    /// Everything that the program still prints, until it has ended.
    pub(crate) fn rest(&mut self) -> String {
        let mut buffer = [0; 4096];
        let mut all = std::mem::take(&mut self.seen);
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            let mut ready = [PollFd::new(&self.person, PollFlags::IN)];
            // What an ended program has printed is there already; the pause only spares the processor.
            let pause = Timespec { tv_sec: 0, tv_nsec: if ended { 0 } else { 20_000_000 } };
            if poll(&mut ready, Some(&pause)).unwrap() > 0 {
                let length = self.person.read(&mut buffer).unwrap();
                all.push_str(&String::from_utf8_lossy(&buffer[..length]));
            } else if ended {
                return all;
            }
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads until something is seen; what was seen before counts no more.
    pub(crate) fn sees(&mut self, wanted: &str) {
        let comes = self.sees_within(wanted, 60);
        assert!(comes, "{wanted:?} does not come; seen: {:?}", self.seen);
    }

    /// The same; false when nothing comes for so many seconds.
    pub(crate) fn sees_within(&mut self, wanted: &str, seconds: i64) -> bool {
        let mut buffer = [0; 4096];
        while !self.seen.contains(wanted) {
            let mut ready = [PollFd::new(&self.person, PollFlags::IN)];
            let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
            if poll(&mut ready, Some(&patience)).unwrap() == 0 {
                return false;
            }
            let length = self.person.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the terminal closed; seen: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let end = self.seen.find(wanted).unwrap() + wanted.len();
        self.seen.drain(..end);
        true
    }

    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.program).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    /// Sends a signal to the program: the one child of `setsid`, or `setsid` itself where it did not have to fork.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.split_whitespace().next().and_then(|child| child.parse().ok());
        let program = child.and_then(Pid::from_raw).unwrap_or_else(|| Pid::from_child(&self.child));
        kill_process(program, signal).unwrap();
    }

    pub(crate) fn ends(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        assert!(!self.is_raw(), "the terminal was not restored");
        code
    }
}

fn resize(terminal: &impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

#[test]
fn a_full_screen_program_has_every_byte_both_ways() {
    let home = Home::new().warm();
    // What an editor does: another screen, raw keys, and back.
    let script = "stty raw -echo; printf '\\033[?1049h\\033[2J\\033[5;7Hhere'; dd bs=1 count=9 2>&- | od -An -tx1; \
                  printf '\\033[?1049l'; stty sane";
    let mut terminal = Terminal::start(&home, &["run", "--tty", "--", "bash", "-c", script]);
    terminal.sees("\x1b[?1049h\x1b[2J\x1b[5;7Hhere");
    // Ctrl-C, Ctrl-Z, Ctrl-D, Ctrl-\\, an arrow and a tilde in the middle of a line are keys like others.
    terminal.types("\x03\x1a\x04\x1c\x1b[A~.");
    terminal.sees("03 1a 04 1c 1b 5b 41 7e 2e");
    terminal.sees("\x1b[?1049l");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn the_prompt_remembers_lines_of_other_days() {
    let home = Home::new().warm();
    let mut first = Terminal::start(&home, &["shell"]);
    first.sees("hands> ");
    first.types("echo remem''bered; echo both''streams >&2; exit 7\r");
    first.sees("remembered");
    first.sees("bothstreams");
    first.sees("exit code 7");
    first.sees("hands> ");
    first.types("\x04");
    assert_eq!(first.ends(), Some(7));
    let mut second = Terminal::start(&home, &["shell"]);
    second.sees("hands> ");
    second.types("\x1b[A\r");
    second.sees("remembered\r\n");
    second.sees("hands> ");
    second.types("exit 0\r");
    assert_eq!(second.ends(), Some(0));
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
    // A dead one, too: what carries it stands still.
    let mut terminal = Terminal::start(
        &home,
        &["run", "--tty", "--", "sh", "-c", "echo rea''dy; exec sleep 1000"],
    );
    terminal.sees("ready");
    let agent = home.agent();
    kill_process(agent, Signal::STOP).unwrap();
    terminal.types("keys\r~.");
    terminal.sees("session ended");
    assert_eq!(terminal.ends(), Some(129));
    kill_process(agent, Signal::CONT).unwrap();
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
    terminal.signal(Signal::TERM);
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

#[test]
fn a_hub_on_a_terminal_shows_how_to_join_it() {
    let home = Home::new();
    let mut hub = Terminal::start(&home, &["hub", "--listen", "127.0.0.1:0"]);
    hub.sees("hands login JOIN");
    hub.sees("hands1:127.0.0.1:");
    hub.types("\x03");
    hub.sees("the hub stops");
    assert_eq!(hub.ends(), Some(0));
}

#[test]
fn a_terminal_that_takes_nothing_keeps_no_key_waiting() {
    let home = Home::new().warm();
    let mut terminal = Terminal::start(&home, &["run", "--tty", "--", "yes"]);
    terminal.sees("y\r\n");
    // Nobody looks any more, until nothing can be written.
    let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while poll(&mut [PollFd::new(&terminal.program, PollFlags::OUT)], Some(&now)).unwrap() > 0 {
        assert_eq!(terminal.child.try_wait().unwrap(), None);
        poll(&mut [], Some(&pause)).unwrap();
    }
    terminal.types("\r~.");
    let began = std::time::Instant::now();
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(began.elapsed().as_secs() < 60, "the keys were not heard");
        poll(&mut [], Some(&pause)).unwrap();
    }
    assert_eq!(terminal.ends(), Some(129));
    assert_eq!(home.run(&["ps"]).out, "");
}

#[test]
fn a_batch_shows_what_has_run_for_long_below_what_it_prints() {
    let home = Home::new().warm();
    let list = ["batch", "--", "echo {}; sleep 100{}", ":::", "1", "2"];
    let mut terminal = Terminal::start(&home, &list);
    terminal.sees("s  echo 1; sleep 1001\x1b[K");
    terminal.sees("/2  2 running");
    // It is drawn again in its place, from the first line on.
    terminal.sees("\r\x1b[A");
    terminal.types("\x03");
    // What was drawn goes away before anything else is said.
    terminal.sees("\x1b[A\x1b[J");
    terminal.sees("hands: 0 succeeded, 2 cancelled of 2 commands");
    assert_eq!(terminal.ends(), Some(130));
}
