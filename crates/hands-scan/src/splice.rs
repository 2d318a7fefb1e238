//! Lines that a backslash continues, joined before anything else is looked at, and what else is odd about lines.

use std::borrow::Cow;

/// The text without its continuations, and where they were.
#[derive(Debug)]
pub(crate) struct Spliced<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    /// Places in `text` at which a backslash and the end of its line were taken out.
    pub(crate) splices: Vec<u32>,
    /// Trigraphs that change what is quoted or joined, wherever they stand.
    pub(crate) trigraphs: bool,
    /// A carriage return that is no part of a line's end: a line's end to some.
    pub(crate) lone_returns: bool,
}

/// Joins lines. What is inside a raw string is joined, too, which its reader has to mind.
pub(crate) fn splice(contents: &[u8]) -> Spliced<'_> {
    // A mark of UTF-8 at the beginning is no part of the text.
    let text = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    let mut spliced = Spliced {
        text: Cow::Borrowed(text),
        splices: Vec::new(),
        trigraphs: false,
        lone_returns: false,
    };
    let mut joined: Vec<u8> = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].iter().position(|b| matches!(b, b'\\' | b'?' | b'\r')) {
        let place = at + found;
        at = place + 1;
        match text[place] {
            b'?' => spliced.trigraphs |= is_trigraph(&text[place..]),
            b'\r' => spliced.lone_returns |= text.get(at) != Some(&b'\n'),
            _ => {
                let Some(length) = line_end(&text[at..]) else { continue };
                joined.extend_from_slice(&text[copied..place]);
                spliced.splices.push(to_u32(joined.len()));
                at += length;
                copied = at;
            }
        }
    }
    if !spliced.splices.is_empty() {
        joined.extend_from_slice(&text[copied..]);
        spliced.text = Cow::Owned(joined);
    }
    spliced
}

/// The length of what ends a line, with blanks before it that both compilers overlook.
fn line_end(text: &[u8]) -> Option<usize> {
    let blanks = text.iter().position(|b| !matches!(b, b' ' | b'\t' | 0x0b | 0x0c | b'\r'))?;
    (text[blanks] == b'\n').then_some(blanks + 1)
}

fn is_trigraph(text: &[u8]) -> bool {
    matches!(text, [b'?', b'?', b'/' | b'\'', ..])
}

/// Offsets fit: a file that is longer than [`crate::limits::MAX_FILE`] is not read.
pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).expect("files are shorter")
}
