//! The way back from raw mode by a panic, on a terminal of the test's own.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::RawMode;

/// Says to the child that it is one.
const CHILD: &str = "HANDS_FRONT_PANICS_IN_RAW_MODE";

fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other side");
    let name = ptsname(&master, Vec::new()).expect("its name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    (master, rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("its other side"))
}

#[test]
fn a_panic_gives_the_terminal_back() {
    if std::env::var_os(CHILD).is_some() {
        // As the program's own hook does it: before the message, and even if nothing unwinds.
        std::panic::set_hook(Box::new(|_| {
            super::restore();
            std::process::abort();
        }));
        let _raw = RawMode::enter().expect("raw mode");
        let now = tcgetattr(std::io::stdin()).expect("its modes");
        assert!(!now.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO), "it is raw");
        panic!("on purpose");
    }
    let (_master, slave) = terminal();
    let before = tcgetattr(&slave).expect("its modes");
    assert!(before.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    let status = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "terminal::tests::a_panic_gives_the_terminal_back"])
        .env(CHILD, "1")
        .stdin(Stdio::from(slave.try_clone().expect("a copy")))
        .stdout(Stdio::null())
        .status()
        .expect("a child");
    assert!(std::os::unix::process::ExitStatusExt::signal(&status).is_some(), "{status}");
    let after = tcgetattr(&slave).expect("its modes");
    assert_eq!(before.local_modes, after.local_modes);
    assert_eq!(before.input_modes, after.input_modes);
    assert_eq!(before.output_modes, after.output_modes);
}
