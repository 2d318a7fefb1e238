//! Mount points of single actions in the slot's root, removed again after the action.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// What was made for the running action.
#[derive(Debug, Default)]
pub(crate) struct MountPoints {
    /// Parent and name, in the order in which they were made.
    made: Vec<(OwnedFd, Vec<u8>)>,
}

impl MountPoints {
    /// Makes the directories of a path that the root lacks. Where the path goes through something that is no
    /// directory of the root itself, the rest is left to the init, which sees what is mounted.
    pub(crate) fn make(&mut self, template: &OwnedFd, path: &CStr) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = rustix::io::fcntl_dupfd_cloexec(template, 3)?;
        for name in Path::new(OsStr::from_bytes(path.to_bytes())).iter().skip(1) {
            match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {
                    let parent = rustix::io::fcntl_dupfd_cloexec(&directory, 3)?;
                    self.made.push((parent, name.as_bytes().to_vec()));
                }
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
            directory = match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                opened => opened?,
            };
        }
        Ok(())
    }

    /// Removes them. Nobody else's mounts are on them: those of the action are gone.
    pub(crate) fn remove(self) {
        for (parent, name) in self.made.into_iter().rev() {
            // A name that stays is an empty directory, which tells nothing.
            let _ =
                rustix::fs::unlinkat(parent.as_fd(), OsStr::from_bytes(&name), AtFlags::REMOVEDIR);
        }
    }
}
