//! What a lease says of its action, as it is kept while the action waits: the Action and the Command in one piece of memory. An
//! Action consists of digests for the most part, whose hashes are hexadecimal text; as bytes they take half of that.

use bytes::Bytes;
use prost::encoding::{decode_varint, encode_varint};

/// Bytes of a hash, and characters of its text.
const HASH: usize = 32;
const TEXT: usize = 2 * HASH;

/// An Action and its Command.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The squeezed Action, then the Command.
    bytes: Box<[u8]>,
    /// Where the Command begins.
    command: u32,
}

impl Packed {
    pub(crate) fn new(action: &[u8], command: &[u8]) -> Self {
        let mut bytes = squeeze(action);
        let begins = u32::try_from(bytes.len()).expect("a message of gRPC has less than 4 GiB");
        bytes.extend_from_slice(command);
        Self { bytes: bytes.into(), command: begins }
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.command as usize)
    }

    pub(crate) fn action(&self) -> Bytes {
        widen(self.split().0).into()
    }

    pub(crate) fn command(&self) -> Bytes {
        Bytes::copy_from_slice(self.split().1)
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Has each run of 64 hexadecimal characters as 32 bytes. Before each, and at the end, stands what is between them, and before
/// that its length.
fn squeeze(message: &[u8]) -> Vec<u8> {
    let mut squeezed = Vec::with_capacity(message.len());
    let (mut from, mut at, mut run) = (0, 0, 0);
    while at < message.len() {
        run = if nibble(message[at]).is_some() { run + 1 } else { 0 };
        at += 1;
        if run < TEXT {
            continue;
        }
        let (between, text) = message[from..at].split_at(at - from - TEXT);
        put(between, &mut squeezed);
        let pair = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(pair[1])?);
        squeezed.extend(text.chunks_exact(2).filter_map(pair));
        (from, run) = (at, 0);
    }
    put(&message[from..], &mut squeezed);
    squeezed
}

fn put(between: &[u8], squeezed: &mut Vec<u8>) {
    encode_varint(between.len() as u64, squeezed);
    squeezed.extend_from_slice(between);
}

/// The message again.
fn widen(mut squeezed: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(2 * squeezed.len());
    // What is between two hashes may be nothing; what follows a hash is always there.
    while let Ok(length) = decode_varint(&mut squeezed) {
        let (between, rest) = squeezed.split_at(usize::try_from(length).unwrap_or(usize::MAX));
        message.extend_from_slice(between);
        let Some((hash, rest)) = rest.split_at_checked(HASH) else { break };
        let text = |byte: &u8| [byte >> 4, byte & 15].map(|it| b"0123456789abcdef"[it as usize]);
        message.extend(hash.iter().flat_map(text));
        squeezed = rest;
    }
    message
}

const fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
