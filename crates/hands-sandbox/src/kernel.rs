//! System calls that need `unsafe`, each with types of its own.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use hands_sandbox_child::sys::{self, HERE, arg, call};
use rustix::process::Pid;

use crate::ids::{c_path, own};

/// Read-only.
pub(crate) const RDONLY: u64 = 1;
/// No set-user-id programs.
pub(crate) const NOSUID: u64 = 2;
/// No device nodes.
pub(crate) const NODEV: u64 = 4;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const OPEN_TREE_CLONE: i32 = 1;
const FSOPEN_CLOEXEC: usize = 1;
const FSMOUNT_CLOEXEC: usize = 1;
const FSCONFIG_SET_STRING: usize = 1;
const FSCONFIG_CMD_CREATE: usize = 6;
const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;

pub(crate) fn error(errno: sys::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// A fork with namespaces. None in the child, which may go on as this process does only because it has one thread.
pub(crate) fn fork(namespaces: i32) -> io::Result<Option<Pid>> {
    let flags = arg(namespaces | libc::SIGCHLD);
    // SAFETY: no stack and no pointers: the child goes on with a copy of this single-threaded process.
    let pid = unsafe { call(libc::SYS_clone, flags, 0, 0, 0, 0) }.map_err(error)?;
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// A detached copy of the mount at a path.
pub(crate) fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    clone_at(HERE, &path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// A detached copy of the mount of a directory.
pub(crate) fn clone_mount(directory: impl AsFd) -> io::Result<OwnedFd> {
    clone_at(arg(directory.as_fd().as_raw_fd()), c"", libc::AT_EMPTY_PATH)
}

fn clone_at(directory: usize, path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    let flags = arg(OPEN_TREE_CLONE | libc::O_CLOEXEC | flags);
    // SAFETY: the string outlives the call, and the new descriptor is ours.
    unsafe {
        own(call(libc::SYS_open_tree, directory, path.as_ptr() as usize, flags, 0, 0)
            .map_err(error)?)
    }
}

/// A new file system of a kind, mounted nowhere.
pub(crate) fn new_filesystem(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: strings outlive the calls; descriptors are owned as soon as they are there.
    unsafe {
        let context = own(call(libc::SYS_fsopen, kind.as_ptr() as usize, FSOPEN_CLOEXEC, 0, 0, 0)
            .map_err(error)?)?;
        let fs = arg(context.as_raw_fd());
        for (key, value) in options {
            let (key, value) = (key.as_ptr() as usize, value.as_ptr() as usize);
            call(libc::SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0).map_err(error)?;
        }
        call(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0).map_err(error)?;
        let attributes = usize::try_from(attributes).unwrap_or(0);
        own(call(libc::SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes, 0, 0).map_err(error)?)
    }
}

/// Sets attributes on a detached tree and everything below it.
pub(crate) fn set_attributes(tree: &OwnedFd, attributes: u64) -> io::Result<()> {
    set(tree, [attributes, 0, 0, 0], libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

/// Shows a detached mount's owners through a user namespace's map.
pub(crate) fn idmap_mount(tree: &OwnedFd, namespace: &OwnedFd) -> io::Result<()> {
    let namespace = u64::from(namespace.as_raw_fd().cast_unsigned());
    set(tree, [MOUNT_ATTR_IDMAP, 0, 0, namespace], libc::AT_EMPTY_PATH)
}

fn set(tree: &OwnedFd, attributes: [u64; 4], flags: i32) -> io::Result<()> {
    let fd = arg(tree.as_raw_fd());
    let (at, size) = (attributes.as_ptr() as usize, size_of_val(&attributes));
    // SAFETY: a literal and a local.
    let done =
        unsafe { call(libc::SYS_mount_setattr, fd, c"".as_ptr() as usize, arg(flags), at, size) };
    done.map(drop).map_err(error)
}

/// Mounts a detached tree at a path.
pub(crate) fn attach(tree: &OwnedFd, at: &CStr) -> io::Result<()> {
    let (empty, at) = (c"".as_ptr() as usize, at.as_ptr() as usize);
    // SAFETY: strings outlive the call.
    let done = unsafe {
        call(libc::SYS_move_mount, arg(tree.as_raw_fd()), empty, HERE, at, MOVE_MOUNT_F_EMPTY_PATH)
    };
    done.map(drop).map_err(error)
}

/// `mount(2)`; empty strings are passed as NULL.
pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: u64,
    data: &CStr,
) -> io::Result<()> {
    sys::mount(source, target, kind, flags, data).map(drop).map_err(error)
}

/// A `prctl` that takes numbers only.
pub(crate) fn prctl(option: i32, value: usize) -> io::Result<()> {
    // SAFETY: only called for options whose arguments are no pointers.
    unsafe { call(libc::SYS_prctl, arg(option), value, 0, 0, 0) }.map(drop).map_err(error)
}

/// Limits a resource of this process.
pub(crate) fn limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let values = [soft, hard];
    // SAFETY: points to a local.
    let done =
        unsafe { call(libc::SYS_prlimit64, 0, resource as usize, values.as_ptr() as usize, 0, 0) };
    done.map(drop).map_err(error)
}

/// The hard limit of a resource of this process; `u64::MAX` is none.
pub(crate) fn hard_limit(resource: u32) -> u64 {
    let mut values = [0u64, u64::MAX];
    let to = values.as_mut_ptr() as usize;
    // SAFETY: points to a local.
    let _asked = unsafe { call(libc::SYS_prlimit64, 0, resource as usize, 0, to, 0) };
    values[1]
}
