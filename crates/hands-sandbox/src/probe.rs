//! What this machine allows, found by trying.

use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hands_types::Word as _;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::{
    Isolation, Launcher, LauncherConfig, Network, Outcome, Privilege, Request, SandboxError,
    SlotConfig, Status, Stdio,
};

/// What this machine allows.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Each level, strongest first, with the reason why it is not possible, if so.
    pub levels: Vec<LevelReport>,
    /// Version of landlock's interface; 0 if the kernel has none or it is switched off.
    pub landlock_abi: u32,
    /// How memory and processes are limited: `v1`, `v2`, or none for rlimits only.
    pub cgroup: Option<&'static str>,
    /// What is weaker than it could be at the best level, as sentences with the cure.
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

/// Tries each level by running a command in it. `program` as in [`LauncherConfig`]; `scratch_dir` is a directory on
/// the file system of the cache, in which a directory is made and removed again. Blocks for some tens of milliseconds.
/// An error says that not even a launcher could be started or the directory not be made; a level that is not possible
/// is no error.
pub fn probe(program: &Path, scratch_dir: &Path) -> Result<Probe, SandboxError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    remove_left_behind(scratch_dir);
    let place = scratch_dir.join(format!("{PLACE}{}-{number}", std::process::id()));
    let make = |path: PathBuf| {
        fs::create_dir_all(path)
            .map_err(SandboxError::system("make a directory to probe the sandbox in"))
    };
    make(place.join("cache/tree"))?;
    let mut found =
        Probe { levels: Vec::new(), landlock_abi: 0, cgroup: None, warnings: Vec::new() };
    let mut result = Ok(());
    for &level in Isolation::ALL {
        let config = LauncherConfig::new(program, level, place.join("cache"), place.join("work"));
        let failure = match try_level(config, &mut found) {
            Ok(()) => None,
            Err(error @ SandboxError::Start { .. }) => {
                result = Err(error);
                break;
            }
            Err(error) => Some(explain(&error)),
        };
        found.levels.push(LevelReport { level, failure });
    }
    let removed = crate::remove::remove_tree(&place);
    result?;
    removed.map_err(SandboxError::system("remove the directory of a probe"))?;
    Ok(found)
}

/// A probe takes a second at most.
const LEFT_BEHIND: Duration = Duration::from_secs(600);
/// How the name of a probe's directory begins; the process's id follows.
const PLACE: &str = "probe-";

/// Removes what processes have left that were killed while they probed.
fn remove_left_behind(scratch_dir: &Path) {
    let Ok(entries) = fs::read_dir(scratch_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PLACE)?.split('-').next()?.parse().ok());
        let Some(owner) = owner.and_then(Pid::from_raw) else { continue };
        // In another container its process may have another id.
        let age =
            entry.metadata().and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_BEHIND)
            && test_kill_process(owner) == Err(Errno::SRCH)
            && let Err(error) = crate::remove::remove_tree(&entry.path())
        {
            tracing::warn!(%error, place = %entry.path().display(), "what a probe left can't be removed");
        }
    }
}

fn explain(error: &SandboxError) -> String {
    match error {
        SandboxError::Setup { why, .. } => why.clone(),
        other => std::error::Error::source(other)
            .map_or_else(|| other.to_string(), |e| format!("{other}: {e}")),
    }
}

fn try_level(config: LauncherConfig, found: &mut Probe) -> Result<(), SandboxError> {
    let is_best = found.best().is_none();
    let level = config.isolation.name();
    let mut launcher = Launcher::start(config)?;
    if is_best {
        let facts = launcher.facts().clone();
        (found.landlock_abi, found.cgroup, found.warnings) =
            (facts.landlock_abi, facts.cgroup, facts.warnings);
    }
    let mut slot = launcher.slot(SlotConfig {
        index: 0,
        network: Network::Loopback,
        privilege: Privilege::None,
    })?;
    let open = || File::options().write(true).open("/dev/null");
    let null = || open().map_err(SandboxError::system("open /dev/null"));
    let stdio = Stdio::Pipes { stdin: None, stdout: null()?.into(), stderr: null()?.into() };
    let mut request = Request::new("tree", vec![CString::from(c"true")], stdio);
    request.env = vec![CString::from(c"PATH=/usr/bin:/bin")];
    let failed = |why| Err(SandboxError::Setup { level, why });
    match slot.run(request)? {
        Outcome { start_error: Some(error), .. } => failed(error.to_string()),
        Outcome { status: Status::Exited(0), .. } => Ok(()),
        Outcome { status, .. } => {
            failed(format!("a command that does nothing ended with {status:?}"))
        }
    }
}
