//! Looking at one path of a staged tree, as an overlay of its directories would show it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use hands_tree::There;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::StoreError;
use crate::stage::Staged;

impl Staged {
    /// What stands at a path below the root, whose parent is a directory of the tree. Follows no link. Blocks on the
    /// disk.
    pub fn look(&self, path: &str) -> Result<There, StoreError> {
        let root = self.root();
        for lower in self.lowers() {
            let lower = root.join(lower);
            match look_in(&lower, path).map_err(StoreError::errno("look into", &lower))? {
                Here::Nothing => {}
                Here::Removed => return Ok(There::Nothing),
                Here::Is(there) => return Ok(there),
            }
        }
        Ok(There::Nothing)
    }
}

/// What one of the directories has there.
enum Here {
    /// Nothing: the ones below it count.
    Nothing,
    /// An overlay's mark that there is nothing, whatever the ones below it have.
    Removed,
    Is(There),
}

fn look_in(directory: &Path, path: &str) -> Result<Here, Errno> {
    let root = File::open(directory).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let mut here = OwnedFd::from(root);
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    for parent in parents.split('/').filter(|name| !name.is_empty()) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        here = match rustix::fs::openat(&here, parent, flags, Mode::empty()) {
            Ok(below) => below,
            // A directory of another layer lies over what is here, if anything is.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Here::Nothing),
            Err(errno) => return Err(errno),
        };
    }
    let stat = match rustix::fs::statat(here.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Here::Nothing),
        Err(errno) => return Err(errno),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Here::Is(There::Directory),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&here, name, Vec::new())?;
            // Staged from a message, so it is UTF-8.
            Here::Is(There::Symlink { target: target.to_string_lossy().into_owned() })
        }
        FileType::CharacterDevice if stat.st_rdev == 0 => Here::Removed,
        _ => Here::Is(There::Other),
    })
}
