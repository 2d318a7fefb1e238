//! What a slot is asked to run.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// One action.
#[derive(Debug)]
pub struct Request {
    /// The input root as directories relative to the launcher's `cache_dir`, topmost first, at most 8; none for an empty
    /// one. Their
    /// paths may not hold `:`, `,`, `\` or `..`.
    pub lowers: Vec<PathBuf>,
    /// The whole root as directories of the cache, topmost first, at most 128, in place of what the launcher shows of
    /// the host; none for the host's. `/proc`, `/dev`, `/sys`, `/tmp` and home are the action's own there too, and
    /// `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` the slot's; `/etc/passwd`, `/etc/group` and
    /// `/etc/nsswitch.conf` are where the directories have none. Refused at `Process`.
    pub root: Vec<PathBuf>,
    /// Directories of the cache that are shown read-only at a place of their own. Refused at `Process`.
    pub layers: Vec<Layer>,
    /// Absolute path at which the input root appears (below a directory of the host that is shown, it must exist
    /// there); ordinarily [`crate::ROOT_INSIDE`]. At `Process` it appears at
    /// [`crate::Slot::input_root`] instead, and `cwd` is translated.
    pub root_at: PathBuf,
    /// The command's working directory, absolute, as seen inside.
    pub cwd: PathBuf,
    /// Program and arguments, at least one. A program without a slash is searched in the `PATH` of `env`.
    pub argv: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// Whether `HOME` and `TMPDIR` are set to the action's private directories where `env` does not set them.
    pub set_home: bool,
    /// How the input root is made.
    pub input: InputRoot,
    /// Where the command's streams go.
    pub stdio: Stdio,
    /// How long the command may run. After that every process of the action is killed.
    pub deadline: Option<Duration>,
    /// Limits of all of the action's processes together, but for `nofile`.
    pub limits: Limits,
    /// Where the action's files go.
    pub scratch: Scratch,
    /// Whether the outcome brings the tree that the action left. Without it nobody waits for its unmounting.
    pub tree: bool,
}

/// A directory of the cache that is shown read-only at a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The directory, relative to `cache_dir`.
    pub dir: PathBuf,
    /// Where it appears, absolute; not `/`.
    pub at: PathBuf,
}

/// How the input root is made. `Process` always copies; so does a root worker whose cache is on a file system without
/// idmapped mounts, and so do actions with scratch on a disk that can't be written through an overlay (itself an overlay,
/// or without xattrs).
pub use hands_types::InputRoot;

/// The command's streams. The descriptors are closed on this side once the request is sent.
#[derive(Debug)]
pub enum Stdio {
    /// Three streams of any kind. Pipes are given to the slot's user, so that `/dev/stdout` can be opened inside.
    Pipes {
        /// Standard input; none for an empty one.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A terminal's slave side: all three streams, and the controlling terminal of a new session.
    Tty {
        /// The slave side.
        slave: OwnedFd,
    },
}

/// Limits of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, files in a tmpfs scratch included. Without cgroups it bounds each process's private memory
    /// instead (RLIMIT_DATA).
    pub memory: Option<u64>,
    /// Processes and threads. None means 4096.
    pub pids: Option<u32>,
    /// Open files per process. None means 1024, which a process may raise to 65,536.
    pub nofile: Option<u64>,
}

/// Where the files that an action writes go: its changes to the input root, `/tmp` and home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// Memory. A write beyond `size` bytes is ENOSPC. Ignored where all files are on disk: at `Process`, and before Linux
    /// 6.6, whose tmpfs has no extended attributes for users.
    Tmpfs {
        /// Most that all of the action's files may take, bytes.
        size: u64,
    },
    /// The launcher's `work_dir`. There is no bound but the disk's. The tree of an outcome must be closed before the
    /// slot's next request.
    Disk,
}

impl Request {
    /// A request that runs `argv` over one staged tree at [`crate::ROOT_INSIDE`], with 2 GiB of scratch and no limits.
    pub fn new(lower: impl Into<PathBuf>, argv: Vec<CString>, stdio: Stdio) -> Self {
        Self {
            lowers: vec![lower.into()],
            root: Vec::new(),
            layers: Vec::new(),
            root_at: PathBuf::from(crate::ROOT_INSIDE),
            cwd: PathBuf::from(crate::ROOT_INSIDE),
            argv,
            env: Vec::new(),
            set_home: true,
            input: InputRoot::Overlay,
            stdio,
            deadline: None,
            limits: Limits::default(),
            scratch: Scratch::Tmpfs { size: 2 << 30 },
            tree: true,
        }
    }
}
