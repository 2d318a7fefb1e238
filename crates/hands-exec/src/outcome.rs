//! What became of an action.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use crate::pool::HeldSlot;
use crate::request::Stream;

/// An action that is over. No process of it is alive.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// When.
    pub timings: Timings,
    /// What it used.
    pub usage: Usage,
    /// The kernel killed a process of it for want of memory within its limit.
    pub oom_killed: bool,
    /// It ended badly, had no way out of its private network and tried one.
    pub network_attempted: bool,
    /// A stream of its was closed while it ran ([`crate::ControlEvent::Close`]).
    pub output_closed: bool,
    /// The input root as the action left it; none if it never had one.
    pub tree: Option<ActionTree>,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which nobody here sent.
    Signaled(i32),
    /// Killed at its deadline.
    TimedOut,
    /// Killed because the caller said so, or let go of its output.
    Cancelled,
    /// Killed because it wrote more than [`hands_types::limits::MAX_STREAM`] to this stream.
    TooMuchOutput(Stream),
    /// The program does not exist: a shell's 127.
    NotFound,
    /// The program exists and can't be executed: a shell's 126. The kernel's error number.
    NotExecutable(i32),
    /// The working directory can't be entered. The kernel's error number.
    BadWorkingDirectory(i32),
    /// The sandbox could not be made for this action; what failed, in words, and the kernel's error number.
    NotStarted(String, i32),
}

/// When things happened, by the machine's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// The command was executed; the request's arrival if it never was.
    pub executed: SystemTime,
    /// The command had ended.
    pub ended: SystemTime,
}

/// What an action used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User time, microseconds.
    pub user_us: u64,
    /// System time, microseconds.
    pub system_us: u64,
    /// Peak of the whole action where cgroups tell it, else of its largest process; bytes.
    pub peak_memory: u64,
}

/// The tree that an action left. Hostile: read it with [`crate::collect()`] only. Dropping it frees what the action wrote,
/// which takes a while if that is much.
#[derive(Debug)]
pub struct ActionTree {
    // Before the slot: with scratch on disk the slot's next action empties the tree.
    pub(crate) root: OwnedFd,
    #[expect(dead_code, reason = "held until dropped")]
    pub(crate) slot: Option<HeldSlot>,
}

impl AsFd for ActionTree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
