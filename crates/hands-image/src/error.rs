//! Why an image can't be had.

use std::fmt;
use std::io;

use hands_types::{ErrorClass, text::cut};

use crate::sink::SinkError;

/// Most names that a sentence lists.
const SHOWN: usize = 10;
/// Bytes of a name or a reason that a sentence shows.
const LONGEST: usize = 200;

/// Why an image can't be had. Names of the image are escaped.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Something can't be read.
    #[error("{what} can't be read: {source}")]
    Read {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The directory or file is no image.
    #[error("this is no {what}: {why}")]
    NoImage {
        /// What it should be.
        what: &'static str,
        /// Why it is none.
        why: String,
    },
    /// There is no image of this name.
    #[error("it has no image `{wanted}`; it has {}", Names(there))]
    NoTag {
        /// The name.
        wanted: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// There are several images, and none was named.
    #[error("it has several images, name one: {}", Names(there))]
    WhichTag {
        /// Their names.
        there: Vec<String>,
    },
    /// The image is not there for this platform.
    #[error("the image is not there for {wanted}; it is for {}", Names(there))]
    NoPlatform {
        /// `os/architecture`.
        wanted: String,
        /// The platforms that there are.
        there: Vec<String>,
    },
    /// A part of the image is not what its digest says, or makes no sense.
    #[error("the image is damaged: {part} {why}")]
    Damaged {
        /// Which part.
        part: String,
        /// What is wrong with it.
        why: String,
    },
    /// The image has something that we can't take.
    #[error("{part} {why}")]
    Unsupported {
        /// Which part.
        part: String,
        /// What it has.
        why: String,
    },
    /// The image is larger than images may be.
    #[error("the image is too large: {0}")]
    TooLarge(String),
    /// The store did not take it.
    #[error("{message}")]
    Store {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
    /// Nobody waits for it any more.
    #[error("nobody waits for the image")]
    Cancelled,
}

impl ImageError {
    /// Whose error it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Store { class, .. } => *class,
            Self::Read { .. }
            | Self::NoImage { .. }
            | Self::NoTag { .. }
            | Self::WhichTag { .. }
            | Self::NoPlatform { .. }
            | Self::Damaged { .. }
            | Self::Unsupported { .. }
            | Self::TooLarge(_)
            | Self::Cancelled => ErrorClass::User,
        }
    }

    pub(crate) fn damaged(part: &str, why: impl fmt::Display) -> Self {
        Self::Damaged { part: part.to_owned(), why: cut(&why.to_string(), LONGEST).into() }
    }

    pub(crate) fn unsupported(part: &str, why: impl fmt::Display) -> Self {
        Self::Unsupported { part: part.to_owned(), why: why.to_string() }
    }

    /// What reading a part has met: a fault of ours by its name, an error of the machine, or else damage.
    pub(crate) fn reading(part: &str, error: io::Error) -> Self {
        match error.downcast::<Fault>() {
            Ok(Fault::TooLarge(bytes)) => {
                Self::TooLarge(format!("its layers expand to more than {bytes} bytes"))
            }
            Ok(Fault::Damaged(why)) => Self::damaged(part, why),
            Ok(Fault::Unwanted) => Self::Cancelled,
            Err(source) if source.raw_os_error().is_some() => {
                Self::Read { what: part.to_owned(), source }
            }
            Err(error) => Self::damaged(part, format_args!("can't be unpacked: {error}")),
        }
    }

    pub(crate) fn of_sink(part: &str, error: SinkError) -> Self {
        match error {
            SinkError::Read(error) => Self::reading(part, error),
            SinkError::Store { message, class } => Self::Store { message, class },
        }
    }
}

/// What our own readers find, on its way through the readers of others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Damaged(String),
    #[error("nobody waits for it")]
    Unwanted,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

/// A name of an image as a sentence shows it.
pub(crate) fn shown(name: &str) -> String {
    cut(&name.escape_debug().to_string(), LONGEST).into()
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none with a name");
        }
        for (at, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, shown(name))?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}
