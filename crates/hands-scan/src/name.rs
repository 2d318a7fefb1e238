//! Spellings and paths as numbers: compared, kept and looked up without their text.

use std::sync::Arc;

use crate::map::Map;

/// The spelling of a token, or of the name in an `#include`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sym(pub(crate) u32);

/// A path that a scanner has met. Which one, [`crate::Scanner::path`] says; it is the same as long as the scanner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(pub(crate) u32);

impl Sym {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl PathId {
    /// A small number, so that a caller can keep what it knows of paths in an array.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All spellings of a scanner.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    numbers: Map<Arc<[u8]>, u32>,
    texts: Vec<Arc<[u8]>>,
}

impl Interner {
    pub(crate) fn intern(&mut self, text: &[u8]) -> Sym {
        if let Some(&number) = self.numbers.get(text) {
            return Sym(number);
        }
        let number = u32::try_from(self.texts.len()).expect("four thousand million spellings");
        let text: Arc<[u8]> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        Sym(number)
    }

    pub(crate) fn text(&self, sym: Sym) -> &[u8] {
        &self.texts[sym.index()]
    }

    /// The text, kept for itself: for who changes the scanner while reading it.
    pub(crate) fn shared(&self, sym: Sym) -> Arc<[u8]> {
        Arc::clone(&self.texts[sym.index()])
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// Spellings that the scanner itself asks for. They are the first of every [`Interner`], in this order.
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "they are named as they are spelled")]
        #[repr(u32)]
        enum Known { $($name,)* }

        const KNOWN: &[&str] = &[$($text,)*];

        #[expect(non_upper_case_globals, reason = "they are named as they are spelled")]
        pub(crate) mod known {
            use super::{Known, Sym};
            $(pub(crate) const $name: Sym = Sym(Known::$name as u32);)*
        }
    };
}

known! {
    defined = "defined",
    va_args = "__VA_ARGS__",
    va_opt = "__VA_OPT__",
    true_ = "true",
    and = "and",
    or = "or",
    not = "not",
    bitand = "bitand",
    bitor = "bitor",
    xor = "xor",
    compl = "compl",
    not_eq = "not_eq",
    open = "(",
    close = ")",
    comma = ",",
    less = "<",
    greater = ">",
    hash = "#",
    hash_hash = "##",
    zero = "0",
    one = "1",
    has_include = "__has_include",
    has_include_next = "__has_include_next",
    has_embed = "__has_embed",
    file = "__FILE__",
    line = "__LINE__",
    base_file = "__BASE_FILE__",
    counter = "__COUNTER__",
    include_level = "__INCLUDE_LEVEL__",
    cplusplus = "__cplusplus",
    stdc_version = "__STDC_VERSION__",
    strict_ansi = "__STRICT_ANSI__",
    assembler = "__ASSEMBLER__",
    wchar_type = "__WCHAR_TYPE__",
    unsigned = "unsigned",
    bar_bar = "||",
    and_and = "&&",
    bar = "|",
    caret = "^",
    ampersand = "&",
    equal_equal = "==",
    not_equal = "!=",
    less_equal = "<=",
    greater_equal = ">=",
    shift_left = "<<",
    shift_right = ">>",
    plus = "+",
    minus = "-",
    star = "*",
    slash = "/",
    percent = "%",
    question = "?",
    colon = ":",
    bang = "!",
    tilde = "~",
    dots = "...",
}

impl Interner {
    pub(crate) fn new() -> Self {
        let mut interner = Self::default();
        for text in KNOWN {
            interner.intern(text.as_bytes());
        }
        interner
    }
}
