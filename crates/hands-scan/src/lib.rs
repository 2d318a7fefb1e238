//! What a C or C++ compile reads, found without a preprocessor's output.
//!
//! A [`Scanner`] is kept for as long as its owner lives. [`Scanner::setup`] tells it of a compiler with its flags once,
//! [`Scanner::scan`] then says of a source which files the compiler reads, in the order in which it first reads them,
//! which other paths it looked for, and what stands in them that a cache has to know ([`Fact`]). Files and the answers
//! of the compiler come through the traits [`Files`] and [`Compiler`]; the core itself has no I/O, no clock, no
//! randomness and no environment.
//!
//! What a caller may rely on:
//! - The answer is the set of `-M` of that compiler, or it is [`NotModelled`] with the place and the reason: never a wrong
//!   set without such a word. Most sources that do not compile are not modelled either.
//! - Every path on whose absence the answer rests is in [`Unit::absent`]: the answer holds as long as those stay absent and
//!   the found files stay what they are.
//! - Bad bytes, deep nesting and endless expansions end in an answer within bounds ([`limits`]).
//!
//! How: the text of a file is read once and kept as its directives ([`parse`]), by content, with the ends of `#if` groups
//! known. A unit is then a walk over these lists with a table of macros that is emptied by counting up a number.
//! It stops by being dropped. Nothing of it is durable.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cursor;
mod directive;
mod evaluate;
mod expand;
mod files;
mod include;
mod limits;
mod line;
mod link;
mod macros;
mod map;
mod name;
mod number;
mod operators;
mod parse;
mod path;
mod pragma;
mod reason;
mod scan;
mod setup;
mod splice;
mod store;
mod substitute;
mod text;
mod token;
mod unit;

pub use files::{Compiler, FileId, Files, Probe};
pub use name::PathId;
pub use reason::{Fact, NotModelled, Reason};
pub use scan::{Counts, Scanner};
pub use setup::{Family, SearchPath, Setup, SetupId};
pub use unit::{Seen, Unit};
