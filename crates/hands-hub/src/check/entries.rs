//! Whether a result's entries are outputs that the Command declares: each at most once, of the kind that was asked for.
//!
//! What a Command has beside its outputs is not looked at; the kernel's bound for a path holds for paths and for targets.

use std::collections::{BTreeMap, BTreeSet};

use hands_proto::reapi;
use hands_tree::Pattern;
use hands_types::limits::MAX_PATH;
use hands_types::text::printable;
use hands_types::{RelPath, is_output_pattern};
use prost::Message as _;

/// Steps of matching paths with patterns that one result may cost, in characters: about a second.
const MAX_STEPS: u64 = 500_000_000;

/// The outputs of a Command message; its other fields are passed over unread.
#[derive(Clone, PartialEq, prost::Message)]
struct Outputs {
    #[prost(string, repeated, tag = "3")]
    output_files: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    output_directories: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    output_paths: Vec<String>,
}

/// Why an entry is none of the Command's outputs. Every text is printable.
#[derive(Debug, thiserror::Error)]
pub(super) enum Foreign {
    #[error("the result names the output `{0}`, which the command does not declare")]
    Undeclared(String),
    #[error("the result names the output `{0}` twice")]
    Twice(String),
    #[error("the output `{path}` is {is}, and the command declares {declared}")]
    Kind { path: String, is: &'static str, declared: &'static str },
    #[error("the result's links by kind name `{0}`, which is none of its links")]
    NoLink(String),
    #[error(
        "the output `{0}` can't be: its path or its target has more than {MAX_PATH} bytes or a NUL"
    )]
    Long(String),
    #[error(
        "the result's entries can't be compared with the command's patterns: there are too many"
    )]
    TooMany,
    #[error("the command can't be read: {0}")]
    Command(prost::DecodeError),
}

#[derive(Clone, Copy, Default)]
struct Kinds {
    file: bool,
    directory: bool,
}

impl Kinds {
    const ANY: Self = Self { file: true, directory: true };
}

struct Declared<'a> {
    named: BTreeMap<&'a str, Kinds>,
    patterns: Vec<Pattern>,
    /// What the patterns have cost until now, and the most that they may cost.
    steps: u64,
    most: u64,
}

/// How many entries a result has.
pub(super) fn count(result: &reapi::ActionResult) -> usize {
    result.output_files.len()
        + result.output_directories.len()
        + result.output_symlinks.len()
        + result.output_file_symlinks.len()
        + result.output_directory_symlinks.len()
}

/// Whether an encoded Command declares outputs by pattern. Comparing with those takes its time.
pub(super) fn has_patterns(command: &[u8]) -> bool {
    // One that can't be read has none: the comparison says so.
    Outputs::decode(command)
        .is_ok_and(|outputs| outputs.output_paths.iter().any(|path| is_output_pattern(path)))
}

/// Compares a result's entries with an encoded Command.
pub(super) fn compare(command: &[u8], result: &reapi::ActionResult) -> Result<(), Foreign> {
    compare_within(MAX_STEPS, command, result)
}

fn compare_within(most: u64, command: &[u8], result: &reapi::ActionResult) -> Result<(), Foreign> {
    let outputs = Outputs::decode(command).map_err(Foreign::Command)?;
    let mut declared = Declared::of(&outputs, most);
    let mut seen = BTreeSet::new();
    for file in &result.output_files {
        declared.take(&mut seen, &file.path, Kinds { file: true, directory: false })?;
    }
    for directory in &result.output_directories {
        declared.take(&mut seen, &directory.path, Kinds { file: false, directory: true })?;
    }
    let mut links = BTreeMap::new();
    for link in &result.output_symlinks {
        // A link is one wherever it points; it stands for either.
        declared.take(&mut seen, &link.path, Kinds::ANY)?;
        if link.target.len() > MAX_PATH || link.target.contains('\0') {
            return Err(Foreign::Long(shown(&link.path)));
        }
        links.insert(link.path.as_str(), link.target.as_str());
    }
    // Clients of API 2.0 look for links in lists by kind: the same links once more.
    for link in result.output_file_symlinks.iter().chain(&result.output_directory_symlinks) {
        if links.remove(link.path.as_str()) != Some(link.target.as_str()) {
            return Err(Foreign::NoLink(shown(&link.path)));
        }
    }
    Ok(())
}

impl<'a> Declared<'a> {
    fn of(outputs: &'a Outputs, most: u64) -> Self {
        let mut named: BTreeMap<&str, Kinds> = BTreeMap::new();
        let mut patterns = Vec::new();
        if outputs.output_paths.is_empty() {
            for path in &outputs.output_files {
                named.entry(path).or_default().file = true;
            }
            for path in &outputs.output_directories {
                named.entry(path).or_default().directory = true;
            }
        }
        for path in &outputs.output_paths {
            // A pattern is taken by its own name too: other clients mean nothing by a star.
            named.insert(path, Kinds::ANY);
            if is_output_pattern(path)
                && let Ok(pattern) = Pattern::new(path)
            {
                patterns.push(pattern);
            }
        }
        Self { named, patterns, steps: 0, most }
    }

    /// Takes one entry as an output of the Command.
    fn take<'b>(
        &mut self,
        seen: &mut BTreeSet<&'b str>,
        path: &'b str,
        is: Kinds,
    ) -> Result<(), Foreign> {
        if path.len() > MAX_PATH || path.contains('\0') {
            return Err(Foreign::Long(shown(path)));
        }
        if !seen.insert(path) {
            return Err(Foreign::Twice(shown(path)));
        }
        if let Some(declared) = self.named.get(path) {
            let fits = is.file && declared.file || is.directory && declared.directory;
            return if fits { Ok(()) } else { Err(kind(path, is)) };
        }
        // What a pattern found is named from the working directory down.
        let is_plain = RelPath::new(path).is_ok_and(|plain| plain.as_str() == path);
        if path.is_empty() || !is_plain {
            return Err(Foreign::Undeclared(shown(path)));
        }
        for pattern in &self.patterns {
            if self.steps > self.most {
                return Err(Foreign::TooMany);
            }
            if pattern.matches(path, &mut self.steps) {
                return Ok(());
            }
        }
        Err(Foreign::Undeclared(shown(path)))
    }
}

fn kind(path: &str, is: Kinds) -> Foreign {
    let (is, declared) =
        if is.file { ("a file", "a directory") } else { ("a directory", "a file") };
    Foreign::Kind { path: shown(path), is, declared }
}

fn shown(path: &str) -> String {
    printable(&hands_types::text::cut(path, 100)).into_owned()
}

#[cfg(test)]
mod tests;
