//! Where an image's content goes.

use std::io::{self, Read};

use bytes::Bytes;
use hands_types::{Digest, ErrorClass};

/// Takes files and directories into a store, and keeps them there.
pub trait Sink {
    /// Reads a file of this size to its end and stores it.
    fn file(&self, content: &mut dyn Read, size: u64) -> Result<Digest, SinkError>;
    /// Stores encoded directories.
    fn directories(&self, directories: Vec<(Digest, Bytes)>) -> Result<(), SinkError>;
    /// Whether anybody still waits for the image; asked now and then.
    fn is_wanted(&self) -> bool;
}

/// Why a sink did not take something.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The content could not be read.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// It could not be stored.
    #[error("{message}")]
    Store {
        /// Why.
        message: String,
        /// Whose error.
        class: ErrorClass,
    },
}
