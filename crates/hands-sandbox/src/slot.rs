//! The worker's handle on one slot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use crate::message::{self, KILL};
use crate::wire::{self, Writer};
use crate::{Outcome, Request, SandboxError, Scratch, Stdio};

/// A slot: runs one action at a time. Dropping it kills what runs.
#[derive(Debug)]
pub struct Slot {
    sock: OwnedFd,
    /// The machine's user id of the slot's actions, where it is not the worker's own.
    owner: Option<u32>,
    /// At `Process`: where the input root is.
    directory: Option<PathBuf>,
    /// The slot's own terminals.
    terminals: Option<OwnedFd>,
    /// Every action's files are on disk, whatever is asked for.
    on_disk: bool,
    /// Number of the last request.
    sequence: u64,
    running: bool,
}

impl Slot {
    pub(crate) fn new(
        sock: OwnedFd,
        owner: Option<u32>,
        directory: Option<PathBuf>,
        terminals: Option<OwnedFd>,
        on_disk: bool,
    ) -> Result<Self, SandboxError> {
        rustix::io::ioctl_fionbio(&sock, true)
            .map_err(|e| SandboxError::system("make a slot's socket non-blocking")(e.into()))?;
        Ok(Self { sock, owner, directory, terminals, on_disk, sequence: 0, running: false })
    }

    /// Sends a request. Does not block. An error says that nothing was started.
    pub fn begin(&mut self, request: Request) -> Result<(), SandboxError> {
        if self.running {
            return Err(SandboxError::Invalid("the slot is running another action".to_owned()));
        }
        self.sequence += 1;
        let body = message::encode_request(&request, self.sequence, self.directory.is_some())?;
        let streams = match &request.stdio {
            Stdio::Pipes { stdin, stdout, stderr } => {
                let mut streams = vec![stdout.as_fd(), stderr.as_fd()];
                streams.extend(stdin.as_ref().map(AsFd::as_fd));
                streams
            }
            Stdio::Tty { slave } => vec![slave.as_fd()],
        };
        for stream in &streams {
            self.give(*stream)?;
        }
        message::send_request(&self.sock, &body, &streams)?;
        self.running = true;
        Ok(())
    }

    /// Whether the tree of an action with this scratch must be closed before the slot's next request.
    pub fn holds_tree(&self, scratch: Scratch) -> bool {
        self.on_disk || self.directory.is_some() || matches!(scratch, Scratch::Disk)
    }

    /// A new terminal for the slot's next action: the side that types and reads, and the action's. It is one of the
    /// slot's own, so that it has a name inside (`tty`); where the kernel gives a slot none, it is one of the machine's.
    pub fn terminal(&self) -> Result<(OwnedFd, OwnedFd), SandboxError> {
        let open = || {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let master = match &self.terminals {
                Some(directory) => rustix::fs::openat(directory, "ptmx", flags, Mode::empty())?,
                None => rustix::fs::open("/dev/ptmx", flags, Mode::empty())?,
            };
            rustix::pty::unlockpt(&master)?;
            // By the master itself: its name means nothing outside of the slot.
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
            Ok((master, slave))
        };
        open().map_err(|e: Errno| SandboxError::system("open a terminal")(e.into()))
    }

    /// Lets the action open its own streams by name (`/dev/stdout`), which asks for the owner of a pipe or terminal.
    fn give(&self, stream: BorrowedFd<'_>) -> Result<(), SandboxError> {
        let Some(owner) = self.owner else { return Ok(()) };
        let fail = |e: Errno| SandboxError::system("give a stream to the action's user")(e.into());
        let kind = FileType::from_raw_mode(fstat(stream).map_err(fail)?.st_mode);
        let terminal = || rustix::termios::isatty(stream);
        if kind == FileType::Fifo || kind == FileType::CharacterDevice && terminal() {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(owner)), None)
                .map_err(fail)?;
        }
        Ok(())
    }

    /// Kills every process of the running action, if there is one. Its outcome still comes. Does not block.
    pub fn kill(&self) -> Result<(), SandboxError> {
        if !self.running {
            return Ok(());
        }
        let mut packet = Writer::default();
        packet.u64(KILL).u64(self.sequence);
        // A spawner that is gone has taken its action with it.
        match wire::send(&self.sock, &packet.0, &[]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                Err(SandboxError::system("kill an action")(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The outcome, if it is there; none while the action runs. The slot's descriptor becomes readable then.
    /// [`SandboxError::Gone`] means that the slot is dead, with its action, and must be replaced.
    pub fn try_finish(&mut self) -> Result<Option<Outcome>, SandboxError> {
        let mut packet = [0; 512];
        match wire::receive(&self.sock, &mut packet) {
            Ok((0, _)) => Err(SandboxError::Gone { who: "spawner" }),
            Ok((length, fds)) => {
                self.running = false;
                let outcome = message::decode_outcome(&packet[..length], self.sequence, fds);
                outcome.map(Some).ok_or(SandboxError::Malformed { who: "spawner" })
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(_) => Err(SandboxError::Gone { who: "spawner" }),
        }
    }

    /// Runs a request and waits for its end.
    pub fn run(&mut self, request: Request) -> Result<Outcome, SandboxError> {
        self.begin(request)?;
        self.finish()
    }

    /// Waits for the end of what [`Slot::begin`] started.
    pub fn finish(&mut self) -> Result<Outcome, SandboxError> {
        loop {
            if let Some(outcome) = self.try_finish()? {
                return Ok(outcome);
            }
            match rustix::event::poll(&mut [PollFd::new(&self.sock, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(SandboxError::system("wait for a slot")(e.into())),
            }
        }
    }

    /// Where actions of this slot see an input root that was asked for at `root_at`: there, or at `Process` a
    /// directory beneath `work_dir` that stays the same for the slot's life.
    pub fn input_root(&self, root_at: &Path) -> PathBuf {
        self.directory.as_deref().unwrap_or(root_at).to_owned()
    }
}

impl AsFd for Slot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}
