//! A root of the action's own: layers in place of the host's files.

use core::ffi::CStr;

use crate::job::step;
use crate::sys::{Errno, arg, call, mount};

/// Where such a root is put together. Its mount points stand in the slot's small root.
pub const NEW_ROOT: &CStr = c"/mnt";
const NONE: &CStr = c"";

/// What every action has of its own, in the slot's root and in the new one.
const OWN: [(&CStr, &CStr); 5] = [
    (c"/proc", c"/mnt/proc"),
    (c"/dev", c"/mnt/dev"),
    (c"/sys", c"/mnt/sys"),
    (c"scratch/tmp", c"/mnt/tmp"),
    (c"scratch/home", c"/mnt/home/action"),
];

/// Mounts the layers, read-only because nothing lies above them that could be written, and what every action has.
/// The failed step with its error number otherwise.
pub(crate) fn assemble(overlay: &CStr) -> Result<(), (u32, Errno)> {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    mount(c"overlay", NEW_ROOT, c"overlay", flags, overlay).map_err(|e| (step::LAYER, e))?;
    for (from, to) in OWN {
        mount(from, to, NONE, libc::MS_BIND | libc::MS_REC, NONE).map_err(|e| (step::MOUNT, e))?;
    }
    Ok(())
}

/// Makes it the root. The host's goes, with all that is mounted below it.
pub(crate) fn enter() -> Result<(), (u32, Errno)> {
    let here = c".".as_ptr() as usize;
    // SAFETY: literals.
    unsafe {
        call(libc::SYS_chdir, NEW_ROOT.as_ptr() as usize, 0, 0, 0, 0)
            .and_then(|_| call(libc::SYS_pivot_root, here, here, 0, 0, 0))
            .and_then(|_| call(libc::SYS_umount2, here, arg(libc::MNT_DETACH), 0, 0, 0))
    }
    .map(drop)
    .map_err(|e| (step::MOUNT, e))
}
