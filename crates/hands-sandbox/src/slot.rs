//! The worker's handle on one slot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::{Outcome, Request, SandboxError};

/// A slot: runs one action at a time. Dropping it kills what runs.
#[derive(Debug)]
pub struct Slot {
    sock: OwnedFd,
}

impl Slot {
    /// Sends a request. Does not block. An error says that nothing was started.
    pub fn begin(&mut self, _request: Request) -> Result<(), SandboxError> {
        Err(SandboxError::Gone { who: "spawner" })
    }

    /// Kills every process of the running action, if there is one. Its outcome still comes. Does not block.
    pub fn kill(&self) -> Result<(), SandboxError> {
        Err(SandboxError::Gone { who: "spawner" })
    }

    /// The outcome, if it is there; none while the action runs. The slot's descriptor becomes readable then.
    /// [`SandboxError::Gone`] means that the slot is dead, with its action, and must be replaced.
    pub fn try_finish(&mut self) -> Result<Option<Outcome>, SandboxError> {
        Ok(None)
    }

    /// Runs a request and waits for its end.
    pub fn run(&mut self, _request: Request) -> Result<Outcome, SandboxError> {
        Err(SandboxError::Gone { who: "spawner" })
    }

    /// Where actions of this slot see an input root that was asked for at `root_at`: there, or at `Process` a
    /// directory beneath `work_dir` that stays the same for the slot's life.
    pub fn input_root(&self, root_at: &Path) -> PathBuf {
        root_at.to_owned()
    }
}

impl AsFd for Slot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}
