//! Why a unit is not modelled, and what was met in one that is.

use std::fmt;

use crate::name::PathId;

/// The scanner cannot say with certainty what the compiler reads: ask the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotModelled {
    /// Why.
    pub reason: Reason,
    /// The file in which the directive stands, as the compiler would name it.
    pub file: Box<[u8]>,
    /// The line on which it begins; 0 where the file as a whole is meant.
    pub line: u32,
}

impl fmt::Display for NotModelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = String::from_utf8_lossy(&self.file);
        match self.line {
            0 => write!(f, "not modelled: {} in {file}", self.reason),
            line => write!(f, "not modelled: {} at {file}:{line}", self.reason),
        }
    }
}

impl std::error::Error for NotModelled {}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// What the scanner does not model. Many of these do not compile either.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

reasons! {
    /// A file to include is nowhere: the compile will fail, unless the name was understood wrongly.
    HeaderNotFound: "a header is not found",
    /// A path is there and cannot be read.
    OddFile: "a path that cannot be read",
    /// A file changed between the probe and the reading.
    FileChanged: "a file changed while it was read",
    /// More than the limit.
    FileTooLarge: "a file too large",
    /// Files that include each other more than 200 deep.
    TooDeep: "includes nested too deeply",
    /// A unit without end.
    TooMuch: "more directives or expansions than can be right",
    /// An expression that is none, or one of a kind that is not evaluated.
    Expression: "an expression that is not understood",
    /// A number or character that is not understood.
    Constant: "a constant that is not understood",
    /// A division by zero.
    DivisionByZero: "a division by zero",
    /// A function of the compiler without an answer.
    Function: "a function that only the compiler knows",
    /// A macro whose value only the compiler knows.
    CompilerMacro: "a macro whose value only the compiler knows",
    /// A directive that is wrong.
    BadDirective: "a malformed directive",
    /// `#else` or `#endif` without a beginning, or a beginning without an end.
    Unbalanced: "conditional directives that do not match",
    /// A directive that no compiler at hand knows.
    UnknownDirective: "an unknown directive",
    /// `#elifdef` where the language has none.
    ElifDef: "#elifdef in a strict language mode",
    /// A call of a macro that is wrong.
    MacroCall: "a macro call with wrong arguments",
    /// `##` that makes no token.
    Paste: "pasted tokens that are none",
    /// `#__VA_OPT__`, or one that is wrong.
    VaOpt: "an odd __VA_OPT__",
    /// A computed `#include` that is none, or whose name depends on white space.
    ComputedInclude: "a computed include that is not understood",
    /// `#include_next` in a file that was not found by the search path.
    IncludeNext: "#include_next outside the search path",
    /// `#error`.
    ErrorDirective: "#error",
    /// `#embed` and `__has_embed`.
    Embed: "#embed",
    /// A `#pragma` that reads or renames files.
    Pragma: "a pragma that reads or renames files",
    /// `_Pragma` that changes macros or is `once`.
    PragmaOperator: "a _Pragma that changes what is read",
    /// Trigraphs where the language may have them.
    Trigraphs: "trigraphs",
    /// Quotes that C, C++ and assembler read each in their way.
    Quotes: "quotes that languages read differently",
    /// A carriage return in mid-line.
    LineEnds: "a carriage return that is a line's end to some",
    /// A comment or raw string that does not end.
    NoEnd: "a comment or raw string without an end",
    /// Two files of the same content, one with `#pragma once` or imported.
    TwinOfOnce: "a copy of a file that is read once only",
    /// A precompiled header is there.
    PrecompiledHeader: "a precompiled header",
    /// `import` or `module` at the beginning of a line.
    Modules: "C++20 modules",
    /// `__COUNTER__` in an expression after it was used in the text.
    Counter: "__COUNTER__ after uses that are not counted",
    /// `__LINE__` or `__FILE__` behind `#line`, or `__LINE__` of a directive on several lines.
    Line: "__LINE__ or __FILE__ that is not certain",
}

/// What stands in a file and a cache has to know. Uses in bodies of macros count where they are defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fact {
    /// `__DATE__`.
    Date,
    /// `__TIME__`.
    Time,
    /// `__TIMESTAMP__`.
    Timestamp,
    /// `__FILE__` or `__BASE_FILE__`.
    File,
    /// `.incbin` or `.include` of the assembler: it reads a file that no scanner sees.
    AssemblerFile,
}

/// A place, inside the scanner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) reason: Reason,
    pub(crate) path: Option<PathId>,
    pub(crate) line: u32,
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self { reason, path: None, line: 0 }
    }
}
