//! The slot's root, built once: a small tmpfs with read-only copies of the mounts that are shown. Every action works
//! in a copy of this mount namespace, at 3 µs per mount.
//!
//! The slot's own files lie on a second tmpfs beneath that root, as an initramfs lies beneath a machine's: no path leads
//! there, and the kernel leaves out of `/proc/self/mountinfo` what the root does not reach. So no action learns where
//! the worker keeps its files. The spawner and its inits stand there and use names without a slash at the start.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hands_sandbox_child::sys::{self, call};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::setup::{Step, named};
use super::{Plan, Shown, etc};
use crate::UID_INSIDE;
use crate::config::Network;
use crate::ids::c_path;
use crate::kernel::{self, NODEV, NOSUID, RDONLY};

const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/tmp", "shm"),
    ("pts/ptmx", "ptmx"),
];
/// Empty directories, some of them mount points.
const DIRECTORIES: [&str; 14] = [
    "dev",
    "dev/pts",
    "etc",
    "home",
    "home/action",
    "job",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "var",
];
/// Where the slot's own files are, seen from beneath the root: the staged trees, the slot's directory on disk.
pub(crate) const CACHE: &str = "cache";
pub(crate) const DISK: &str = "disk";
/// An empty directory there: an overlay that is only read needs a second one.
pub(crate) const EMPTY: &str = "none";
/// Where each action's scratch is mounted there.
pub(crate) const SCRATCH: &str = "scratch";
/// Where a tmpfs can be mounted for a moment before it becomes the root.
const STAGES: [&CStr; 3] = [c"/tmp", c"/mnt", c"/proc"];
const NONE: &CStr = c"";

/// Builds the root and enters it. Returns a writable view of its tmpfs, for mount points of single actions.
pub(crate) fn build(plan: &Plan) -> Step<OwnedFd> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    named("private mounts", kernel::mount(NONE, c"/", NONE, private, NONE))?;
    // The kernel gives a proc to a user namespace only where a fully visible one is mounted already.
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    named("proc", kernel::mount(c"proc", c"/proc", c"proc", flags, NONE))?;
    let options: [(&CStr, &CStr); 2] = [(c"mode", c"755"), (c"size", c"64m")];
    let root =
        named("the root's tmpfs", kernel::new_filesystem(c"tmpfs", &options, NOSUID | NODEV))?;
    for directory in DIRECTORIES {
        named(directory, make_directory(root.as_fd(), directory))?;
    }
    named("var/tmp", rustix::fs::symlinkat("/tmp", &root, "var/tmp"))?;
    named("etc", etc::fill(root.as_fd(), plan.network))?;
    // Everything of the host is opened before the new root may hide it.
    let own = [
        (open(&plan.cache, false)?, c_string(CACHE)?, RDONLY | NOSUID | NODEV),
        (open(&plan.disk, false)?, c_string(DISK)?, NOSUID | NODEV),
    ];
    let mut trees = Vec::new();
    for shown in &plan.shown {
        let inside = shown.inside.strip_prefix("/").unwrap_or(&shown.inside);
        let name = shown.inside.display().to_string();
        if let Ok(target) = fs::read_link(&shown.host) {
            named(&name, make_link(root.as_fd(), &target, inside))?;
        } else {
            let tree = open(shown, true)?;
            named(&name, make_mount_point(root.as_fd(), &tree, inside))?;
            trees.push((tree, named(&name, c_path(inside))?, RDONLY | NOSUID | NODEV));
        }
    }
    devices(plan, root.as_fd(), &mut trees)?;
    let proc = named("proc", kernel::clone_tree(Path::new("/proc"), false))?;
    trees.push((proc, c"proc".to_owned(), NOSUID | NODEV));
    let beneath = named("the slot's own files", new_beneath())?;
    named("a place for the root", stage(&beneath))?;
    attach(&own)?;
    named("pivot_root", enter())?;
    named("the root", kernel::attach(&root, c"/"))?;
    named("the root", rustix::process::fchdir(&root))?;
    attach(&trees)?;
    // Programs that need no terminals of their own do without it.
    drop(terminals());
    let template = named("the root's second view", kernel::clone_mount(&root))?;
    // A root of its own right, not of a chroot, which could make no user namespaces: it covers the one beneath.
    named("chroot", rustix::process::chroot("."))?;
    let read_only =
        libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    named("the root, read-only", kernel::mount(NONE, c"/", NONE, read_only, NONE))?;
    named("the slot's own files", rustix::process::fchdir(&beneath))?;
    Ok(template)
}

/// What lies beneath the root.
fn new_beneath() -> io::Result<OwnedFd> {
    let options: [(&CStr, &CStr); 2] = [(c"mode", c"755"), (c"size", c"64k")];
    let beneath = kernel::new_filesystem(c"tmpfs", &options, NOSUID | NODEV)?;
    for directory in [CACHE, DISK, EMPTY, SCRATCH] {
        make_directory(&beneath, directory)?;
    }
    Ok(beneath)
}

/// Mounts trees at names of the working directory.
fn attach(trees: &[(OwnedFd, CString, u64)]) -> Step<()> {
    for (tree, at, attributes) in trees {
        let attached =
            kernel::set_attributes(tree, *attributes).and_then(|()| kernel::attach(tree, at));
        named(&at.to_string_lossy(), attached)?;
    }
    Ok(())
}

fn c_string(name: &str) -> Step<CString> {
    named(name, c_path(Path::new(name)))
}

fn open(shown: &Shown, recursive: bool) -> Step<OwnedFd> {
    let name = shown.host.display().to_string();
    match &shown.tree {
        Some(tree) => named(&name, rustix::io::fcntl_dupfd_cloexec(tree, 3)),
        None => named(&name, kernel::clone_tree(&shown.host, recursive)),
    }
}

/// Terminals of the slot's own, which all belong to the action's user.
fn terminals() -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    let options = format!("newinstance,ptmxmode=0666,mode=0620,uid={UID_INSIDE},gid={UID_INSIDE}");
    kernel::mount(c"devpts", c"dev/pts", c"devpts", flags, &CString::new(options)?)
}

/// Mounts what becomes the root somewhere and makes it the working directory.
fn stage(root: &OwnedFd) -> io::Result<()> {
    let mut last = Ok(());
    for at in STAGES {
        last = kernel::attach(root, at);
        if last.is_ok() {
            break;
        }
    }
    last?;
    Ok(rustix::process::fchdir(root)?)
}

fn enter() -> io::Result<()> {
    let here = c".".as_ptr() as usize;
    // SAFETY: literals.
    unsafe {
        call(libc::SYS_pivot_root, here, here, 0, 0, 0).map_err(kernel::error)?;
        call(libc::SYS_umount2, here, sys::arg(libc::MNT_DETACH), 0, 0, 0)
            .map_err(kernel::error)?;
    }
    Ok(rustix::process::chdir("/")?)
}

/// Device nodes: made by the launcher where it may, else the host's own, one mount each.
fn devices(plan: &Plan, root: impl AsFd, trees: &mut Vec<(OwnedFd, CString, u64)>) -> Step<()> {
    if let Some(made) = &plan.devices {
        let made = named("device nodes", rustix::io::fcntl_dupfd_cloexec(made, 3))?;
        trees.push((made, c"dev".to_owned(), RDONLY | NOSUID));
        return Ok(());
    }
    for (name, _, _) in DEVICES {
        let host = format!("/dev/{name}");
        let tree = named(&host, kernel::clone_tree(Path::new(&host), false))?;
        let at = format!("dev/{name}");
        named(&host, make_file(root.as_fd(), &at, b""))?;
        trees.push((tree, named(&host, c_path(Path::new(&at)))?, NOSUID));
    }
    named("device links", device_links(&root, "dev/"))
}

/// A detached tmpfs with the device nodes that an action needs: one mount for /dev instead of six. Only for root.
pub(crate) fn device_tree() -> io::Result<OwnedFd> {
    let tree = kernel::new_filesystem(c"tmpfs", &[(c"mode", c"755"), (c"size", c"64k")], 0)?;
    let mode = Mode::from_raw_mode(0o666);
    for (name, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&tree, name, FileType::CharacterDevice, mode, device)?;
        rustix::fs::chmodat(&tree, name, mode, AtFlags::empty())?;
    }
    device_links(&tree, "")?;
    rustix::fs::mkdirat(&tree, "pts", Mode::from_raw_mode(0o755))?;
    Ok(tree)
}

fn device_links(directory: impl AsFd, prefix: &str) -> io::Result<()> {
    for (target, name) in DEVICE_LINKS {
        rustix::fs::symlinkat(target, &directory, format!("{prefix}{name}"))?;
    }
    Ok(())
}

/// Makes a mount point of the right kind in the root, with the directories above it.
fn make_mount_point(root: impl AsFd, tree: &OwnedFd, path: &Path) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    if let Some(parent) = path.parent() {
        make_directories(root.as_fd(), parent)?;
    }
    if kind == FileType::Directory {
        make_directories(root, path)
    } else {
        make_file(root, path, b"")
    }
}

fn make_link(root: impl AsFd, target: &Path, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        make_directories(root.as_fd(), parent)?;
    }
    Ok(rustix::fs::symlinkat(target, root, path)?)
}

pub(crate) fn make_directories(root: impl AsFd, path: &Path) -> io::Result<()> {
    let mut prefix = std::path::PathBuf::new();
    for name in path {
        prefix.push(name);
        make_directory(root.as_fd(), &prefix)?;
    }
    Ok(())
}

fn make_directory(root: impl AsFd, path: impl AsRef<Path>) -> io::Result<()> {
    match rustix::fs::mkdirat(root, path.as_ref(), Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        done => Ok(done?),
    }
}

/// Writes a small file of the root.
pub(crate) fn make_file(root: impl AsFd, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(root, path.as_ref(), flags, Mode::from_raw_mode(0o644))?;
    io::Write::write_all(&mut fs::File::from(file), content)
}

/// Whether actions of this network may ask the host's name servers.
pub(crate) fn has_names(network: Network) -> bool {
    network == Network::Host
}
