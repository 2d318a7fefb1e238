//! One configuration file as a list of keys with their lines.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ConfigError;

/// A value together with where it was set.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Dotted, such as `worker.slots`.
    pub(crate) key: String,
    pub(crate) value: Raw,
    /// Flag, variable, or file and line.
    pub(crate) origin: String,
}

/// A value before its meaning is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    Text(String),
    Integer(String),
    Boolean(bool),
    List(Vec<Self>),
    /// Something that no key takes; its name.
    Other(&'static str),
}

impl Raw {
    /// For messages: what was found.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", text.escape_debug()),
            Self::Integer(number) => number.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    /// As TOML would have it, with control characters escaped.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_toml).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Text(_) | Self::Integer(_) | Self::Boolean(_) | Self::Other(_) => self.describe(),
        }
    }
}

/// Largest file that is read, bytes: a project's comes from strangers.
const LARGEST: u64 = 1 << 20;

/// Reads a file; none if it is not there.
pub(crate) fn text(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > LARGEST => {
            Err(failed(io::Error::other("it has more than a MiB")))
        }
        Ok(_) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(source) => Err(failed(source)),
    }
}

/// Why a file that is there is not this user's own, unless it is: others decide what it holds. What belongs to root is everybody's.
pub(crate) fn stranger(path: &Path) -> Option<String> {
    const ANYBODY_WRITES: u32 = 0o002;
    let metadata = fs::metadata(path).ok()?;
    let own = rustix::process::geteuid().as_raw();
    if ![own, 0].contains(&metadata.uid()) {
        return Some(format!("belongs to user {} and not to this one ({own})", metadata.uid()));
    }
    let is_open = metadata.mode() & ANYBODY_WRITES != 0;
    is_open.then(|| "can be written by anybody".to_owned())
}

/// The keys of a file's text, in its order.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |at: usize| ends.partition_point(|end| *end < at) + 1;
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut settings = Vec::new();
    flatten(table.get_ref(), "", &mut |key, at, value| {
        let line = line_of(at);
        settings.push((line, Setting { key, value, origin: format!("{}:{line}", path.display()) }));
    });
    // A table knows its keys by name.
    settings.sort_by_key(|(line, _)| *line);
    Ok(settings.into_iter().map(|(_, setting)| setting).collect())
}

fn flatten(table: &DeTable<'_>, above: &str, add: &mut impl FnMut(String, usize, Raw)) {
    for (name, value) in table {
        let key = if above.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{above}.{}", name.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(below) => flatten(below, &key, add),
            _ => add(key, name.span().start, raw(value)),
        }
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => Raw::Integer(number.to_string()),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(values) => Raw::List(values.iter().map(raw).collect()),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

/// The project's file: `hands.toml` in the directory or the nearest above it.
pub(crate) fn project_file(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|dir| dir.join("hands.toml")).find(|file| file.is_file())
}
