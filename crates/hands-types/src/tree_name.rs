//! Names that people give to trees of a store.

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::limits::MAX_NAME;
use crate::text::{cut, is_harmful, printable};

/// The name of a tree that stays in a store, such as `debian:12` or `tools/gcc@13`. It can't be taken for a digest, for a
/// flag or for a path, and stands in a list without being quoted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeName(String);

impl TreeName {
    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, BadTreeName> {
        let bad = |why| BadTreeName { begins: printable(&cut(text, 32)).into_owned(), why };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > MAX_NAME {
            return Err(bad("256 bytes are the most"));
        }
        if text.contains(is_harmful) {
            return Err(bad("it has control characters"));
        }
        if text.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '=')) {
            return Err(bad("it has a space, a comma or an equals sign"));
        }
        if text.starts_with(['-', '/']) {
            return Err(bad("it begins as a flag or a path does"));
        }
        if text.parse::<Digest>().is_ok() {
            return Err(bad("it would be taken for a digest"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no tree can have. Its `Display` is printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTreeName {
    begins: String,
    why: &'static str,
}

impl fmt::Display for BadTreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` can't be a tree's name: {}", self.begins, self.why)
    }
}

impl std::error::Error for BadTreeName {}

/// A tree of a store, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeRef {
    /// By its root.
    Digest(Digest),
    /// By a name that was given to it.
    Name(TreeName),
}

impl FromStr for TreeRef {
    type Err = BadTreeName;

    fn from_str(text: &str) -> Result<Self, BadTreeName> {
        match text.parse() {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(_) => TreeName::new(text).map(Self::Name),
        }
    }
}

/// Names that are shown for one that is not there.
const SHOWN: usize = 3;

/// Which of these names somebody may have meant, the nearest first: those with a few letters more, fewer or others, and those
/// of which one contains the other.
pub fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let most = (wanted.chars().count() / 3).clamp(1, 4);
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let distance = distance(wanted, name);
            let is_part = name.contains(wanted) || wanted.contains(name);
            (distance <= most || is_part).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).take(SHOWN).collect()
}

/// Letters to add, to take away or to change that lead from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = before + usize::from(letter != *other);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_tags_and_references_are() {
        for name in ["debian", "debian:12", "tools/gcc@13", "Ü-1_2.3+4", &"n".repeat(256)] {
            assert_eq!(TreeName::new(name).map(|n| n.to_string()).as_deref(), Ok(name));
        }
        let digest = format!("{}/1", "a".repeat(64));
        let cases = [
            ("", "empty"),
            (&"n".repeat(257), "256 bytes"),
            ("a\u{1b}[1m", "control characters"),
            ("a\u{202e}b", "control characters"),
            ("a b", "a space"),
            ("a,b", "a comma"),
            ("a=b", "an equals sign"),
            ("-a", "as a flag"),
            ("/a", "a path"),
            (&digest, "for a digest"),
            (&format!("blake3/{digest}"), "for a digest"),
        ];
        for (name, why) in cases {
            let error = TreeName::new(name).expect_err(why).to_string();
            assert!(error.contains(why) && !error.contains(is_harmful), "{name}: {error}");
        }
        assert!(matches!(digest.parse(), Ok(TreeRef::Digest(_))));
        assert!(matches!("debian".parse(), Ok(TreeRef::Name(_))));
    }

    #[test]
    fn names_that_were_meant_are_found() {
        let names = ["debian:11", "debian:12", "gcc-13", "gcc", "x"];
        assert_eq!(near("debain:12", names), ["debian:12", "debian:11"]);
        assert_eq!(near("debian", names), ["debian:11", "debian:12"]);
        assert_eq!(near("gcc-12", names), ["gcc-13", "gcc"]);
        assert_eq!(near("rust", names), [""; 0]);
    }
}
