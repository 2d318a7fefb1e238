//! Waits for the end of an action, or brings it about.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use hands_sandbox_child::Report;
use hands_sandbox_child::sys::{self, arg, call};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::message::KILL;
use crate::wire::{self, Reader};

/// How an action came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Itself,
    TimedOut,
    Killed,
}

/// When an action must have ended, microseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<u64>);

impl Deadline {
    pub(crate) fn new(from_now: Option<Duration>) -> Self {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        Self(from_now.map(|d| sys::micros().saturating_add(micros(d))))
    }

    fn left(self) -> Option<Timespec> {
        let left = self.0?.saturating_sub(sys::micros());
        Some(Timespec {
            tv_sec: i64::try_from(left / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left % 1_000_000 * 1000).unwrap_or(0),
        })
    }
}

/// Waits until the process is dead; kills it at the deadline, when asked, and when the worker is gone.
pub(crate) fn await_end(sock: &OwnedFd, pidfd: &OwnedFd, sequence: u64, deadline: Deadline) -> End {
    let mut end = End::Itself;
    let mut left = deadline;
    loop {
        let mut polled = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(sock, PollFlags::IN)];
        let ready = match rustix::event::poll(&mut polled, left.left().as_ref()) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => sys::exit(75),
        };
        let [dead, asked] = [!polled[0].revents().is_empty(), !polled[1].revents().is_empty()];
        if dead {
            return end;
        }
        if ready == 0 {
            end = End::TimedOut;
            left = Deadline(None);
            kill(pidfd);
        } else if asked && is_kill(sock, sequence) {
            end = End::Killed;
            left = Deadline(None);
            kill(pidfd);
        }
    }
}

/// Whether the packet that is there asks for the death of this action. Ends the process when the worker is gone: our
/// pid namespace goes with us.
pub(crate) fn is_kill(sock: &OwnedFd, sequence: u64) -> bool {
    let mut packet = [0; 64];
    match wire::receive(sock, &mut packet) {
        Ok((0, _)) | Err(_) => sys::exit(0),
        Ok((length, _)) => {
            let mut fields = Reader(&packet[..length]);
            fields.u64() == Some(KILL) && fields.u64() == Some(sequence)
        }
    }
}

/// Kills a process; with a pid namespace's init, all in it.
pub(crate) fn kill(pidfd: &OwnedFd) {
    // It fails only for a process that is dead.
    // SAFETY: takes no pointer.
    let _sent = unsafe {
        call(libc::SYS_pidfd_send_signal, arg(pidfd.as_raw_fd()), arg(libc::SIGKILL), 0, 0, 0)
    };
}

/// Takes an init's end; the usage of a command that it could not report is part of its own.
pub(crate) fn reap(pid: i32, report: &mut Report) {
    let end = wait(pid);
    if !report.ended && report.step == 0 {
        report.set_end(end.0, &end.1);
        report.ended = false;
    }
}

/// Takes a command's end.
pub(crate) fn reap_command(pid: i32, report: &mut Report) {
    let end = wait(pid);
    if report.step == 0 {
        report.set_end(end.0, &end.1);
    }
}

fn wait(pid: i32) -> (i32, libc::rusage) {
    let mut status = 0i32;
    // SAFETY: a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        let (at, all, to) =
            ((&raw mut status) as usize, arg(libc::__WALL), (&raw mut usage) as usize);
        // SAFETY: points to locals.
        if unsafe { call(libc::SYS_wait4, arg(pid), at, all, to, 0) } != Err(libc::EINTR) {
            return (status, usage);
        }
    }
}
