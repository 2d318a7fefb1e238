//! What can be wrong with configuration and places.

use std::io;
use std::path::PathBuf;

use hands_types::ErrorClass;

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
    /// A file that is there and can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
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
            Self::NoHome(_) | Self::BadDirectory { .. } | Self::Runtime { .. } => {
                ErrorClass::Environment
            }
            Self::Read { .. } | Self::Syntax { .. } | Self::Value { .. } | Self::Refused { .. } => {
                ErrorClass::Config
            }
        }
    }

    /// The next step, where there is one that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome(_) => {
                Some("set HOME, or HANDS_HOME to a directory that is to hold everything".to_owned())
            }
            Self::BadDirectory { variable, .. } => Some(format!(
                "set {variable} right (`sudo -H` does it for HOME), or HANDS_HOME to a directory of yours"
            )),
            Self::Runtime { .. } => {
                Some("set XDG_RUNTIME_DIR or HANDS_HOME to a directory of yours".to_owned())
            }
            Self::Refused { cure, .. } => Some(cure.clone()),
            Self::Read { .. } | Self::Syntax { .. } | Self::Value { .. } => None,
        }
    }
}
