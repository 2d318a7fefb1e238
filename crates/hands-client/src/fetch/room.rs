//! Whether the disk has room for outputs, before anything of them is written.

use std::os::fd::BorrowedFd;

use hands_types::limits::DISK_RESERVE;

use crate::ClientError;

/// Outputs of so many bytes are tried whatever the disk says.
const FEW: u64 = 16 << 20;

/// Leaves a reserve on the disk: two gibibytes, or a twentieth of a small one.
pub(super) fn check(directory: BorrowedFd<'_>, bytes: u64) -> Result<(), ClientError> {
    if bytes <= FEW {
        return Ok(());
    }
    // A file system that can't be asked is tried.
    let Ok(stat) = rustix::fs::fstatvfs(directory) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let reserve = DISK_RESERVE.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20);
    if bytes.saturating_add(reserve) > free {
        return Err(ClientError::NoRoom { bytes, free, reserve });
    }
    Ok(())
}
