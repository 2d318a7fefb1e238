//! Between REAPI's digests and ours.

use std::fmt;

use hands_types::{Digest, DigestFunction};

use crate::reapi;
use crate::reapi::digest_function::Value;

impl From<&Digest> for reapi::Digest {
    fn from(digest: &Digest) -> Self {
        Self { hash: digest.hex(), size_bytes: i64::try_from(digest.size).unwrap_or(i64::MAX) }
    }
}

impl From<Digest> for reapi::Digest {
    fn from(digest: Digest) -> Self {
        Self::from(&digest)
    }
}

impl reapi::Digest {
    /// Reads the digest as one made by `function`, which the message itself does not say.
    pub fn to_digest(&self, function: DigestFunction) -> Result<Digest, BadDigest> {
        u64::try_from(self.size_bytes)
            .ok()
            .and_then(|size| Digest::from_hex(function, &self.hash, size).ok())
            .ok_or_else(|| BadDigest::Malformed {
                hash: shorten(&self.hash),
                size: self.size_bytes,
            })
    }
}

impl From<DigestFunction> for Value {
    fn from(function: DigestFunction) -> Self {
        match function {
            DigestFunction::Sha256 => Self::Sha256,
            DigestFunction::Blake3 => Self::Blake3,
        }
    }
}

/// Reads a request's `digest_function` field. Unset means SHA-256: clients from before API 2.6 never set it, and
/// among functions whose hashes have 64 digits only those later than SHA-256 must be named.
pub fn function_from_proto(value: i32) -> Result<DigestFunction, BadDigest> {
    match Value::try_from(value) {
        Ok(Value::Unknown | Value::Sha256) => Ok(DigestFunction::Sha256),
        Ok(Value::Blake3) => Ok(DigestFunction::Blake3),
        Ok(other) => Err(BadDigest::Function(other.as_str_name().to_owned())),
        Err(_) => Err(BadDigest::Function(value.to_string())),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// A digest, or a digest function, that we do not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadDigest {
    /// Not 64 lower-case hexadecimal characters, or a negative size.
    Malformed {
        /// The hash as it was sent, at most 80 characters of it.
        hash: String,
        /// The size as it was sent.
        size: i64,
    },
    /// A digest function other than SHA-256 and BLAKE3; its name or number.
    Function(String),
    /// A message lacks the digest that its type demands; the field's name.
    Missing(&'static str),
}

impl fmt::Display for BadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { hash, size } => write!(
                f,
                "malformed digest {hash:?} of size {size}: expected 64 lower-case hexadecimal characters and a size of 0 or more"
            ),
            Self::Function(name) => {
                write!(f, "digest function {name} is not supported: use SHA256 or BLAKE3")
            }
            Self::Missing(field) => write!(f, "the field {field} is not set"),
        }
    }
}

impl std::error::Error for BadDigest {}
