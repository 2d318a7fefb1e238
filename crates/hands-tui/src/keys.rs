//! What a person types at a dashboard.

/// Whether these bytes, read at once, hold a wish to leave: `q`, Ctrl-C, Ctrl-D or Escape. What terminals send for
/// arrows and other named keys begins with Escape, too, and is no such wish.
pub(crate) fn wants_to_leave(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'q' | b'Q' | 0x03 | 0x04 => return true,
            0x1b => match after {
                [] => return true,
                [b'[', sequence @ ..] => {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    rest = end.map_or(&[], |end| &sequence[end + 1..]);
                }
                [_, others @ ..] => rest = others.split_first().map_or(&[], |(_, rest)| rest),
            },
            _ => {}
        }
    }
    false
}
