//! The read ends of what an action writes to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::request::Stream;
use crate::watch::watch;

/// One read is at most this long: a whole default pipe.
pub(crate) const READ: usize = 64 << 10;
/// A pipe that is found full is made this large, so that a torrent costs fewer switches between both sides.
const LARGE_PIPE: usize = 1 << 20;
/// Pieces up to this size are copied out of the shared buffer; larger ones take the buffer with them.
const COPIED: usize = 16 << 10;

/// The end of a pipe or terminal from which an action's stream is read.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    pub(crate) stream: Stream,
    fd: AsyncFd<OwnedFd>,
    pub(crate) is_pipe: bool,
    grown: bool,
    /// Nothing more will come.
    pub(crate) ended: bool,
    /// Bytes read so far.
    pub(crate) total: u64,
}

/// What one attempt to read found.
#[derive(Debug)]
pub(crate) enum Read {
    Piece(Bytes),
    Nothing,
    End,
}

impl ReadEnd {
    /// `fd` must be non-blocking.
    pub(crate) fn new(stream: Stream, fd: OwnedFd, is_pipe: bool) -> io::Result<Self> {
        let fd = watch(fd, Interest::READABLE)?;
        Ok(Self { stream, fd, is_pipe, grown: false, ended: false, total: 0 })
    }

    /// Waits until a read may find something. May be dropped and called again.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        // The flag is kept: `try_read` clears it once a read finds nothing.
        self.fd.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Reads once if there is something, after [`ReadEnd::readable`] has said so. `buffer` is scratch that all streams
    /// of a run share.
    pub(crate) fn try_read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Read> {
        buffer.clear();
        buffer.reserve(READ);
        let result = self.fd.try_io(Interest::READABLE, |fd| read_once(fd, buffer));
        self.judge(result, buffer)
    }

    /// Reads once, whatever tokio knows: what was written just now may be in the pipe before its poller has seen it.
    /// For the time when the action is dead, where nothing to read means that nothing will come.
    pub(crate) fn read_rest(&mut self, buffer: &mut Vec<u8>) -> io::Result<Read> {
        buffer.clear();
        buffer.reserve(READ);
        let result = read_once(self.fd.get_ref(), buffer);
        self.judge(result, buffer)
    }

    fn judge(&mut self, result: io::Result<usize>, buffer: &mut Vec<u8>) -> io::Result<Read> {
        match result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(e) => Err(e),
            Ok(0) => {
                self.ended = true;
                Ok(Read::End)
            }
            Ok(length) => {
                self.total += length as u64;
                if length == READ && self.is_pipe && !self.grown {
                    self.grown = true;
                    // Refused where a user has too many pages in pipes; then it stays as it is.
                    rustix::pipe::fcntl_setpipe_size(self.fd.get_ref().as_fd(), LARGE_PIPE).ok();
                }
                Ok(Read::Piece(take(buffer)))
            }
        }
    }
}

fn read_once(fd: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        match rustix::io::read(fd, rustix::buffer::spare_capacity(buffer)) {
            Err(Errno::INTR) => {}
            // A terminal whose other side is closed by all says EIO.
            Err(Errno::IO) => return Ok(0),
            other => return other.map_err(io::Error::from),
        }
    }
}

fn take(buffer: &mut Vec<u8>) -> Bytes {
    if buffer.len() <= COPIED {
        Bytes::copy_from_slice(buffer)
    } else {
        Bytes::from(std::mem::take(buffer))
    }
}

/// A pipe from an action to us: our end, non-blocking, and the action's.
pub(crate) fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // Only our end: the flag belongs to the open file, and a program does not expect EAGAIN from its stdout.
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// A pipe from us to an action: the action's end, and ours, non-blocking.
pub(crate) fn input_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&write, true)?;
    Ok((read, write))
}
