//! Landlock for the command: the third lock on the file system, after read-only mounts and an unmapped owner, and the
//! one that forbids mount calls, ptrace and signals outside of the action whatever else goes wrong.

use core::ffi::{CStr, c_char};

use crate::job::{Job, SlotFacts, text};
use crate::sys::{self, HERE, Res, arg, call};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 2;
const READ_FILE: u64 = 4;
const READ_DIR: u64 = 8;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
const VIEW: u64 = EXECUTE | READ_FILE | READ_DIR;
const USE: u64 = WRITE_FILE | IOCTL_DEV | TRUNCATE;
const RULE_PATH_BENEATH: usize = 1;
const CREATE_RULESET_VERSION: usize = 1;

/// Version of the kernel's landlock, 0 if there is none. With the access rights for files and the scopes that it knows.
pub fn abi() -> (u32, u64, u64) {
    // SAFETY: asks for the version; takes no pointer.
    let version =
        unsafe { call(libc::SYS_landlock_create_ruleset, 0, 0, CREATE_RULESET_VERSION, 0, 0) };
    let version = version.ok().and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
    let files = match version {
        0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    };
    // Abstract Unix sockets and signals.
    (version, files, if version >= 6 { 3 } else { 0 })
}

/// Restricts the caller for good, as the job says. Allocates nothing.
///
/// # Safety
/// The job's pointers are valid.
pub(crate) unsafe fn restrict(job: &Job) -> Res {
    if job.slot.landlock_files == 0 && job.slot.landlock_scope == 0 {
        return Ok(0);
    }
    let own = job.slot.ruleset < 0;
    let mut set = job.slot.ruleset;
    if own {
        // SAFETY: as the caller says; a null list is the whole view.
        set = unsafe { ruleset(&job.slot, core::ptr::null(), &job.writable) }?;
    }
    // SAFETY: takes no pointer.
    let done = unsafe { call(libc::SYS_landlock_restrict_self, arg(set), 0, 0, 0, 0) };
    if own {
        sys::close(set);
    }
    done
}

/// Makes a set of rules: `readable` is visible (a list that ends with null; null for all that is mounted), `writable`
/// too for writing (null ends it early). Returns its descriptor.
///
/// # Safety
/// The pointers are null or valid strings, and `readable` ends.
pub unsafe fn ruleset(
    slot: &SlotFacts,
    readable: *const *const c_char,
    writable: &[*const c_char],
) -> Result<i32, sys::Errno> {
    let files = slot.landlock_files;
    let attr = [files, 0, slot.landlock_scope];
    let (at, size) = (attr.as_ptr() as usize, size_of_val(&attr));
    // A kernel accepts a longer structure than it knows if the rest is zero, which it is wherever scopes are unknown.
    // SAFETY: points to a local.
    let set = unsafe { call(libc::SYS_landlock_create_ruleset, at, size, 0, 0, 0) }?;
    if files != 0 {
        if readable.is_null() {
            rule(set, c"/", files & VIEW)?;
        } else {
            let mut next = readable;
            // SAFETY: the list ends with null, as the caller says.
            while let Some(path) = unsafe { string(*next) } {
                rule(set, path, files & VIEW).or_else(absent)?;
                // SAFETY: not yet past the final null.
                next = unsafe { next.add(1) };
            }
        }
        rule(set, c"/dev", files & USE).or_else(absent)?;
        // A debugger writes the memory of what it traces through /proc; who may is for ptrace's rules to say.
        rule(set, c"/proc", files & (WRITE_FILE | TRUNCATE)).or_else(absent)?;
        for &path in writable {
            // SAFETY: null or a valid string.
            let Some(path) = (unsafe { string(path) }) else { break };
            rule(set, path, files & !MAKE_CHAR & !MAKE_BLOCK)?;
        }
    }
    i32::try_from(set).map_err(|_| libc::EBADF)
}

unsafe fn string<'a>(p: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not null, so a string of the job.
    if p.is_null() { None } else { Some(unsafe { text(p) }) }
}

/// What is not there, or not for this user, needs no rule.
fn absent(e: sys::Errno) -> Res {
    if matches!(e, libc::ENOENT | libc::EACCES | libc::ENOTDIR) { Ok(0) } else { Err(e) }
}

fn rule(set: usize, path: &CStr, access: u64) -> Res {
    #[repr(C, packed)]
    struct Beneath {
        access: u64,
        fd: i32,
    }
    let flags = arg(libc::O_PATH | libc::O_CLOEXEC);
    // SAFETY: a string that outlives the call.
    let fd = unsafe { call(libc::SYS_openat, HERE, path.as_ptr() as usize, flags, 0, 0) }?;
    let fd = i32::try_from(fd).unwrap_or(-1);
    let beneath = Beneath { access, fd };
    // SAFETY: points to a local; `set` is a ruleset.
    let mut done = unsafe {
        call(
            libc::SYS_landlock_add_rule,
            set,
            RULE_PATH_BENEATH,
            (&raw const beneath) as usize,
            0,
            0,
        )
    };
    if done == Err(libc::EINVAL) && access & READ_DIR != 0 {
        // Rights of directories on a file.
        let beneath = Beneath {
            access: access & (EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV),
            fd,
        };
        // SAFETY: as above.
        done = unsafe {
            call(
                libc::SYS_landlock_add_rule,
                set,
                RULE_PATH_BENEATH,
                (&raw const beneath) as usize,
                0,
                0,
            )
        };
    }
    sys::close(fd);
    done
}
