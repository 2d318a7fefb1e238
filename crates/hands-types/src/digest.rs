//! Content addresses as REAPI v2 defines them: a hash and the size of what was hashed.

use std::fmt;
use std::str::FromStr;

/// How a blob's hash is computed (REAPI `DigestFunction.Value`). Both have 32 bytes, so only this tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestFunction {
    /// SHA-256, REAPI's default and the only one that Bazel 2 to 4 know.
    #[default]
    Sha256,
    /// BLAKE3 with 32 bytes of output.
    Blake3,
}

impl DigestFunction {
    /// Both functions, in the order in which they are announced.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Blake3];

    /// The lower-case name that REAPI uses in ByteStream resource names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }
}

/// The address of a blob. Ordered by function, hash, size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The function that made `hash`.
    pub function: DigestFunction,
    /// The hash itself.
    pub hash: [u8; 32],
    /// Length of the blob in bytes.
    pub size: u64,
}

impl Digest {
    /// The hash in lower-case hexadecimal, 64 characters.
    pub fn hex(&self) -> String {
        let mut out = String::with_capacity(64);
        for byte in self.hash {
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        out
    }

    /// Reads a hash of 64 lower-case hexadecimal characters; REAPI demands lower case.
    pub fn from_hex(
        function: DigestFunction,
        hex: &str,
        size: u64,
    ) -> Result<Self, ParseDigestError> {
        let bytes = hex.as_bytes();
        if bytes.len() != 64 {
            return Err(ParseDigestError);
        }
        let mut hash = [0; 32];
        for (i, pair) in bytes.chunks_exact(2).enumerate() {
            hash[i] = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { function, hash, size })
    }

    /// Whether this addresses the empty blob by size; the empty blob always exists (REAPI v2).
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }
}

const fn nibble(c: u8) -> Result<u8, ParseDigestError> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(ParseDigestError),
    }
}

/// `hash/size`, and `blake3/hash/size` where the function is not the default: the form of REAPI resource names.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.function == DigestFunction::Blake3 {
            f.write_str("blake3/")?;
        }
        write!(f, "{}/{}", self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.function.name(), &self.hex()[..12], self.size)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let (function, rest) = match text.strip_prefix("blake3/") {
            Some(rest) => (DigestFunction::Blake3, rest),
            None => (DigestFunction::Sha256, text.strip_prefix("sha256/").unwrap_or(text)),
        };
        let (hex, size) = rest.split_once('/').ok_or(ParseDigestError)?;
        Self::from_hex(function, hex, size.parse().map_err(|_| ParseDigestError)?)
    }
}

/// Text that is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseDigestError;

impl fmt::Display for ParseDigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a digest: expected 64 lower-case hexadecimal characters, a slash and a size",
        )
    }
}

impl std::error::Error for ParseDigestError {}
