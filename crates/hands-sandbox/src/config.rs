//! What a launcher and a slot are told once.

use std::path::PathBuf;

/// What an action can reach over the network; at `NoNetns` and `Process` it is always the machine's network.
pub use hands_types::{Isolation, Network};

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
