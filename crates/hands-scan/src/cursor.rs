//! A place in a text, and the tokens of one line from there. Comments are white space, also over several lines.

use crate::line::Lines;
use crate::token::Kind;

/// A byte that can stand in a name. Bytes of other alphabets are taken as such.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    NAME[byte as usize]
}

const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    loop {
        table[byte as usize] =
            byte >= 128 || byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        if byte == 255 {
            break table;
        }
        byte += 1;
    }
};

/// A token as it stands in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) space: bool,
}

/// What was met on the way and only some languages read so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// A raw string: C without extensions has none.
    pub(crate) raw_strings: bool,
    /// A quote within a number that hides or shows what follows: C++14 and C23 separate digits by it.
    pub(crate) separators: bool,
    /// A quote without an end before something that it hides: assembler may see it.
    pub(crate) open_quotes: bool,
    /// `//`: no comment in C90.
    pub(crate) line_comments: bool,
    /// A comment or raw string without an end.
    pub(crate) no_end: bool,
}

pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) at: usize,
    pub(crate) lines: Lines<'a>,
    pub(crate) oddities: Oddities,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8], splices: &'a [u32]) -> Self {
        Self { text, at: 0, lines: Lines::new(text, splices), oddities: Oddities::default() }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// Passes over blanks and comments up to the end of the line; whether there were any.
    pub(crate) fn skip_blank(&mut self) -> bool {
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                // Both compilers warn of NUL and take it for white space.
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c | 0 => self.at += 1,
                b'/' if !self.skip_comment() => break,
                b'/' => {}
                _ => break,
            }
        }
        self.at > start
    }

    /// Passes over the comment that begins here, if one does.
    pub(crate) fn skip_comment(&mut self) -> bool {
        match self.peek_at(1) {
            Some(b'*') => {
                let mut at = self.at + 2;
                loop {
                    let Some(star) = self.text[at..].iter().position(|&b| b == b'*') else {
                        self.oddities.no_end = true;
                        self.at = self.text.len();
                        return true;
                    };
                    at += star + 1;
                    if self.text.get(at) == Some(&b'/') {
                        self.at = at + 1;
                        return true;
                    }
                }
            }
            Some(b'/') => {
                self.oddities.line_comments = true;
                self.at += self.rest_of_line().len();
                true
            }
            _ => false,
        }
    }

    pub(crate) fn rest_of_line(&self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        &rest[..rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())]
    }

    /// The next token of this line; nothing at its end.
    pub(crate) fn token(&mut self) -> Option<Raw> {
        let space = self.skip_blank();
        let start = self.at;
        let kind = match self.peek()? {
            b'\n' => return None,
            b'0'..=b'9' => self.number(),
            b'.' if self.peek_at(1).is_some_and(|b| b.is_ascii_digit()) => self.number(),
            b'"' => self.quoted(),
            b'\'' => self.quoted(),
            byte if is_name_byte(byte) => self.name(),
            _ => self.mark(),
        };
        Some(Raw { kind, start, end: self.at, space })
    }

    /// Passes over a name, and over the string for which it is a prefix.
    fn name(&mut self) -> Kind {
        let start = self.at;
        self.skip_name();
        match (self.peek(), &self.text[start..self.at]) {
            (Some(b'"'), b"R" | b"LR" | b"uR" | b"UR" | b"u8R") => {
                self.raw_string();
                Kind::Other
            }
            (Some(b'"'), b"L" | b"u" | b"U" | b"u8") => {
                self.quoted();
                Kind::Other
            }
            (Some(b'\''), b"L" | b"u" | b"U" | b"u8") => self.quoted(),
            _ => Kind::Name,
        }
    }

    pub(crate) fn skip_name(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|&b| !is_name_byte(b)).unwrap_or(rest.len());
    }

    pub(crate) fn number(&mut self) -> Kind {
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'e' | b'E' | b'p' | b'P' if matches!(self.peek_at(1), Some(b'+' | b'-')) => {
                    self.at += 2;
                }
                b'\'' if self.peek_at(1).is_some_and(is_name_byte) => {
                    // Where it separates no digits, a constant begins here and may hide what follows.
                    let rest = self.rest_of_line();
                    self.oddities.separators |=
                        rest.contains(&b'"') || rest.windows(2).any(|two| two == b"/*");
                    self.at += 2;
                }
                b'.' => self.at += 1,
                _ if is_name_byte(byte) => self.at += 1,
                _ => break,
            }
        }
        Kind::Number
    }

    /// Passes over a string or constant, or over the rest of a line on which it does not end.
    pub(crate) fn quoted(&mut self) -> Kind {
        let quote = self.text[self.at];
        let opened = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'\\' if self.peek_at(1).is_some_and(|b| b != b'\n') => self.at += 2,
                _ if byte == quote => {
                    self.at += 1;
                    return if quote == b'"' { Kind::Text } else { Kind::Character };
                }
                _ => self.at += 1,
            }
        }
        let hidden = &self.text[opened + 1..self.at];
        self.oddities.open_quotes |=
            hidden.contains(&b'"') || hidden.windows(2).any(|two| two == b"/*");
        Kind::Other
    }

    /// Passes over a raw string, whose opening quote is here.
    pub(crate) fn raw_string(&mut self) {
        self.oddities.raw_strings = true;
        let rest = &self.text[self.at + 1..];
        let delimiter =
            rest.iter().position(|b| matches!(b, b'(' | b')' | b'\\' | b'"' | b' ' | b'\n'));
        let Some(length) = delimiter.filter(|&n| n <= 16 && rest[n] == b'(') else {
            // It is malformed; what the compiler makes of it is not looked into.
            self.oddities.no_end = true;
            self.at = self.text.len();
            return;
        };
        let end = [b")", &rest[..length], b"\""].concat();
        let mut from = self.at + 1 + length;
        loop {
            let Some(found) = self.text[from..].windows(end.len()).position(|w| w == end) else {
                self.oddities.no_end = true;
                self.at = self.text.len();
                return;
            };
            let (start, after) = (from + found, from + found + end.len());
            // Nothing is joined within a raw string: what only a join made an end is none.
            if !self.lines.is_spliced_within(start, after) {
                self.at = after;
                return;
            }
            from = start + 1;
        }
    }

    fn mark(&mut self) -> Kind {
        let rest = &self.text[self.at..];
        let length = match rest {
            [b'%', b':', b'%', b':', ..] => 4,
            [b'<', b'=', b'>', ..]
            | [b'<', b'<', b'=', ..]
            | [b'>', b'>', b'=', ..]
            | [b'-', b'>', b'*', ..]
            | [b'.', b'.', b'.', ..] => 3,
            [b'#', b'#', ..]
            | [b'&', b'&' | b'=', ..]
            | [b'|', b'|' | b'=', ..]
            | [b'=' | b'!' | b'*' | b'/' | b'^', b'=', ..]
            | [b'<', b'=' | b'<' | b':' | b'%', ..]
            | [b'>', b'=' | b'>', ..]
            | [b'-', b'>' | b'-' | b'=', ..]
            | [b'+', b'+' | b'=', ..]
            | [b'%', b'=' | b':' | b'>', ..]
            | [b':', b':' | b'>', ..]
            | [b'.', b'*', ..] => 2,
            _ => 1,
        };
        let is_one = rest[0].is_ascii_punctuation() && !matches!(rest[0], b'@' | b'`' | b'\\');
        self.at += length;
        if is_one { Kind::Mark } else { Kind::Other }
    }
}
