//! Protobuf's bytes, field by field, for what is better not decoded as a whole.

/// As deep as groups may stand within each other.
const DEPTH: usize = 100;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no protobuf message")]
pub struct Malformed;

/// The fields of a message that are messages, strings or bytes, in their order: number and content. Nothing is allocated. Ends
/// after the first error.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), Malformed>> {
    all_fields(bytes)
        .filter_map(|field| field.map(|(number, content)| Some((number, content?))).transpose())
}

/// As [`fields`], with those of other kinds: these have no content here.
pub fn all_fields(
    mut bytes: &[u8],
) -> impl Iterator<Item = Result<(u32, Option<&[u8]>), Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field.ok_or(Malformed))
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let key = u32::try_from(varint(bytes)?).ok()?;
    let (number, wire) = (key >> 3, u64::from(key & 7));
    if number == 0 {
        return None;
    }
    if wire == 2 {
        return Some((number, Some(delimited(bytes)?)));
    }
    skip(bytes, wire, number, DEPTH)?;
    Some((number, None))
}

pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        // More than 64 bits.
        if at == 9 && *first > 1 {
            return None;
        }
        value |= u64::from(first & 0x7f) << (7 * at);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (content, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(content)
}

/// Passes over a field that costs nothing.
pub(crate) fn skip(bytes: &mut &[u8], wire: u64, number: u32, depth: usize) -> Option<()> {
    match wire {
        0 => drop(varint(bytes)?),
        1 => *bytes = bytes.get(8..)?,
        2 => drop(delimited(bytes)?),
        // A group, which ends with its number.
        3 => loop {
            let key = varint(bytes)?;
            let (inner, wire) = (u32::try_from(key >> 3).ok()?, key & 7);
            if wire == 4 {
                return (inner == number).then_some(());
            }
            skip(bytes, wire, inner, depth.checked_sub(1)?)?;
        },
        5 => *bytes = bytes.get(4..)?,
        _ => return None,
    }
    Some(())
}
