//! Computing digests.

use std::fmt;

use hands_types::{Digest, DigestFunction};
use sha2::Digest as _;

/// The digest of a whole blob in memory.
pub fn hash(function: DigestFunction, bytes: &[u8]) -> Digest {
    let hash = match function {
        DigestFunction::Sha256 => sha2::Sha256::digest(bytes).into(),
        DigestFunction::Blake3 => *blake3::hash(bytes).as_bytes(),
    };
    Digest { function, hash, size: bytes.len() as u64 }
}

/// The digest of the empty blob, which every store holds (REAPI v2).
pub fn empty(function: DigestFunction) -> Digest {
    hash(function, &[])
}

/// Computes the digest of a blob that arrives in pieces.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    size: u64,
}

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    // BLAKE3's state is 2 KiB, SHA-256's is 112 bytes.
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(function: DigestFunction) -> Self {
        let state = match function {
            DigestFunction::Sha256 => State::Sha256(sha2::Sha256::new()),
            DigestFunction::Blake3 => State::Blake3(Box::default()),
        };
        Self { state, size: 0 }
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
        }
        self.size += bytes.len() as u64;
    }

    /// Bytes taken so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(state) => Digest {
                function: DigestFunction::Sha256,
                hash: state.finalize().into(),
                size: self.size,
            },
            State::Blake3(state) => Digest {
                function: DigestFunction::Blake3,
                hash: *state.finalize().as_bytes(),
                size: self.size,
            },
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = match self.state {
            State::Sha256(_) => DigestFunction::Sha256,
            State::Blake3(_) => DigestFunction::Blake3,
        };
        f.debug_struct("Hasher").field("function", &function).field("size", &self.size).finish()
    }
}
