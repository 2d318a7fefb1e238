//! Looks at a message before it is decoded: what would it become in memory? Limits that count bytes on the wire are no
//! limits, as an empty element has two bytes there and a hundred in a list.

use bytes::Bytes;
use prost::Message;

use crate::shape::{Cost, Shape, Shaped};
use crate::wire::{delimited, skip, varint};

/// As deep as prost decodes.
const DEPTH: usize = 100;
/// What an allocation costs beside its bytes.
const ALLOCATION: usize = 24;
/// Elements that a list has room for from its first on.
const FIRST: usize = 4;
/// What any blob may become, however small it is: some 150,000 links with short names.
const LEAST: usize = 32 << 20;
/// What a blob may become for each of its bytes. Files with short names become four.
const EACH: usize = 8;
/// What no blob may become.
const MOST: usize = 320 << 20;

/// A message that would become too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {elements} elements, which would take more than {most} bytes of memory")]
pub struct TooHeavy {
    /// Elements that were seen before it was too much.
    pub elements: usize,
    /// Bytes that it might take.
    pub most: usize,
}

/// Why a blob was not decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeBlobError {
    /// It would take too much memory.
    #[error(transparent)]
    TooHeavy(#[from] TooHeavy),
    /// It is no such message.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
}

/// Decodes a message that is a blob, such as a Directory of a tree: never into more memory than 8 times its size
/// (32 MiB if that is more), and 320 MiB.
pub fn decode_blob<M: Message + Shaped + Default>(bytes: Bytes) -> Result<M, DecodeBlobError> {
    weigh_blob::<M>(&bytes)?;
    Ok(M::decode(bytes)?)
}

/// The bytes of memory that a blob becomes, if [`decode_blob`] would decode it.
pub fn weigh_blob<M: Shaped>(bytes: &[u8]) -> Result<usize, TooHeavy> {
    weigh::<M>(bytes, bytes.len().saturating_mul(EACH).clamp(LEAST, MOST))
}

/// The bytes of memory that a message becomes, at most; or an error as soon as they are more than `most`. Of bytes that are no
/// message, as far as they can be read: decoding them stops there as well.
pub fn weigh<M: Shaped>(bytes: &[u8], most: usize) -> Result<usize, TooHeavy> {
    let mut scan = Scan { weight: M::shape().size, elements: 0, most };
    // None is a flaw, which is the decoder's to tell.
    let _malformed = scan.message(bytes, M::shape(), DEPTH);
    if scan.weight > most {
        return Err(TooHeavy { elements: scan.elements, most });
    }
    Ok(scan.weight)
}

struct Scan {
    weight: usize,
    elements: usize,
    most: usize,
}

impl Scan {
    /// None at the first flaw, and as soon as it is too much.
    fn message(&mut self, mut bytes: &[u8], shape: &'static Shape, depth: usize) -> Option<()> {
        // One bit for each field whose list has begun.
        let mut begun = 0_u64;
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let (number, wire) = (u32::try_from(key >> 3).ok()?, key & 7);
            self.elements += 1;
            let at = shape.fields.binary_search_by_key(&number, |(number, _)| *number).ok();
            let Some((at, cost)) = at.map(|at| (at, shape.fields[at].1)) else {
                skip(&mut bytes, wire, number, depth)?;
                continue;
            };
            let bit = 1_u64 << (at % 64);
            let is_first = begun & bit == 0;
            begun |= bit;
            if wire != 2 {
                // The elements of a list of numbers may stand one by one; nothing else of what costs is so written.
                skip(&mut bytes, wire, number, depth)?;
                self.add(list(size_of::<u64>(), is_first))?;
                continue;
            }
            let content = delimited(&mut bytes)?;
            match cost {
                Cost::Message(inner) => self.message(content, inner, depth.checked_sub(1)?)?,
                Cost::Messages(inner) => {
                    self.add(list(inner.size, is_first))?;
                    self.message(content, inner, depth.checked_sub(1)?)?;
                }
                Cost::Text => self.add(text(content))?,
                Cost::Texts => self.add(list(size_of::<String>(), is_first) + text(content))?,
                Cost::Blobs => self.add(list(size_of::<Bytes>(), is_first))?,
                Cost::Numbers => {
                    self.add(content.len().saturating_mul(2 * size_of::<u64>()))?;
                }
            }
        }
        Some(())
    }

    fn add(&mut self, bytes: usize) -> Option<()> {
        self.weight = self.weight.saturating_add(bytes);
        (self.weight <= self.most).then_some(())
    }
}

/// An element's share of its list, which grows by doubling.
const fn list(size: usize, is_first: bool) -> usize {
    if is_first { FIRST * size + ALLOCATION } else { size + size / 2 }
}

const fn text(content: &[u8]) -> usize {
    if content.is_empty() { 0 } else { content.len() + ALLOCATION }
}
