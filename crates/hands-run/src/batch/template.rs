//! `CMD {} ::: A B C`: GNU parallel's replacement strings.
//!
//! A template that is one word (`'wc -l {} | sort'`), or in which an operator of the shell stands as a word of its
//! own, is a shell command, and what is filled in is quoted for the shell. Any other is run as it stands, word by word.
//! In `--input` and `--output` the same strings stand for the same, without quotes.

use std::ffi::OsString;
use std::path::PathBuf;

use hands_front::args::{ActionArgs, value};
use hands_front::{RunError, shell_quoted};

use crate::batch::source::Task;

const OPERATORS: [&str; 12] = ["|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", "|&", "&>"];

/// Builds the tasks; `more` gives the lines of standard input, which are the arguments where no `:::` is.
pub(crate) fn tasks(
    command: &[OsString],
    action: &ActionArgs,
    more: impl FnOnce() -> Result<String, RunError>,
) -> Result<Vec<Task>, RunError> {
    let words: Vec<String> =
        command.iter().map(value::text).collect::<Result<_, _>>().map_err(RunError::Usage)?;
    let mut groups = words.split(|w| w == ":::");
    let template = groups.next().unwrap_or_default();
    if template.is_empty() {
        return Err(RunError::Usage("there is no command before `:::`".to_owned()));
    }
    if let Some(word) = words.iter().find(|w| matches!(w.as_str(), "::::" | ":::+" | "::::+")) {
        return Err(RunError::Usage(format!(
            "`{word}` is not known here; give the arguments after `:::`, or one a line on standard input"
        )));
    }
    let paths = paths(action).map(|(_, path)| path);
    if let Some(text) = template.iter().map(String::as_str).chain(paths).find_map(unknown) {
        return Err(RunError::Usage(format!(
            "`{text}` is a replacement string of GNU parallel's that is not known here; `{{}}`, `{{.}}`, `{{/}}`, `{{//}}`, `{{/.}}`, `{{#}}` are, and a number before the dot or slash"
        )));
    }
    let mut sources: Vec<Vec<String>> = groups.map(<[String]>::to_vec).collect();
    if sources.is_empty() {
        sources.push(more()?.lines().map(str::to_owned).collect());
    }
    let template = Template::new(template);
    let flags = in_flags(action).map(|_| action);
    Ok(combinations(&sources)
        .iter()
        .enumerate()
        .map(|(i, values)| Task {
            action: flags.map(|flags| Box::new(filled_flags(flags, i + 1, values))),
            ..template.fill(i + 1, values)
        })
        .collect())
}

/// The first path among the flags that has a replacement string, with its flag.
pub(crate) fn in_flags(action: &ActionArgs) -> Option<(&'static str, &str)> {
    let has_any = |path: &str| pieces(path).iter().any(|piece| !matches!(piece, Piece::Text(_)));
    paths(action).find(|(_, path)| has_any(path))
}

fn paths(action: &ActionArgs) -> impl Iterator<Item = (&'static str, &str)> {
    let inputs = action.input.iter().filter_map(|path| Some(("--input", path.to_str()?)));
    inputs.chain(action.output.iter().map(|path| ("--output", path.as_str())))
}

/// The flags of one command.
fn filled_flags(action: &ActionArgs, number: usize, values: &[&str]) -> ActionArgs {
    let fill = |path: &str| match pieces(path).as_slice() {
        [Piece::Argument(None, part)] => values.iter().map(|v| part.of(v)).collect(),
        path => vec![filled(path, number, values, false)],
    };
    let input = |path: &PathBuf| match path.to_str() {
        Some(text) => fill(text).into_iter().map(PathBuf::from).collect(),
        None => vec![path.clone()],
    };
    ActionArgs {
        input: action.input.iter().flat_map(input).collect(),
        output: action.output.iter().flat_map(|path| fill(path)).collect(),
        ..action.clone()
    }
}

/// Every choice of one from each source; the last source varies fastest.
fn combinations(sources: &[Vec<String>]) -> Vec<Vec<&str>> {
    sources.iter().fold(vec![Vec::new()], |made, source| {
        made.iter()
            .flat_map(|before| {
                source.iter().map(move |value| {
                    let mut next = before.clone();
                    next.push(value.as_str());
                    next
                })
            })
            .collect()
    })
}

struct Template {
    /// Each word in pieces.
    words: Vec<Vec<Piece>>,
    shell: bool,
}

enum Piece {
    Text(String),
    /// Argument number (from 0; none is all of them) and what is taken of it.
    Argument(Option<usize>, Part),
    Sequence,
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    NoExtension,
    BaseName,
    Directory,
    BaseNameNoExtension,
}

impl Template {
    fn new(words: &[String]) -> Self {
        let shell = match words {
            [one] => one.contains(|c: char| c.is_whitespace() || "|&;<>$`\"'()*?".contains(c)),
            many => many.iter().any(|w| OPERATORS.contains(&w.as_str())),
        };
        let mut words: Vec<Vec<Piece>> = words.iter().map(|w| pieces(w)).collect();
        let takes_argument =
            |word: &Vec<Piece>| word.iter().any(|p| matches!(p, Piece::Argument(..)));
        if !words.iter().any(takes_argument) {
            words.push(vec![Piece::Argument(None, Part::Whole)]);
        }
        Self { words, shell }
    }

    fn fill(&self, number: usize, values: &[&str]) -> Task {
        if self.shell {
            let line = self
                .words
                .iter()
                .map(|w| filled(w, number, values, true))
                .collect::<Vec<_>>()
                .join(" ");
            return Task { title: line.replace('\n', "; "), ..Task::shell(number, &line) };
        }
        let mut argv = Vec::new();
        for word in &self.words {
            // A word that is nothing but `{}` becomes one word for each argument.
            match word.as_slice() {
                [Piece::Argument(None, part)] => argv.extend(values.iter().map(|v| part.of(v))),
                word => argv.push(filled(word, number, values, false)),
            }
        }
        let title =
            argv.iter().map(|a| shell_quoted(a)).collect::<Vec<_>>().join(" ").replace('\n', "; ");
        Task { number, id: None, title, argv, action: None }
    }
}

fn filled(word: &[Piece], number: usize, values: &[&str], quote: bool) -> String {
    let value = |value: &str, part: Part| {
        let value = part.of(value);
        if quote { shell_quoted(&value).into_owned() } else { value }
    };
    word.iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Sequence => number.to_string(),
            Piece::Argument(None, part) => {
                values.iter().map(|v| value(v, *part)).collect::<Vec<_>>().join(" ")
            }
            Piece::Argument(Some(n), part) => {
                values.get(*n).map(|v| value(v, *part)).unwrap_or_default()
            }
        })
        .collect()
}

impl Part {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Whole,
            "." => Self::NoExtension,
            "/" => Self::BaseName,
            "//" => Self::Directory,
            "/." => Self::BaseNameNoExtension,
            _ => return None,
        })
    }

    fn of(self, value: &str) -> String {
        let base = |v: &str| v.rsplit_once('/').map_or(v, |(_, base)| base).to_owned();
        let no_extension = |v: &str| match v.rsplit_once('.') {
            Some((stem, extension)) if !extension.contains('/') && !extension.is_empty() => {
                stem.to_owned()
            }
            _ => v.to_owned(),
        };
        match self {
            Self::Whole => value.to_owned(),
            Self::NoExtension => no_extension(value),
            Self::BaseName => base(value),
            Self::BaseNameNoExtension => no_extension(&base(value)),
            Self::Directory => match value.rsplit_once('/') {
                Some(("", _)) => "/".to_owned(),
                Some((directory, _)) => directory.to_owned(),
                None => ".".to_owned(),
            },
        }
    }
}

/// Cuts a word at its replacement strings. Braces that are none stay as they are, so that `awk '{print}'` works.
fn pieces(word: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        let replacement = rest[open..].find('}').and_then(|close| {
            let inner = &rest[open + 1..open + close];
            replacement(inner).map(|piece| (piece, open + close + 1))
        });
        let end = match replacement {
            Some((piece, end)) => {
                text.push_str(&rest[..open]);
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                end
            }
            None => {
                text.push_str(&rest[..=open]);
                open + 1
            }
        };
        rest = &rest[end..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// A replacement string that GNU parallel knows and this program does not: left as it is, it would do something else.
fn unknown(word: &str) -> Option<&str> {
    word.match_indices('{').find_map(|(open, _)| {
        let close = open + word[open..].find('}')?;
        let inner = &word[open + 1..close];
        let from_the_end = inner.strip_prefix('-').is_some_and(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            digits > 0 && Part::read(&rest[digits..]).is_some()
        });
        let is_perl = inner.len() > 1 && inner.starts_with('=') && inner.ends_with('=');
        (matches!(inner, "%" | "##") || from_the_end || is_perl).then(|| &word[open..=close])
    })
}

fn replacement(inner: &str) -> Option<Piece> {
    if inner == "#" {
        return Some(Piece::Sequence);
    }
    let digits = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len());
    let part = Part::read(&inner[digits..])?;
    match &inner[..digits] {
        "" => Some(Piece::Argument(None, part)),
        number => Some(Piece::Argument(Some(number.parse::<usize>().ok()?.checked_sub(1)?), part)),
    }
}
