//! A preprocessing token in eight bytes.

use crate::name::{Sym, known};

/// What a token is, as far as the scanner tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Name,
    /// A preprocessing number.
    Number,
    /// A string literal without prefix: the only one that may name a file.
    Text,
    /// A character constant.
    Character,
    /// A header name with its brackets, as it stands in the source: only behind `__has_include(`.
    Header,
    /// An operator or other mark.
    Mark,
    /// What has no place in an expression: bad bytes, prefixed strings, quotes without an end.
    Other,
    /// In the body of a macro: the parameter with this number.
    Parameter,
    /// In the body of a macro: `#` and the parameter with this number.
    Stringify,
    /// In the body of a macro: `##`.
    Paste,
    /// In the body of a variadic macro: `__VA_OPT__`.
    VaOpt,
    /// While pasting: an argument without tokens.
    Nothing,
    /// While expanding: here ends what stands for the macro of this name.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// White space or a comment stands before it.
    pub(crate) space: bool,
    /// It is the name of a macro within whose expansion it came up: it stays as it is for good.
    pub(crate) painted: bool,
    /// Its spelling; of a parameter, its number.
    pub(crate) sym: Sym,
}

impl Token {
    pub(crate) fn new(kind: Kind, sym: Sym, space: bool) -> Self {
        Self { kind, space, painted: false, sym }
    }

    pub(crate) fn is_mark(self, sym: Sym) -> bool {
        self.kind == Kind::Mark && self.sym == sym
    }

    pub(crate) fn is_open(self) -> bool {
        self.is_mark(known::open)
    }

    pub(crate) fn is_close(self) -> bool {
        self.is_mark(known::close)
    }
}

/// A part of a file's pool of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn of(self, tokens: &[Token]) -> &[Token] {
        &tokens[self.start as usize..self.end as usize]
    }
}
