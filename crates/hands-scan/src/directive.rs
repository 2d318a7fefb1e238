//! What is kept of a file: its directives, in order, with the ends of conditional groups known.

use crate::cursor::Oddities;
use crate::name::Sym;
use crate::reason::{Fact, Reason};
use crate::token::{Span, Token};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Include,
    Next,
    Import,
}

/// What decides whether a group is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Defined(Sym, bool),
    Expression(Span),
    /// `#elifdef` and `#elifndef`, which not every language has.
    LateDefined(Sym, bool),
}

/// `next` is the place of the next branch or the end of the group, `end` that of its `#endif`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    Include {
        how: How,
        angle: bool,
        name: Sym,
    },
    IncludeTokens {
        how: How,
        tokens: Span,
    },
    Define {
        name: Sym,
        index: u32,
    },
    Undef(Sym),
    If {
        test: Test,
        next: u32,
    },
    Elif {
        test: Test,
        next: u32,
        end: u32,
    },
    Else {
        end: u32,
    },
    Endif,
    Once,
    PushMacro(Sym),
    PopMacro(Sym),
    /// `#line` or a line marker.
    Line,
    /// No directive: the text has something that a cache has to know.
    Fact(Fact),
    /// The same, in the text of assembler only.
    AssemblerText,
    /// No directive: `__COUNTER__` is used.
    Counter,
    /// No directive: a line that begins as those of modules do.
    Module,
    /// A directive of no known name: assembler takes it for a comment.
    Unknown,
    /// Whoever gets here cannot go on.
    Stop(Reason),
}

/// A macro as it was defined. Its body is in the pool of its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macro {
    pub(crate) is_function: bool,
    pub(crate) is_variadic: bool,
    /// The parameters, `__VA_ARGS__` among them.
    pub(crate) n_params: u16,
    pub(crate) body: Span,
}

/// A file that was read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) directives: Vec<Directive>,
    /// The line of each directive; those that continue over lines have the highest bit set.
    pub(crate) lines: Vec<u32>,
    pub(crate) macros: Vec<Macro>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) oddities: Oddities,
    pub(crate) trigraphs: bool,
    pub(crate) lone_returns: bool,
    /// A conditional group begins here and does not end.
    pub(crate) unbalanced: Option<u32>,
}

/// Marks a line on which a directive begins that ends on another one.
pub(crate) const SEVERAL_LINES: u32 = 1 << 31;

impl Parsed {
    pub(crate) fn line(&self, at: usize) -> u32 {
        self.lines.get(at).map_or(0, |line| line & !SEVERAL_LINES)
    }
}
