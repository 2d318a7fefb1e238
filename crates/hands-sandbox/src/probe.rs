//! What this machine allows, found by trying.

use std::path::Path;

use crate::{Isolation, SandboxError};

/// What this machine allows.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Each level, strongest first, with the reason why it is not possible, if so.
    pub levels: Vec<LevelReport>,
    /// Version of landlock's interface; 0 if the kernel has none or it is switched off.
    pub landlock_abi: u32,
    /// How memory and processes are limited: `v1`, `v2`, or none for rlimits only.
    pub cgroup: Option<&'static str>,
    /// What is weaker than it could be, as sentences with the cure.
    pub warnings: Vec<String>,
}

/// One level of a probe.
#[derive(Clone, Debug)]
pub struct LevelReport {
    /// The level.
    pub level: Isolation,
    /// None if a command ran at this level just now; else the step that failed and the kernel's answer.
    pub failure: Option<String>,
}

impl Probe {
    /// The strongest level that works; none if not even `Process` does.
    pub fn best(&self) -> Option<Isolation> {
        self.levels.iter().find(|l| l.failure.is_none()).map(|l| l.level)
    }
}

/// Tries each level by running a command in it. `program` as in [`crate::LauncherConfig`]; `scratch_dir` is a directory on the
/// file system of the cache, in which a directory is made and removed again. Blocks for some tens of milliseconds.
pub fn probe(_program: &Path, _scratch_dir: &Path) -> Result<Probe, SandboxError> {
    Err(SandboxError::Gone { who: "launcher" })
}
