//! Standard input, output and error as the kernel has them: no buffer, no lock, and no end where they are non-blocking.
//!
//! A program of node's, an editor, `ssh` may hand us streams that are non-blocking, and the flag belongs to all who share
//! them: it is left as it is, and what can't be read or written now is waited for. Everything here blocks.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio;

/// Which of the two streams that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Data.
    Stdout,
    /// Everything else.
    Stderr,
}

impl Target {
    fn fd(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => stdio::stdout(),
            Self::Stderr => stdio::stderr(),
        }
    }
}

/// Writes all of it, however long its reader takes.
pub fn write_all(target: Target, mut bytes: &[u8]) -> io::Result<()> {
    let fd = target.fd();
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(fd, PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Our standard input.
#[derive(Clone, Copy, Debug)]
pub struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(stdio::stdin(), &mut *buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(stdio::stdin(), PollFlags::IN)?,
                other => return other.map_err(io::Error::from),
            }
        }
    }
}

/// Whether a read of standard input or a write to standard output may say "not now".
pub fn is_non_blocking() -> bool {
    [stdio::stdin(), stdio::stdout()].into_iter().any(|fd| {
        rustix::fs::fcntl_getfl(fd).is_ok_and(|f| f.contains(rustix::fs::OFlags::NONBLOCK))
    })
}

/// Reads a piece of standard input; empty at its end. Dropping this future leaves the read going on, and what it finds
/// is lost.
pub async fn read_stdin(longest: usize) -> io::Result<Vec<u8>> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; longest];
        let length = Stdin.read(&mut piece)?;
        piece.truncate(length);
        Ok(piece)
    });
    reading.await.map_err(io::Error::other)?
}

/// Waits for ever: for a reader who is slow, or a writer who has nothing to say.
fn wait(fd: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, what)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
