//! What can be wrong with configuration and places.

use std::io;
use std::path::{Path, PathBuf};

use hands_types::ErrorClass;

use crate::Ask;

/// An error in configuration, or in the places where things are kept. Names variable, or file and line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No home directory, and no variable that stands in for it.
    #[error("HOME is not set, so there is no place for {0}")]
    NoHome(&'static str),
    /// A variable names a directory that is no good.
    #[error("{variable} is {}, which {why}", path.display())]
    BadDirectory {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The directory for sockets can't be trusted.
    #[error("the directory for sockets, {}, {why}", path.display())]
    Runtime {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file or directory of the user's that others have in their hands.
    #[error("{} {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        why: String,
    },
    /// A file that is there and can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of ours that can't be written.
    #[error("{} can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A membership can't be kept where it should be.
    #[error("can't {what} {}", path.display())]
    Membership {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file that is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A value that does not fit its key.
    #[error("{origin}: {key} {why}")]
    Value {
        /// Flag, variable, or file and line.
        origin: String,
        /// The key.
        key: String,
        /// What was expected and what was found.
        why: String,
    },
    /// A project's file asks for what the user has not allowed it.
    #[error("{}: {} = {}: {}, and {}{}", ask.origin, ask.key, ask.value, ask.why, untrusted(*changed), more(*n_more))]
    Untrusted {
        /// The file.
        file: PathBuf,
        /// The first thing that it asks for.
        ask: Ask,
        /// How many things it asks for besides.
        n_more: usize,
        /// Whether an earlier text of it was trusted.
        changed: bool,
    },
    /// A project's file sets what only the user may.
    #[error("{origin}: {key} {why}")]
    Refused {
        /// File and line.
        origin: String,
        /// The key.
        key: String,
        /// Why it may not.
        why: &'static str,
        /// What to do instead.
        cure: String,
    },
}

impl ConfigError {
    /// Whose error it is.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::NoHome(_)
            | Self::BadDirectory { .. }
            | Self::Runtime { .. }
            | Self::Foreign { .. }
            | Self::Write { .. }
            | Self::Membership { .. } => ErrorClass::Environment,
            Self::Read { .. }
            | Self::Syntax { .. }
            | Self::Value { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. } => ErrorClass::Config,
        }
    }

    /// The next step, where there is one that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome(_) => {
                Some("set HOME, or HANDS_HOME to a directory that is to hold everything".to_owned())
            }
            Self::BadDirectory { variable: "HOME", .. } => Some(
                "set HOME right (`sudo -H` does it), or HANDS_HOME to a directory of yours"
                    .to_owned(),
            ),
            Self::BadDirectory { variable, .. } => {
                Some(format!("set {variable} to a directory of yours"))
            }
            Self::Runtime { .. } => {
                Some("set XDG_RUNTIME_DIR or HANDS_HOME to a directory of yours".to_owned())
            }
            Self::Untrusted { file, .. } => Some(format!(
                "`hands trust {}` shows all that the file asks for and allows it; or remove the line",
                quoted(file.parent().unwrap_or(file)),
            )),
            Self::Foreign { .. } => {
                Some("whoever writes to it decides where your files go: make it yours, `chmod o-w` it, or set HANDS_HOME".to_owned())
            }
            Self::Refused { cure, .. } => Some(cure.clone()),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Syntax { .. }
            | Self::Value { .. }
            | Self::Membership { .. } => None,
        }
    }
}

const fn untrusted(changed: bool) -> &'static str {
    if changed {
        "the file has changed since you trusted it"
    } else {
        "you have not trusted this file"
    }
}

fn more(n_more: usize) -> String {
    if n_more == 0 { String::new() } else { format!(" ({n_more} more lines like it)") }
}

/// A path as it is typed into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
