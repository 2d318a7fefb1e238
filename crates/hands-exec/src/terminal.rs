//! A pseudo-terminal for an action.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hands_sandbox::Slot;
use rustix::process::Signal;
use rustix::termios::Winsize;

use crate::error::ExecError;
use crate::request::Terminal;

/// Both sides of a new terminal of a slot: ours, non-blocking, and the action's.
pub(crate) fn open(slot: &Slot, terminal: &Terminal) -> Result<(OwnedFd, OwnedFd), ExecError> {
    let (master, slave) = slot.terminal()?;
    let prepared = resize(&master, terminal.rows, terminal.columns)
        .and_then(|()| Ok(rustix::io::ioctl_fionbio(&master, true)?));
    prepared.map_err(ExecError::system("prepare a terminal"))?;
    Ok((master, slave))
}

/// Tells the terminal its size; the kernel sends SIGWINCH to the foreground if that is new.
pub(crate) fn resize(master: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}

/// Sends a signal to the terminal's foreground process group. An unknown number, or no foreground, is no error: there is
/// nobody to tell.
pub(crate) fn signal(master: impl AsFd, number: i32) -> io::Result<()> {
    let Some(signal) = Signal::from_named_raw(number) else { return Ok(()) };
    // The group's number as this process sees it: a worker's pid namespace is above its actions'. Where the level has no
    // namespaces it is the same number.
    let Ok(group) = rustix::termios::tcgetpgrp(master) else { return Ok(()) };
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
