//! Which isolation level this worker has.

use std::path::Path;

use hands_exec::{Isolation, probe};

use crate::config::IsolationChoice;
use crate::error::WorkerError;

/// The level that was taken, and why not a better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The level.
    pub isolation: Isolation,
    /// One sentence for the user, when it is not the best there is: what is missing and the cure.
    pub note: Option<String>,
    /// What this machine denies beside that: limits that are not enforced, a missing landlock.
    pub warnings: Vec<String>,
}

/// Tries what the machine allows. Blocks for some tens of milliseconds.
pub(crate) fn choose(
    choice: IsolationChoice,
    program: &Path,
    scratch: &Path,
) -> Result<Level, WorkerError> {
    let found = probe(program, scratch).map_err(|e| WorkerError::Sandbox(e.into()))?;
    let failure = |level: Isolation| {
        found.levels.iter().find(|l| l.level == level).and_then(|l| l.failure.clone())
    };
    match choice {
        IsolationChoice::Exactly(level) => match failure(level) {
            Some(why) => Err(WorkerError::Isolation { level, why }),
            None => Ok(Level { isolation: level, note: None, warnings: found.warnings }),
        },
        IsolationChoice::Best => {
            let Some(isolation) = found.best() else {
                let why = failure(Isolation::Process).unwrap_or_default();
                return Err(WorkerError::Isolation { level: Isolation::Process, why });
            };
            let note = failure(Isolation::Full).map(|why| note(isolation, &why));
            Ok(Level { isolation, note, warnings: found.warnings })
        }
    }
}

fn note(level: Isolation, why: &str) -> String {
    let less = match level {
        Isolation::Full => "",
        Isolation::NoNetns => "actions share this machine's network",
        Isolation::Process => {
            "actions run without namespaces, in a fresh directory, and share this machine's network and files"
        }
    };
    format!(
        "isolation is `{level}`, not `full`: {less} ({why}); `hands doctor` says how to mend it"
    )
}
