//! What stops a front-end. Each error says what failed and has a class; what to do next is its hint.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use hands_client::ClientError;
use hands_types::ErrorClass;
use hands_types::error::exit;

use crate::out::{Out, StdoutError};

/// Why a front-end ended without its command's own exit code.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A place in a text of the user's.
    #[error("{}, line {line}, column {column}: {why}", .file.escape_debug())]
    Column {
        /// The text's file.
        file: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// A line of a file of the user's.
    #[error("{}, line {line}: it {why}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the user's can't be read.
    #[error("can't read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the user's can't be written.
    #[error("can't write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cluster, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard output is a file, and takes no more.
    #[error("can't write to standard output")]
    Stdout(#[source] io::Error),
    /// The terminal does not do what terminals do.
    #[error("can't use the terminal")]
    Terminal(#[source] io::Error),
    /// This machine denies us something.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// We are wrong ourselves.
    #[error("{0}")]
    Bug(&'static str),
    /// Whoever read our output has gone; not an error for anyone to read.
    #[error("standard output is closed")]
    Closed,
}

impl RunError {
    /// A file of the user's can't be written.
    pub fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// Whose it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Usage(_) | Self::Column { .. } | Self::Line { .. } => ErrorClass::User,
            Self::Read { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::PermissionDenied => ErrorClass::User,
                _ => ErrorClass::Environment,
            },
            Self::Client(error) => error.class(),
            Self::Stdout(_) | Self::Terminal(_) | Self::System { .. } => ErrorClass::Environment,
            Self::Bug(_) => ErrorClass::Bug,
            Self::Closed => ErrorClass::User,
        }
    }

    /// Says it, with its causes and the next step.
    pub fn print(&self, out: &Out) {
        if matches!(self, Self::Closed) {
            return;
        }
        out.error(&chain(self));
        if let Some(hint) = self.hint() {
            out.hint(&hint);
        } else if self.class() == ErrorClass::Bug {
            out.hint("this is a bug of hands; please report it together with the command and this message");
        }
    }

    /// The next step, where there is one that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            _ => None,
        }
    }

    /// Exit code: of a front-end that passes codes through, or of any other command.
    pub fn exit_code(&self, passes_through: bool) -> u8 {
        match self {
            Self::Closed => exit::SIGPIPE,
            _ if passes_through && self.class() != ErrorClass::Bug => exit::NOT_RUN,
            _ => self.class().exit_code(),
        }
    }
}

impl From<StdoutError> for RunError {
    fn from(error: StdoutError) -> Self {
        match error {
            StdoutError::Closed => Self::Closed,
            StdoutError::Write(source) => Self::Stdout(source),
        }
    }
}

/// An error and its causes on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}
