//! A compiler with its flags, as far as they decide what it reads.

use std::sync::Arc;

use crate::cursor::Oddities;
use crate::directive::{Directive, Parsed};
use crate::evaluate::{Language, Words};
use crate::macros::{Builtin, Definition};
use crate::map::Map;
use crate::name::{Interner, Sym, known};
use crate::number::number;
use crate::path::{DirId, Paths};
use crate::reason::Reason;
use crate::store::Store;
use crate::token::Kind;

/// A setup that a scanner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetupId(pub(crate) u32);

/// Compilers that look for files in different ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// GCC.
    #[default]
    Gcc,
    /// Clang.
    Clang,
}

/// Where headers are looked for, in the order in which the compiler's `-v` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// Directories for `"…"` alone, behind that of the including file.
    pub quote: Vec<Vec<u8>>,
    /// Directories for both forms: `-I`, `-isystem`, the compiler's own, `-idirafter`.
    pub angle: Vec<Vec<u8>>,
}

/// Language, dialect and target are taken from the predefined macros.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How the compiler looks for files.
    pub family: Family,
    /// The absolute working directory.
    pub directory: Vec<u8>,
    /// The search path.
    pub search: SearchPath,
    /// What `-dM -E` prints of an empty file of the language, with the flags or without those of `command_line`.
    pub predefined: Vec<u8>,
    /// `-D` and `-U` in their order, as lines with `#define` and `#undef`.
    pub command_line: Vec<u8>,
    /// Names for which `#ifdef` holds although `predefined` has them not, such as `__has_include` and `__FILE__`.
    pub builtins: Vec<Vec<u8>>,
    /// Headers that the compiler reads first of its own accord: `stdc-predef.h`, where `-M` of an empty source lists it.
    pub preincluded: Vec<Vec<u8>>,
    /// Operands of `-imacros`.
    pub imacros: Vec<Vec<u8>>,
    /// Operands of `-include`.
    pub includes: Vec<Vec<u8>>,
    /// Lines that begin with `import` or `module` are those of C++20.
    pub modules: bool,
    /// `-trigraphs` was given.
    pub trigraphs: bool,
}

/// A setup as the scanner keeps it.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) family: Family,
    pub(crate) base: u32,
    pub(crate) search: u32,
    pub(crate) chain: Arc<[DirId]>,
    pub(crate) n_quote: u32,
    pub(crate) macros: Vec<(Sym, Option<Definition>)>,
    pub(crate) language: Language,
    pub(crate) is_assembler: bool,
    pub(crate) is_strict: bool,
    pub(crate) has_modules: bool,
    pub(crate) preincluded: Vec<Sym>,
    pub(crate) imacros: Vec<Sym>,
    pub(crate) includes: Vec<Sym>,
    pub(crate) answers: Map<(Sym, Sym), i64>,
    trigraphs: bool,
    raw_strings: bool,
    separators: bool,
    line_comments: bool,
}

impl Ready {
    pub(crate) fn new(
        setup: &Setup,
        search: u32,
        names: &mut Interner,
        paths: &mut Paths,
        store: &mut Store,
    ) -> Self {
        let base = paths.base(&setup.directory);
        let directories = setup.search.quote.iter().chain(&setup.search.angle);
        let chain = directories
            .map(|dir| {
                let slash = if dir.ends_with(b"/") { &b""[..] } else { &b"/"[..] };
                paths.dir(base, &[dir, slash].concat())
            })
            .collect();
        let mut macros = Vec::new();
        for name in &setup.builtins {
            let name = names.intern(name);
            macros.push((name, Some(Definition::Builtin(Builtin::of(name, names)))));
        }
        let mut values = Values { names, versions: Map::default(), wide_is_unsigned: None };
        for text in [&setup.predefined, &setup.command_line] {
            let file = store.text(text, values.names);
            let parsed = store.parsed(file);
            for directive in &parsed.directives {
                match *directive {
                    Directive::Define { name, index } => {
                        values.note(parsed, name, index);
                        macros.push((name, Some(Definition::In { file, index })));
                    }
                    Directive::Undef(name) => macros.push((name, None)),
                    _ => {}
                }
            }
        }
        let has = |name: Sym| values.versions.contains_key(&name);
        let cxx = values.versions.get(&known::cplusplus).copied();
        let c = values.versions.get(&known::stdc_version).copied().unwrap_or(0);
        let (is_strict, is_assembler) = (has(known::strict_ansi), has(known::assembler));
        let words = match cxx {
            Some(_) => Words::Cxx,
            None if c > 201_710 => Words::C23,
            None => Words::C,
        };
        let before_17 = cxx.is_none_or(|version| version < 201_703);
        let extended_c = cxx.is_none() && setup.family == Family::Gcc && !is_strict && c >= 199_901;
        let mut all = |list: &[Vec<u8>]| list.iter().map(|n| values.names.intern(n)).collect();
        Self {
            family: setup.family,
            base,
            search,
            chain,
            n_quote: u32::try_from(setup.search.quote.len()).expect("few directories"),
            macros,
            language: Language { words, wide_is_unsigned: values.wide_is_unsigned },
            is_assembler,
            is_strict,
            has_modules: setup.modules,
            preincluded: all(&setup.preincluded),
            imacros: all(&setup.imacros),
            includes: all(&setup.includes),
            answers: Map::default(),
            trigraphs: setup.trigraphs || (is_strict && before_17 && words != Words::C23),
            raw_strings: cxx.is_some_and(|version| version >= 201_103) || extended_c,
            separators: cxx.is_some_and(|version| version >= 201_402) || words == Words::C23,
            line_comments: cxx.is_some() || !is_strict || c >= 199_901,
        }
    }

    /// Whether a file's text means the same in this language as it did to its reader.
    pub(crate) fn check(&self, parsed: &Parsed) -> Result<(), Reason> {
        let Oddities { raw_strings, separators, open_quotes, line_comments, no_end } =
            parsed.oddities;
        let quotes = (raw_strings && !self.raw_strings)
            || (separators && !self.separators)
            || (line_comments && !self.line_comments)
            || (self.is_assembler && (raw_strings || separators || open_quotes));
        if quotes {
            Err(Reason::Quotes)
        } else if no_end {
            Err(Reason::NoEnd)
        } else if parsed.trigraphs && self.trigraphs {
            Err(Reason::Trigraphs)
        } else if parsed.lone_returns {
            Err(Reason::LineEnds)
        } else {
            Ok(())
        }
    }
}

/// The predefined macros that say which language it is.
struct Values<'n> {
    names: &'n mut Interner,
    versions: Map<Sym, u64>,
    wide_is_unsigned: Option<bool>,
}

impl Values<'_> {
    fn note(&mut self, parsed: &Parsed, name: Sym, index: u32) {
        let body = parsed.macros[index as usize].body.of(&parsed.tokens);
        if name == known::wchar_type {
            self.wide_is_unsigned = Some(body.iter().any(|token| token.sym == known::unsigned));
        }
        let told = [known::cplusplus, known::stdc_version, known::strict_ansi, known::assembler];
        if !told.contains(&name) {
            return;
        }
        let value = match body {
            [token] if token.kind == Kind::Number => number(self.names.text(token.sym)),
            _ => return,
        };
        if let Ok(value) = value {
            self.versions.insert(name, value.bits);
        }
    }
}
