//! Pid 1 of an action: mounts what is new for it, starts the command, reaps. When it ends, the kernel kills the rest.

use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering;

use crate::command::start_command;
use crate::job::{Job, LEAVE, Stack, step, text};
use crate::own_root;
use crate::sys::{self, HERE, Res, arg, call, clone_on, mount};

const NONE: &CStr = c"";
/// Names without a slash at the start are those of the slot's files beneath the root, where the init stands until all is
/// mounted: no path of an action leads there.
const SCRATCH: &CStr = c"scratch";
const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;

/// Starts an init in namespaces of its own. It prepares what needs no request and waits for [`Job::go`]. Returns its
/// process id; `pidfd` receives a descriptor of it.
///
/// # Safety
/// The job, its slot and scratch are in place; the stack is free; both live until the init has ended. The caller is
/// single-threaded.
pub unsafe fn start_init(job: *mut Job, stack: Stack, pidfd: &mut i32) -> Res {
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC;
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_PIDFD | namespaces | libc::SIGCHLD;
    // SAFETY: as the caller says; `init` takes a job's address.
    unsafe { clone_on(flags, stack.0, init, job as usize, pidfd) }
}

macro_rules! must {
    ($job:expr, $step:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(errno) => $job.fail($step, errno),
        }
    };
}

/// Shares memory and descriptors with the spawner, has its capabilities, and runs only this code.
extern "C" fn init(address: usize) -> ! {
    // SAFETY: `start_init` was given a valid job, which the spawner leaves alone but for `go`.
    let job = unsafe { &mut *(address as *mut Job) };
    // SAFETY: all pointers are the job's, literals or locals.
    unsafe {
        let death = call(libc::SYS_prctl, arg(libc::PR_SET_PDEATHSIG), arg(libc::SIGKILL), 0, 0, 0);
        must!(job, step::MOUNT, death);
        let moved = call(
            libc::SYS_move_mount,
            arg(job.scratch),
            NONE.as_ptr() as usize,
            HERE,
            SCRATCH.as_ptr() as usize,
            MOVE_MOUNT_F_EMPTY_PATH,
        );
        must!(job, step::MOUNT, moved);
        bind_own(job);
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        must!(job, step::MOUNT, mount(c"proc", c"/proc", c"proc", flags, NONE));
        let flags = arg(libc::O_RDONLY | libc::O_CLOEXEC);
        let mounts = c"/proc/self/ns/mnt".as_ptr() as usize;
        let mounts = must!(job, step::MOUNT, call(libc::SYS_openat, HERE, mounts, flags, 0, 0));
        job.mounts = i32::try_from(mounts).unwrap_or(-1);
        if wait(job) == LEAVE {
            sys::exit(0);
        }
        set_scratch(job);
        if !job.own_root.is_null() {
            done(job, own_root::assemble(text(job.own_root)));
        }
        mount_inputs(job);
        job.report.marks[1] = sys::micros();
        let started = start_command(job, 0, core::ptr::null_mut());
        let pid = must!(job, step::PROCESS, started);
        reap(job, pid);
        sys::exit(0)
    }
}

/// Waits for the spawner's word.
fn wait(job: &Job) -> u32 {
    loop {
        let word = job.go.load(Ordering::Acquire);
        if word != 0 {
            return word;
        }
        let wait = arg(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG);
        // SAFETY: the address of a word that lives as long as the job.
        let _woken = unsafe { call(libc::SYS_futex, job.go.as_ptr() as usize, wait, 0, 0, 0) };
    }
}

fn bind_own(job: &mut Job) {
    must!(job, step::MOUNT, mount(c"scratch/tmp", c"/tmp", NONE, libc::MS_BIND, NONE));
    must!(job, step::MOUNT, mount(c"scratch/home", c"/home/action", NONE, libc::MS_BIND, NONE));
}

/// Brings the scratch to what the request asks for: another size, or another place.
unsafe fn set_scratch(job: &mut Job) {
    // SAFETY: null or strings of the job.
    unsafe {
        if !job.resize.is_null() {
            let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV;
            must!(job, step::MOUNT, mount(NONE, SCRATCH, NONE, flags, text(job.resize)));
        }
        let placed = if !job.disk_overlay.is_null() {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            mount(c"overlay", SCRATCH, c"overlay", flags, text(job.disk_overlay))
        } else if !job.disk.is_null() {
            mount(text(job.disk), SCRATCH, NONE, libc::MS_BIND, NONE)
        } else {
            return;
        };
        must!(job, step::MOUNT, placed);
        bind_own(job);
    }
}

unsafe fn mount_inputs(job: &mut Job) {
    // SAFETY: all pointers are the job's.
    unsafe {
        let root = text(job.root_at);
        make_directories(job, root.as_ptr());
        if job.overlay.is_null() {
            must!(job, step::INPUT_ROOT, mount(c"scratch/u", root, NONE, libc::MS_BIND, NONE));
        } else {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            must!(
                job,
                step::INPUT_ROOT,
                mount(c"overlay", root, c"overlay", flags, text(job.overlay))
            );
        }
        let flags = arg(libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NOFOLLOW);
        let tree = must!(
            job,
            step::INPUT_ROOT,
            call(libc::SYS_openat, HERE, root.as_ptr() as usize, flags, 0, 0)
        );
        job.tree = i32::try_from(tree).unwrap_or(-1);
        for i in 0..job.n_layers {
            let layer = *job.layers.add(i);
            make_directories(job, layer.target);
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
            let shown =
                mount(c"overlay", text(layer.target), c"overlay", flags, text(layer.overlay));
            must!(job, step::LAYER, shown);
        }
        // Overlays hold their own clones of what they show; the cache with all other input roots stays behind.
        if job.own_root.is_null() {
            must!(job, step::MOUNT, call(libc::SYS_chdir, c"/".as_ptr() as usize, 0, 0, 0, 0));
        } else {
            done(job, own_root::enter());
        }
    }
}

fn done(job: &mut Job, result: Result<(), (u32, sys::Errno)>) {
    if let Err((step, errno)) = result {
        job.fail(step, errno)
    }
}

/// Makes the directories of a mount point that are missing and can be made, beneath `/tmp`, home or the input root.
/// What cannot be made shows when the mount fails.
unsafe fn make_directories(job: &Job, path: *const c_char) {
    const LONGEST: usize = 4096;
    let mut prefix = [0u8; LONGEST];
    // SAFETY: a string of the job; the copy is terminated at each step, because the array is zeroed.
    unsafe {
        for (i, &byte) in text(path).to_bytes_with_nul().iter().enumerate() {
            if i >= LONGEST {
                return;
            }
            if i > 0 && (byte == b'/' || byte == 0) {
                let made = call(libc::SYS_mkdirat, HERE, prefix.as_ptr() as usize, 0o755, 0, 0);
                if let (Ok(_), Some(id)) = (made, job.slot.identity) {
                    let id = id as usize;
                    let nofollow = arg(libc::AT_SYMLINK_NOFOLLOW);
                    let _owned =
                        call(libc::SYS_fchownat, HERE, prefix.as_ptr() as usize, id, id, nofollow);
                }
            }
            prefix[i] = byte;
        }
    }
}

/// Reaps until the command itself has ended.
unsafe fn reap(job: &mut Job, pid: usize) {
    let mut status = 0i32;
    // SAFETY: a structure of integers.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    loop {
        let all = arg(libc::__WALL);
        // SAFETY: points to locals.
        let got = unsafe {
            call(
                libc::SYS_wait4,
                usize::MAX,
                (&raw mut status) as usize,
                all,
                (&raw mut usage) as usize,
                0,
            )
        };
        if got == Ok(pid) {
            break;
        }
    }
    job.report.set_end(status, &usage);
}
