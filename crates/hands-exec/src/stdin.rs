//! What is fed to an action.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::request::InputEvent;
use crate::terminal;
use crate::watch::watch;

/// Above this many bytes that the action did not read yet, no more are taken from the caller.
const PENDING: usize = 256 << 10;
/// The end-of-file character of a terminal in its usual mode.
const EOF_CHARACTER: &[u8] = b"\x04";

/// The write end of an action's standard input, or its terminal.
#[derive(Debug)]
pub(crate) struct Feeder {
    /// None once it is closed.
    fd: Option<AsyncFd<OwnedFd>>,
    is_terminal: bool,
    pending: VecDeque<Bytes>,
    length: usize,
    at_end: bool,
}

impl Feeder {
    /// `fd` must be non-blocking.
    pub(crate) fn new(fd: OwnedFd, is_terminal: bool) -> io::Result<Self> {
        let fd = Some(watch(fd, Interest::WRITABLE)?);
        Ok(Self { fd, is_terminal, pending: VecDeque::new(), length: 0, at_end: false })
    }

    /// Whether more of it may be handed in.
    pub(crate) fn has_room(&self) -> bool {
        self.length < PENDING
    }

    /// Takes an event; none when the caller has let go, which is the end of standard input.
    pub(crate) fn take(&mut self, event: Option<InputEvent>) -> io::Result<()> {
        match event {
            Some(InputEvent::Data(bytes)) if !self.at_end => {
                self.length += bytes.len();
                self.pending.push_back(bytes);
            }
            Some(InputEvent::Data(_)) => {}
            Some(InputEvent::Eof) if self.is_terminal => {
                self.length += EOF_CHARACTER.len();
                self.pending.push_back(Bytes::from_static(EOF_CHARACTER));
            }
            // A terminal whose user is gone stays open: what runs in it may still have something to say.
            None if self.is_terminal => {}
            Some(InputEvent::Eof) | None => self.at_end = true,
        }
        self.write()
    }

    /// Gives a terminal another size. Nothing without one.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match self.fd.as_ref().filter(|_| self.is_terminal) {
            Some(fd) => terminal::resize(fd.get_ref(), rows, columns),
            None => Ok(()),
        }
    }

    /// Sends a signal to a terminal's foreground process group. Nothing without a terminal.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        match self.fd.as_ref().filter(|_| self.is_terminal) {
            Some(fd) => terminal::signal(fd.get_ref(), number),
            None => Ok(()),
        }
    }

    /// Whether [`Feeder::writable`] has something to wait for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.fd.is_some() && !self.pending.is_empty()
    }

    /// Waits until more can be written. May be dropped and called again.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match &self.fd {
            Some(fd) => fd.writable().await.map(|mut guard| guard.retain_ready()),
            None => std::future::pending().await,
        }
    }

    /// Writes what can be written now.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        while let (Some(fd), Some(first)) = (&self.fd, self.pending.front_mut()) {
            let written = fd.try_io(Interest::WRITABLE, |fd| match rustix::io::write(fd, first) {
                // Nobody reads any more; that is the action's business.
                Err(Errno::PIPE | Errno::IO) => Ok(None),
                other => other.map(Some).map_err(io::Error::from),
            });
            match written {
                Ok(Some(n)) => {
                    self.length -= n;
                    first.advance(n);
                    if first.is_empty() {
                        self.pending.pop_front();
                    }
                }
                Ok(None) => {
                    self.pending.clear();
                    self.length = 0;
                    self.at_end = true;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.at_end && self.pending.is_empty() && !self.is_terminal {
            self.fd = None;
        }
        Ok(())
    }
}
