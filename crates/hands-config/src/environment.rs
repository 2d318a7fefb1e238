//! The process's environment, read once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What a process was started with. Tests make their own; nothing else in this crate asks the process.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Variables.
    pub variables: BTreeMap<OsString, OsString>,
    /// The current directory; none when it can't be told (deleted, for one).
    pub directory: Option<PathBuf>,
    /// Effective user id.
    pub uid: u32,
}

impl Environment {
    /// This process's.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir().ok(),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// A variable; an empty one counts as unset, as XDG wants it.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether this runs inside one of our actions.
    pub fn is_inside_action(&self) -> bool {
        self.get("HANDS_INSIDE").is_some()
    }
}
