//! Which of the machine's user ids actions have.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hands_sandbox_child::sys;
use rustix::process::{Pid, WaitOptions};

use crate::UID_INSIDE;
use crate::config::{Isolation, LauncherConfig};
use crate::kernel;
use crate::range::{Range, is_ours_to_give};

/// Which of the machine's user ids actions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// A range of its own for each slot. The worker is root.
    Ranges,
    /// The worker's own.
    Own,
}

impl Ids {
    /// Finds out by trying.
    pub(crate) fn find(
        config: &LauncherConfig,
        warnings: &mut Vec<String>,
    ) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        if config.isolation == Isolation::Process {
            let needed = config.expose.iter().map(|e| &e.host).chain([&config.work_dir]);
            let why = match needed.into_iter().find_map(|path| barrier(path)) {
                Some(barrier) => format!("other users can't enter {}", barrier.display()),
                None if is_ours_to_give(Range::default().owner()) => return Ok(Self::Ranges),
                None => "this container has too few user ids".to_owned(),
            };
            warnings.push(format!("actions run as root, without its capabilities, because {why}"));
            return Ok(Self::Own);
        }
        match with_user_namespace(Self::Ranges.map(Range::default()), |_| Ok(())) {
            Ok(()) => Ok(Self::Ranges),
            // Root of a container that is an ordinary user outside has but a few ids to give.
            Err(_) if !is_real_root() => Ok(Self::Own),
            Err(e) => Err(format!("a user namespace with a range of ids: {e}")),
        }
    }

    /// The user namespace's map for a claimed range: inside, outside, length.
    pub(crate) fn map(self, range: Range) -> (u32, u32, u32) {
        match self {
            Self::Ranges => (0, range.first(), Range::LENGTH),
            Self::Own => (UID_INSIDE, rustix::process::geteuid().as_raw(), 1),
        }
    }

    /// The machine's id of the actions of a range's slot, if it is not the worker's own.
    pub(crate) fn owner(self, range: Range) -> Option<u32> {
        (self == Self::Ranges).then(|| range.owner())
    }

    /// Makes a mount show what belongs to the worker as the property of the slot's actions. Only for ranges.
    pub(crate) fn idmap(self, tree: &OwnedFd, range: Range) -> io::Result<()> {
        let Some(owner) = self.owner(range) else { return Ok(()) };
        let outside = rustix::process::geteuid().as_raw();
        with_user_namespace((outside, owner, 1), |namespace| kernel::idmap_mount(tree, namespace))
    }

    /// The error number of an idmapped mount of a directory, 0 if it works; none where none is needed.
    pub(crate) fn idmap_failure(self, directory: &Path) -> Option<i32> {
        if self == Self::Own {
            return None;
        }
        let tried = kernel::clone_tree(directory, false)
            .and_then(|tree| self.idmap(&tree, Range::default()));
        Some(tried.err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EINVAL)))
    }
}

/// Writes the maps of a new user namespace's first process.
pub(crate) fn write_maps(pid: Pid, ids: Ids, range: Range) -> io::Result<()> {
    let (inside, outside, length) = ids.map(range);
    let pid = pid.as_raw_nonzero();
    let group = match ids {
        Ids::Ranges => outside,
        Ids::Own => {
            // The kernel wants an ordinary user to give up changing groups first.
            fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
            rustix::process::getegid().as_raw()
        }
    };
    fs::write(format!("/proc/{pid}/uid_map"), format!("{inside} {outside} {length}"))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{inside} {group} {length}"))
}

/// Makes a user namespace with this map for a moment and hands its descriptor over.
fn with_user_namespace<T>(
    (inside, outside, length): (u32, u32, u32),
    then: impl FnOnce(&OwnedFd) -> io::Result<T>,
) -> io::Result<T> {
    let (reader, writer) = rustix::pipe::pipe()?;
    let Some(pid) = kernel::fork(libc::CLONE_NEWUSER)? else {
        drop(writer);
        // Ends when the other side is closed, with or without a word.
        let _ = rustix::io::read(&reader, &mut [0u8; 1]);
        sys::exit(0)
    };
    let done = (|| {
        let raw = pid.as_raw_nonzero();
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{raw}/{map}"), format!("{inside} {outside} {length}"))?;
        }
        then(&fs::File::open(format!("/proc/{raw}/ns/user"))?.into())
    })();
    drop(writer);
    rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    done
}

fn is_real_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The uppermost directory on the way to a path that other users can't enter.
fn barrier(path: &Path) -> Option<&Path> {
    let closed = |d: &&Path| !fs::metadata(d).is_ok_and(|m| m.mode() & 0o001 != 0);
    path.ancestors().filter(closed).last()
}

/// A path of ours as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Takes over a descriptor that the kernel just made.
///
/// # Safety
/// `fd` is open and nobody else's.
pub(crate) unsafe fn own(fd: usize) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: as the caller says.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
