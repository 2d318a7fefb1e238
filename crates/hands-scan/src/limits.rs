//! Where the scanner gives up. Compilers have most of these limits too, or run out of memory.

/// Files that include each other; the limit of both compilers.
pub(crate) const MAX_INCLUDE_DEPTH: usize = 200;

/// The bytes of one file; offsets are 32 bits wide.
pub(crate) const MAX_FILE: usize = 256 << 20;

/// Parentheses and operators of an expression inside each other.
pub(crate) const MAX_EXPRESSION_DEPTH: u32 = 200;

/// Arguments of macros in arguments of macros.
pub(crate) const MAX_ARGUMENT_DEPTH: u32 = 400;

/// Tokens that the expansion of one directive may handle.
pub(crate) const MAX_EXPANSION: u64 = 8_000_000;

/// Directives that one unit may evaluate, which ends files that include themselves without end.
pub(crate) const MAX_DIRECTIVES: u64 = 20_000_000;

/// Tokens that the expansions of one unit may handle.
pub(crate) const MAX_UNIT_EXPANSION: u64 = 200_000_000;
