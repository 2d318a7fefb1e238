//! What the text of a source says that no list of dependencies does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use crate::Reason;

/// What was found in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Names that `__has_include` asks for: with whether they stand in quotes.
    pub(crate) asked: Vec<(String, bool)>,
    /// Why a compile that reads this file must be local, whatever else holds.
    pub(crate) local: Option<&'static str>,
    /// Whether the time of the compile may be in the object.
    pub(crate) time: bool,
    /// Of a text that may ask to be read once only: what stands for all of it.
    pub(crate) once: Option<u64>,
}

/// Words by which a file is read that is no dependency, or by which more than the text counts.
const READS: &[(&str, &str)] = &[
    ("incbin", "incbin"),
    (".include ", "assembler-include"),
    (".include\t", "assembler-include"),
    (".include\\t", "assembler-include"),
    ("__has_embed", "embed"),
    ("__TIMESTAMP__", "time"),
    ("GCC pch_preprocess", "pch"),
];

impl Facts {
    /// Reads a text. Comments are not told from code: too much is found, never too little.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut facts = Self::default();
        let finds = |word: &str| positions(text, word.as_bytes()).next().is_some();
        facts.local = READS.iter().find(|(word, _)| finds(word)).map(|(_, why)| *why);
        if facts.local.is_none() && has_embed(text) {
            facts.local = Some("embed");
        }
        facts.time = finds("__DATE__") || finds("__TIME__");
        // `#pragma once`, however it is written, and `#import`.
        if (finds("once") && finds("ragma")) || finds("import") {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            facts.once = Some(hasher.finish());
        }
        for word in [&b"__has_include"[..], b"__has_include_next"] {
            for at in positions(text, word) {
                match asked(&text[at + word.len()..]) {
                    Asked::Name(name, quoted) => facts.asked.push((name, quoted)),
                    // `#define HAS __has_include` asks by another name.
                    Asked::Nothing if is_defined_on_line(&text[..at]) => {
                        facts.local = facts.local.or(Some("has-include"));
                    }
                    Asked::Nothing => {}
                    Asked::Computed => facts.local = facts.local.or(Some("has-include")),
                }
            }
        }
        facts.asked.sort();
        facts.asked.dedup();
        facts
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Reason> {
        let text = std::fs::read(path)
            .map_err(|error| Reason::new("dependencies", format!("{}: {error}", path.display())))?;
        Ok(Self::of(&text))
    }
}

fn positions<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = word[0];
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let next = at + text.get(at..)?.iter().position(|byte| *byte == first)?;
            at = next + 1;
            if text[next..].starts_with(word) {
                return Some(next);
            }
        }
    })
}

/// Whether the line that ends here defines a macro, continued lines included.
fn is_defined_on_line(before: &[u8]) -> bool {
    let mut start = before.len();
    while start > 0 && (before[start - 1] != b'\n' || before[..start - 1].ends_with(b"\\")) {
        start -= 1;
    }
    positions(&before[start..], b"define").any(|at| {
        let left = before[start..start + at].trim_ascii_end();
        left.ends_with(b"#") || left.ends_with(b"%:")
    })
}

/// `#embed`, with whatever space.
fn has_embed(text: &[u8]) -> bool {
    positions(text, b"embed").any(|at| {
        let before = text[..at].trim_ascii_end();
        before.ends_with(b"#") || before.ends_with(b"%:")
    })
}

/// What stands behind `__has_include`.
enum Asked {
    Name(String, bool),
    /// No question: the word alone, as in `#ifdef __has_include`, or a longer word.
    Nothing,
    /// Something of which only a preprocessor knows what it is.
    Computed,
}

fn asked(rest: &[u8]) -> Asked {
    if rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Asked::Nothing;
    }
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b"(") else { return Asked::Nothing };
    let rest = rest.trim_ascii_start();
    let (end, quoted) = match rest.first() {
        Some(b'<') => (b'>', false),
        Some(b'"') => (b'"', true),
        _ => return Asked::Computed,
    };
    let name = rest[1..].split(|byte| *byte == end || *byte == b'\n').next().unwrap_or_default();
    if rest.get(1 + name.len()) != Some(&end) {
        return Asked::Computed;
    }
    match std::str::from_utf8(name) {
        Ok(name) => Asked::Name(name.to_owned(), quoted),
        Err(_) => Asked::Computed,
    }
}
