//! Constants of `#if` expressions: numbers and characters, as the compilers read them.

use crate::operators::Value;
use crate::reason::Reason;

/// The value of a preprocessing number, if it is an integer constant.
pub(crate) fn number(text: &[u8]) -> Result<Value, Reason> {
    let (base, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let mut bits: u64 = 0;
    let mut n_digits = 0;
    let mut rest = digits;
    while let [byte, tail @ ..] = rest {
        if *byte == b'\'' && n_digits > 0 {
            rest = tail;
            continue;
        }
        let Some(digit) = char::from(*byte).to_digit(base) else { break };
        bits = bits
            .checked_mul(u64::from(base))
            .and_then(|bits| bits.checked_add(u64::from(digit)))
            .ok_or(Reason::Constant)?;
        n_digits += 1;
        rest = tail;
    }
    if n_digits == 0 {
        return Err(Reason::Constant);
    }
    let is_unsigned = suffix(rest).ok_or(Reason::Constant)?;
    // What does not fit into the signed type is unsigned; both compilers say so and go on.
    Ok(Value { bits, is_unsigned: is_unsigned || bits > i64::MAX as u64 })
}

/// Whether a suffix says unsigned; nothing when it is none of an integer.
fn suffix(text: &[u8]) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    // `lL` is no suffix; `zu` and the like are those of sizes.
    if text == b"lL" || text == b"Ll" {
        return None;
    }
    match lower.as_slice() {
        b"" | b"l" | b"ll" | b"z" => Some(false),
        b"u" | b"ul" | b"ull" | b"lu" | b"llu" | b"uz" | b"zu" => Some(true),
        _ => None,
    }
}

/// The value of a character constant of one plain character. Others depend on the target's character sets.
/// `wide_is_unsigned` is of `L'…'`, where it is known.
pub(crate) fn character(text: &[u8], wide_is_unsigned: Option<bool>) -> Result<Value, Reason> {
    let (inner, is_unsigned) = match text {
        [b'\'', inner @ .., b'\''] => (inner, false),
        [b'L', b'\'', inner @ .., b'\''] => (inner, wide_is_unsigned.ok_or(Reason::Constant)?),
        _ => return Err(Reason::Constant),
    };
    let byte = match inner {
        [b'\\', escaped] => match escaped {
            b'a' => 7,
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'v' => 11,
            b'f' => 12,
            b'r' => 13,
            b'0'..=b'7' => escaped - b'0',
            b'\\' | b'\'' | b'"' | b'?' => *escaped,
            _ => return Err(Reason::Constant),
        },
        [byte] if byte.is_ascii() && *byte != b'\\' => *byte,
        _ => return Err(Reason::Constant),
    };
    Ok(Value { bits: u64::from(byte), is_unsigned })
}
