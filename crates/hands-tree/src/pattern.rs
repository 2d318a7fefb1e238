//! Patterns for outputs: `*` and `?` within one name, `**` for any number of names.

use std::collections::BTreeSet;
use std::fmt;

use hands_types::is_output_pattern;

/// What one name of a path costs beside its characters: the ways that go on from it are noted.
const STEPS_OF_NAME: u64 = 16;
/// What one part of a pattern costs at a name.
const STEPS_OF_PART: u64 = 4;

/// A pattern of path names. `*` stands for any characters of one name, `?` for one of them, and a name that is `**`
/// for any number of names, none included. Everything else stands for itself; a leading dot is nothing special.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// One name of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Exactly this name.
    Name(String),
    /// A name with wildcards in it.
    Wild(Vec<char>),
    /// Any number of names.
    Deep,
}

impl Pattern {
    /// Reads a pattern relative to the working directory. Names are separated by `/`; empty names and `.` are dropped.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let bad = |why| Err(BadPattern { pattern: text.to_owned(), why });
        if text.starts_with('/') {
            return bad("it is absolute");
        }
        if text.contains('\0') {
            return bad("it holds a NUL");
        }
        let mut parts = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return bad("it leaves the working directory"),
                // Twice the same as once, and walking it twice would be exponential.
                "**" if parts.last() == Some(&Part::Deep) => {}
                "**" => parts.push(Part::Deep),
                name if is_output_pattern(name) => parts.push(Part::Wild(name.chars().collect())),
                name => parts.push(Part::Name(name.to_owned())),
            }
        }
        if parts.is_empty() {
            return bad("it is empty");
        }
        Ok(Self { parts })
    }

    /// The leading names without wildcards, all but the last name: what must exist for anything to match.
    pub fn fixed_parents(&self) -> impl Iterator<Item = &str> {
        let last = self.parts.len() - 1;
        self.parts[..last].iter().map_while(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Wild(_) | Part::Deep => None,
        })
    }

    /// Its names.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether a path relative to the working directory can be an output by this pattern: one that matches it as a whole,
    /// or, where the pattern ends in `**`, any path below what is before it. Adds to `steps` what the look has cost, in
    /// characters about: patterns and paths of others are compared only so often.
    pub fn matches(&self, path: &str, steps: &mut u64) -> bool {
        // All ways through the pattern at once: the numbers of the parts that may match the next name, in rising order.
        let mut at = self.with_skipped(&[0]);
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            *steps += STEPS_OF_NAME;
            let is_last = names.peek().is_none();
            let mut next = Vec::new();
            for (i, part) in at.iter().filter_map(|i| Some((*i, self.parts.get(*i)?))) {
                if !part.matches_in(name, steps) {
                    continue;
                }
                if is_last && i + 1 == self.parts.len() {
                    return true;
                }
                next.push(if *part == Part::Deep { i } else { i + 1 });
            }
            at = self.with_skipped(&next);
            if at.is_empty() {
                return false;
            }
        }
        false
    }

    /// `**` may stand for no name at all: then what follows it may match as well. In rising order.
    pub fn with_skipped(&self, at: &[usize]) -> Vec<usize> {
        let mut all = BTreeSet::new();
        for &first in at {
            let mut i = first;
            while all.insert(i) {
                match self.parts.get(i) {
                    Some(Part::Deep) if i + 1 < self.parts.len() => i += 1,
                    _ => break,
                }
            }
        }
        all.into_iter().collect()
    }
}

impl Part {
    /// Whether one name matches; [`Part::Deep`] matches each.
    pub fn matches(&self, name: &str) -> bool {
        self.matches_in(name, &mut 0)
    }

    fn matches_in(&self, name: &str, steps: &mut u64) -> bool {
        *steps += STEPS_OF_PART;
        match self {
            Self::Name(text) => text == name,
            Self::Wild(pattern) => wild(pattern, name, steps),
            Self::Deep => true,
        }
    }
}

/// Greedy matching with one point to go back to: linear in practice, at worst the product of both lengths.
fn wild(pattern: &[char], name: &str, steps: &mut u64) -> bool {
    let name: Vec<char> = name.chars().collect();
    *steps += name.len() as u64;
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        *steps += 1;
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A pattern that names nothing inside of the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the output pattern `{}` can't be used: {}",
            self.pattern.escape_debug(),
            self.why
        )
    }
}

impl std::error::Error for BadPattern {}
