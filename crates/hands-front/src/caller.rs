//! Where a front-end was called: what this crate may not read by itself.

use std::ffi::OsString;
use std::path::PathBuf;

/// The caller's surroundings.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The current directory, absolute.
    pub directory: PathBuf,
    /// The caller's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables that its commands get where nothing else is said, such as a `PATH` with its toolchains.
    pub defaults: Vec<(String, String)>,
    /// Where the prompt keeps its history; none to keep none.
    pub history: Option<PathBuf>,
}

impl Caller {
    /// A variable of the caller's. One that is not UTF-8 is taken for unset, since no action can have it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str())
    }
}
