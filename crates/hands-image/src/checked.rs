//! Bytes that are checked while they are read.

use std::cell::Cell;
use std::io::{self, Read};

use hands_tree::Hasher;
use hands_types::DigestFunction;

use crate::error::{Fault, ImageError};
use crate::sink::Sink;

/// A SHA-256 as images write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl Sha256 {
    /// Reads `sha256:HEX`.
    pub(crate) fn parse(text: &str) -> Result<Self, ImageError> {
        let part = format!("the digest `{}`", crate::error::shown(text));
        let Some(hex) = text.strip_prefix("sha256:") else {
            return Err(ImageError::unsupported(&part, "is of another kind than sha256"));
        };
        Self::from_hex(hex).ok_or_else(|| ImageError::damaged(&part, "is none"))
    }

    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let digest = hands_types::Digest::from_hex(DigestFunction::Sha256, hex, 0).ok()?;
        Some(Self(digest.hash))
    }

    pub(crate) fn hex(self) -> String {
        hands_types::Digest { function: DigestFunction::Sha256, hash: self.0, size: 0 }.hex()
    }
}

/// A part of an image whose size is known, and perhaps its hash. Reads that many bytes and no more.
pub(crate) struct Checked<R> {
    inner: R,
    left: u64,
    hasher: Hasher,
    hash: Option<Sha256>,
}

impl<R: Read> Checked<R> {
    pub(crate) fn new(inner: R, size: u64, hash: Option<Sha256>) -> Self {
        Self { inner, left: size, hasher: Hasher::new(DigestFunction::Sha256), hash }
    }

    /// Reads what is left, and compares the hash.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        match self.hash {
            Some(hash) if self.hasher.finish().hash != hash.0 => {
                Err(Fault::Damaged("is not what its digest says".to_owned()).into())
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..most])?;
        if n == 0 {
            let left = self.left;
            return Err(Fault::Damaged(format!("ends {left} bytes before its end")).into());
        }
        self.left -= n as u64;
        if self.hash.is_some() {
            self.hasher.update(&buffer[..n]);
        }
        Ok(n)
    }
}

/// What a layer expands to: counted against what the whole image may have, and hashed.
pub(crate) struct Expanded<'a, R> {
    inner: R,
    budget: &'a Budget,
    hasher: Hasher,
    sink: &'a dyn Sink,
}

/// Bytes that an image's layers may still expand to.
pub(crate) struct Budget {
    pub(crate) most: u64,
    pub(crate) left: Cell<u64>,
}

impl<'a, R: Read> Expanded<'a, R> {
    pub(crate) fn new(inner: R, budget: &'a Budget, sink: &'a dyn Sink) -> Self {
        Self { inner, budget, hasher: Hasher::new(DigestFunction::Sha256), sink }
    }

    /// Reads what is left, and compares the hash, where it is known.
    pub(crate) fn finish(mut self, expected: Option<Sha256>) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        if expected.is_none_or(|expected| self.hasher.finish().hash == expected.0) {
            return Ok(());
        }
        Err(Fault::Damaged("expands to something else than its configuration says".to_owned())
            .into())
    }
}

impl<R: Read> Read for Expanded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.sink.is_wanted() {
            return Err(Fault::Unwanted.into());
        }
        let n = self.inner.read(buffer)?;
        let Some(left) = self.budget.left.get().checked_sub(n as u64) else {
            return Err(Fault::TooLarge(self.budget.most).into());
        };
        self.budget.left.set(left);
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}
