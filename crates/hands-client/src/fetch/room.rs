//! Whether the disk has room for outputs, before anything of them is written.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use hands_types::limits::DISK_RESERVE;

use crate::ClientError;

/// Outputs of so many bytes, with all that are under way, are tried whatever the disk says.
const FEW: u64 = 16 << 20;

/// What all fetches over one connection are still to write. They are taken to write to one disk.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicU64);

/// What one of them is. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Promise<'a> {
    room: &'a Room,
    left: AtomicU64,
}

impl Room {
    /// Leaves a reserve on the disk: two gibibytes, or a twentieth of a small one.
    pub(super) fn promise<'d>(
        &self,
        sizes: impl IntoIterator<Item = (BorrowedFd<'d>, u64)>,
    ) -> Result<Promise<'_>, ClientError> {
        let disks = by_disk(sizes.into_iter());
        let bytes = disks.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let promised = self.0.fetch_add(bytes, Ordering::Relaxed);
        let promise = Promise { room: self, left: AtomicU64::new(bytes) };
        if bytes.saturating_add(promised) > FEW {
            disks.into_iter().try_for_each(|(below, bytes)| check(below, bytes, promised))?;
        }
        Ok(promise)
    }
}

impl Promise<'_> {
    /// So much of it is on the disk now, which shows it.
    pub(super) fn is_kept(&self, bytes: u64) {
        let left = self.left.load(Ordering::Relaxed);
        let bytes = bytes.min(left);
        self.left.store(left - bytes, Ordering::Relaxed);
        self.room.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_sub(*self.left.get_mut(), Ordering::Relaxed);
    }
}

/// The sum of what goes to each disk, with a directory of it. A directory that can't be asked is by itself.
pub(super) fn by_disk<'a>(
    sizes: impl Iterator<Item = (BorrowedFd<'a>, u64)>,
) -> Vec<(BorrowedFd<'a>, u64)> {
    let mut disks = BTreeMap::new();
    for (at, (directory, bytes)) in sizes.enumerate() {
        let disk = rustix::fs::fstat(directory).map(|stat| stat.st_dev).map_err(|_| at);
        let sum = &mut disks.entry(disk).or_insert((directory, 0_u64)).1;
        *sum = sum.saturating_add(bytes);
    }
    disks.into_values().collect()
}

fn check(directory: BorrowedFd<'_>, bytes: u64, promised: u64) -> Result<(), ClientError> {
    // A file system that can't be asked is tried.
    let Ok(stat) = rustix::fs::fstatvfs(directory) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let reserve = DISK_RESERVE.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20);
    if bytes.saturating_add(promised).saturating_add(reserve) > free {
        return Err(ClientError::NoRoom { bytes, promised, free, reserve });
    }
    Ok(())
}
