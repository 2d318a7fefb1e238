//! Reading a pipe of which nobody can tell when more comes, for as long as somebody wants it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A pipe, and the connection over which it was handed in. Reading fails as soon as the other end of that has gone, whether or
/// not anything comes through the pipe: its writer may live on and write nothing.
pub(super) struct Pouring<'a> {
    pub(super) from: &'a File,
    pub(super) asker: &'a OwnedFd,
    /// Set when that end has gone.
    pub(super) cancelled: &'a AtomicBool,
}

impl Read for Pouring<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Of the connection only its end is asked for, which is told in any case.
            let mut both = [
                PollFd::new(self.from, PollFlags::IN),
                PollFd::new(self.asker, PollFlags::empty()),
            ];
            match poll(&mut both, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if !both[1].revents().is_empty() {
                self.cancelled.store(true, Ordering::Relaxed);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            match self.from.read(buffer) {
                // Somebody else has read what was there.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}
