//! Text that others chose: names, and what they say to people.

use std::borrow::Cow;
use std::fmt;

use crate::limits::MAX_NAME;

/// What a worker says of outputs that it left out, before their names: clients that know the list of them leave it out.
pub const NOT_ALL_OUTPUTS: &str = "not all outputs could be brought";

/// The text with control characters, and those that turn the direction of writing round, as escapes.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escaped(text, |_| false))
}

/// The beginning of a text, at most `most` bytes of it, and `…` where more follows.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(most)]))
}

/// What somebody says to people, as it may be passed on: at most `most` bytes of it, harmful characters as escapes. Lines
/// stay lines.
pub fn said(text: &str, most: usize) -> String {
    escaped(&cut(text, most), |c| matches!(c, '\n' | '\t'))
}

/// Checks the name of something, or a property: at most [`MAX_NAME`] bytes, and no character that [`printable`] would
/// escape.
pub fn check_name(text: &str) -> Result<(), BadName> {
    if text.len() > MAX_NAME {
        return Err(BadName { begins: said(text, 32), why: Why::Length(text.len()) });
    }
    if text.contains(is_harmful) {
        return Err(BadName { begins: printable(text).into_owned(), why: Why::Characters });
    }
    Ok(())
}

/// A name that is none. Its `Display` is printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    begins: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Length(usize),
    Characters,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begins = &self.begins;
        match self.why {
            Why::Length(bytes) => {
                write!(f, "`{begins}` has {bytes} bytes, and {MAX_NAME} are the most")
            }
            Why::Characters => write!(f, "`{begins}` has control characters"),
        }
    }
}

impl std::error::Error for BadName {}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) && !stays(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
