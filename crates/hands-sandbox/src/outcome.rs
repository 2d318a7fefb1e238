//! What became of an action.

use std::fmt;
use std::os::fd::OwnedFd;

/// The end of an action. When it is received, no process of the action is alive.
#[derive(Debug)]
pub struct Outcome {
    /// How the command ended. Meaningless if `start_error` is there.
    pub status: Status,
    /// Why the command was never executed, if so.
    pub start_error: Option<StartError>,
    /// It was killed at its deadline.
    pub timed_out: bool,
    /// [`crate::Slot::kill`] ended it.
    pub killed: bool,
    /// The kernel killed at least one of its processes for want of memory within its limit. Always false without
    /// cgroups.
    pub oom_killed: bool,
    /// It ended badly and had tried to reach an address outside of its private network. Not looked at when it ended well.
    pub network_attempted: bool,
    /// It left something in what is reused. The slot must be replaced before the next action.
    pub dirty: bool,
    /// User time of the command and those descendants that were waited for, microseconds.
    pub user_us: u64,
    /// System time of the same, microseconds.
    pub sys_us: u64,
    /// Largest resident set of one of these processes, bytes.
    pub max_rss: u64,
    /// Most memory that the whole action held above what its slot held before, bytes, page cache and files in scratch
    /// included; after an out-of-memory kill the slot's peak. None without cgroups.
    pub peak_memory: Option<u64>,
    /// When each stage was reached.
    pub marks: Marks,
    /// The input root as the action left it: a directory that shows inputs, changes and new files together. None if
    /// the action failed before it was made. The tree is hostile: open what is below it with `openat2` and
    /// `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS`, without waiting for named pipes. Closing it frees the action's memory. With
    /// scratch on disk, and at `Process`, it must be closed before the slot's next request, which empties it.
    pub tree: Option<OwnedFd>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// When each stage was reached, microseconds of the monotonic clock; 0 for a stage that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The slot's spawner had the request.
    pub received: u64,
    /// The input root was in place.
    pub mounted: u64,
    /// Just before execve.
    pub executed: u64,
    /// The command itself had ended.
    pub ended: u64,
    /// The last process of the action was gone.
    pub all_dead: u64,
}

/// Why a command was never executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What failed.
    pub step: Step,
    /// The kernel's error number.
    pub errno: i32,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.name(), std::io::Error::from_raw_os_error(self.errno))
    }
}

impl StartError {
    /// The program does not exist: a shell's code 127.
    pub fn is_not_found(self) -> bool {
        self.step == Step::Execute && (self.errno == libc::ENOENT || self.errno == libc::ENOTDIR)
    }

    /// The program exists but can't be executed: a shell's code 126.
    pub fn is_not_executable(self) -> bool {
        self.step == Step::Execute && !self.is_not_found()
    }
}

/// The steps between a request and the command's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The action's own mounts.
    Mount,
    /// The input root.
    InputRoot,
    /// A layer.
    Layer,
    /// The command's process.
    Process,
    /// The streams or the controlling terminal.
    Stdio,
    /// The working directory.
    WorkingDirectory,
    /// User, capabilities, landlock, limits.
    Restrict,
    /// execve.
    Execute,
}

impl Step {
    /// What failed, for a message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mount => "could not prepare the action's mounts",
            Self::InputRoot => "could not make the input root",
            Self::Layer => "could not mount a layer",
            Self::Process => "could not start a process",
            Self::Stdio => "could not set up the streams",
            Self::WorkingDirectory => "could not enter the working directory",
            Self::Restrict => "could not restrict the command",
            Self::Execute => "could not execute the program",
        }
    }
}
