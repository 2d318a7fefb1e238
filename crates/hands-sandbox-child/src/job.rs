//! The memory in which spawner, init and command talk.

use core::ffi::{CStr, c_char};
use core::sync::atomic::AtomicU32;

/// What stays the same for all actions of a slot.
#[derive(Clone, Copy)]
#[repr(C)]
#[expect(missing_debug_implementations, reason = "lives in shared memory, printed by nobody")]
pub struct SlotFacts {
    /// The processors that commands may use; the spawner itself is pinned to one.
    pub cpus: libc::cpu_set_t,
    /// User and group id that the command takes on; none if it has them already.
    pub identity: Option<u32>,
    /// Landlock access rights for files that the kernel knows and the slot restricts; 0 for no file rules.
    pub landlock_files: u64,
    /// Landlock scopes that the kernel knows.
    pub landlock_scope: u64,
    /// Landlock rules that are the same for every action; -1 where each has its own.
    pub ruleset: i32,
}

/// A layer to mount.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LayerMount {
    /// Options of the overlay that shows it. A bind mount would name the cache's own path in `/proc/self/mountinfo`.
    pub overlay: *const c_char,
    /// Where it is mounted: beneath [`crate::NEW_ROOT`] with a root of its own.
    pub target: *const c_char,
}

/// One resource limit, soft and hard.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceLimit {
    /// A `RLIMIT_` number.
    pub resource: u32,
    /// The soft and the hard limit.
    pub values: [u64; 2],
}

/// Most resource limits in a job.
pub const MAX_RLIMITS: usize = 4;

/// What init and command report.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// The [`step`] that failed, or 0.
    pub step: u32,
    /// Its error number.
    pub errno: i32,
    /// Whether `status` and the usage are the command's.
    pub ended: bool,
    /// As of wait4.
    pub status: i32,
    /// User time, microseconds.
    pub user_us: u64,
    /// System time, microseconds.
    pub sys_us: u64,
    /// Largest resident set, KiB.
    pub max_rss_kib: u64,
    /// Received, mounted, executed, ended, all dead: microseconds of the monotonic clock.
    pub marks: [u64; 5],
}

/// What an init waits for in [`Job::go`]: to run the action.
pub const GO: u32 = 1;
/// To end without one.
pub const LEAVE: u32 = 2;

/// Everything that an init and its command touch. All pointers are valid until the init has ended.
#[repr(C)]
#[expect(missing_debug_implementations, reason = "lives in shared memory, printed by nobody")]
pub struct Job {
    /// Futex: [`GO`] when the request is in place, [`LEAVE`] when there will be none.
    pub go: AtomicU32,
    /// The slot.
    pub slot: SlotFacts,
    /// The stack of the command until it execs.
    pub command_stack: Stack,
    /// The detached mount with the action's own directories; the init moves it into its namespace.
    pub scratch: i32,
    /// `size=…` if the scratch is to be resized, else null.
    pub resize: *const c_char,
    /// Options of the overlay over a directory on disk that takes the scratch's place, else null.
    pub disk_overlay: *const c_char,
    /// That directory itself, where the disk can't hold what an overlay writes, else null.
    pub disk: *const c_char,
    /// Options of the overlay; null to bind the scratch's `u` directory instead.
    pub overlay: *const c_char,
    /// Options of the overlay that takes the place of the host's root; null for the host's.
    pub own_root: *const c_char,
    /// Where the input root is mounted: beneath [`crate::NEW_ROOT`] with a root of its own. Null at `Process`, where it
    /// is in place.
    pub root_at: *const c_char,
    /// Layers to mount.
    pub layers: *const LayerMount,
    /// Their number.
    pub n_layers: usize,
    /// The working directory.
    pub cwd: *const c_char,
    /// Programs to try in turn; ends with null.
    pub candidates: *const *const c_char,
    /// The arguments; ends with null.
    pub argv: *const *const c_char,
    /// The arguments when a shell must interpret the program: `/bin/sh`, a place for the program's path, the rest.
    pub shell_argv: *mut *const c_char,
    /// The environment; ends with null.
    pub envp: *const *const c_char,
    /// The command's streams.
    pub stdio: [i32; 3],
    /// Whether the first of them becomes the controlling terminal.
    pub tty: bool,
    /// Resource limits; unused ones have all bits set in `resource`.
    pub rlimits: [ResourceLimit; MAX_RLIMITS],
    /// Directories that landlock leaves writable; null ends the list early.
    pub writable: [*const c_char; 4],
    /// The merged view of the input root, opened by the init; -1 before.
    pub tree: i32,
    /// The init's mount namespace, opened by it before it waits; -1 before. Who holds it decides when the mounts are
    /// taken down: the kernel waits for that, and the end of the init would wait with it.
    pub mounts: i32,
    /// The outcome.
    pub report: Report,
}

/// The top of a stack.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Stack(pub *mut u8);

/// Steps that can fail, for [`Report::step`].
pub mod step {
    /// The action's own mounts.
    pub const MOUNT: u32 = 1;
    /// The input root.
    pub const INPUT_ROOT: u32 = 2;
    /// A layer.
    pub const LAYER: u32 = 3;
    /// The command's process.
    pub const PROCESS: u32 = 4;
    /// Streams and controlling terminal.
    pub const STDIO: u32 = 5;
    /// The working directory.
    pub const CWD: u32 = 6;
    /// User, capabilities, landlock, limits.
    pub const RESTRICT: u32 = 7;
    /// execve.
    pub const EXECUTE: u32 = 8;
}

impl Report {
    /// Notes how the command ended.
    pub fn set_end(&mut self, status: i32, usage: &libc::rusage) {
        let micros =
            |t: libc::timeval| t.tv_sec.cast_unsigned() * 1_000_000 + t.tv_usec.cast_unsigned();
        self.ended = true;
        self.status = status;
        self.user_us = micros(usage.ru_utime);
        self.sys_us = micros(usage.ru_stime);
        self.max_rss_kib = usage.ru_maxrss.cast_unsigned();
        self.marks[3] = crate::sys::micros();
    }
}

impl Job {
    pub(crate) fn fail(&mut self, step: u32, errno: i32) -> ! {
        self.report.step = step;
        self.report.errno = errno;
        crate::sys::exit(1)
    }
}

/// A string of the job.
///
/// # Safety
/// `p` points to a NUL-terminated string that lives as long as the job.
pub(crate) unsafe fn text<'a>(p: *const c_char) -> &'a CStr {
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(p) }
}
