//! The worker's handle on its launcher.

use crate::{LauncherConfig, SandboxError, Slot, SlotConfig};

/// The first argument that makes a program a launcher.
pub const LAUNCHER_WORD: &str = "__sandbox-launcher";

/// A running launcher. Dropping it ends every slot and every action.
#[derive(Debug)]
pub struct Launcher {
    warnings: Vec<String>,
}

impl Launcher {
    /// Starts the launcher's process. Cheap (milliseconds) and safe at any time, in a program with threads too.
    pub fn start(_config: LauncherConfig) -> Result<Self, SandboxError> {
        Err(SandboxError::Gone { who: "launcher" })
    }

    /// Makes a slot: some ten milliseconds, blocking. A running slot of the same number is ended first.
    pub fn slot(&mut self, _config: SlotConfig) -> Result<Slot, SandboxError> {
        Err(SandboxError::Gone { who: "launcher" })
    }

    /// What this machine denies, as sentences for the user: limits that are not enforced, landlock that is missing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What `main` calls, before it starts any thread, when the program's first argument is [`LAUNCHER_WORD`].
pub fn launcher_main() -> ! {
    loop {}
}
