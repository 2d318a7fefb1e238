//! What a launcher and a slot are told once.

use std::fmt;
use std::path::PathBuf;

/// How much an action is kept apart from the machine. Ordered: the first is the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// User, pid, mount, network, ipc, uts and cgroup namespaces, landlock, seccomp.
    Full,
    /// All of `Full` but the network namespace: every action has the machine's network.
    NoNetns,
    /// No namespaces and no mounts: a fresh directory with copied inputs, landlock where there is one, seccomp,
    /// limits. For machines that forbid the rest, such as an ordinary container.
    Process,
}

impl Isolation {
    /// All levels, strongest first.
    pub const ALL: [Self; 3] = [Self::Full, Self::NoNetns, Self::Process];

    /// The level's name on command lines and in platform properties.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoNetns => "no-netns",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an action can reach over the network. At `NoNetns` and `Process` it is always the machine's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Nothing: even the loopback is down.
    None,
    /// A private loopback that is up, and nothing else.
    Loopback,
    /// The machine's own network.
    Host,
}

/// What an action may do beyond the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privilege {
    /// Nothing.
    None,
    /// It may create user namespaces and, in these, all other namespaces and mounts. Such a slot has no landlock rules
    /// for files, because these forbid every mount call; read-only mounts and unmapped owners remain.
    Userns,
}

/// A path of the machine that actions see read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPath {
    /// The directory or file on the machine, absolute.
    pub host: PathBuf,
    /// Where actions see it, absolute. At `Process` it must equal `host`.
    pub inside: PathBuf,
}

/// What a launcher needs to know; the same for all of its slots.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// The program whose `main` calls [`crate::launcher_main`] when its first argument is
    /// [`crate::LAUNCHER_WORD`]; ordinarily `/proc/self/exe`.
    pub program: PathBuf,
    /// The level. [`crate::probe`] says which ones this machine allows.
    pub isolation: Isolation,
    /// Absolute path beneath which all staged trees lie. Never written by the sandbox.
    pub cache_dir: PathBuf,
    /// Absolute path of a directory for actions' own files: scratch on disk, and all of an action's files at `Process`.
    /// Created if missing; the launcher owns what is in it.
    pub work_dir: PathBuf,
    /// Host paths shown read-only where they are on the host; missing ones are skipped. `/etc` is always a filtered
    /// copy and must not be listed.
    pub show_host: Vec<PathBuf>,
    /// More host paths, shown read-only; missing ones are skipped. Those at places of which each action has its own
    /// (`/tmp`, `/dev`, `/etc`, the input root …) are left out with a warning.
    pub expose: Vec<ExposedPath>,
}

impl LauncherConfig {
    /// A configuration that shows the default host paths and nothing more.
    pub fn new(
        program: impl Into<PathBuf>,
        isolation: Isolation,
        cache_dir: impl Into<PathBuf>,
        work_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            program: program.into(),
            isolation,
            cache_dir: cache_dir.into(),
            work_dir: work_dir.into(),
            show_host: default_host_paths(),
            expose: Vec::new(),
        }
    }
}

/// The host paths that actions see by default, beside a filtered `/etc`.
pub fn default_host_paths() -> Vec<PathBuf> {
    [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/libo32",
        "/opt",
        "/nix/store",
    ]
    .map(PathBuf::from)
    .into()
}

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotConfig {
    /// The slot's number on this worker. A running slot of the same number is ended first. Below 30,000.
    pub index: u32,
    /// Network of the slot's actions.
    pub network: Network,
    /// Privilege of the slot's actions.
    pub privilege: Privilege,
}
