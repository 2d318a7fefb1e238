//! Container images as trees.
//!
//! [`read`] takes an image from an OCI layout directory or a docker-archive, checks every digest that the image names,
//! unpacks its layers into a [`Sink`] and merges them, what they take away included, into the one tree that a container
//! would see; [`unpack`] does the same with a plain tar. It reads nothing but the place that it is given, and bounds what it takes: entries, depth, documents and the
//! bytes that layers expand to.
//!
//! What a tree can't hold is left out and counted ([`Lost`]): owners, modes beyond "executable", extended attributes,
//! devices and pipes.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod archive;
mod checked;
mod config;
mod documents;
mod draft;
mod entries;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod image;
mod layout;
mod sink;
mod unpack;
mod unpacked;

#[cfg(test)]
mod tests;

pub use config::ImageConfig;
pub use error::ImageError;
pub use image::{Image, ImageLimits, Lost, Place, Wanted, identity, read};
pub use sink::{Sink, SinkError};
pub use unpacked::{Unpacked, unpack};
