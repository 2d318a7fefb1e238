//! One configuration file as a list of keys with their lines.

use std::fs;
use std::io;
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

/// Reads a file; none if it is not there.
pub(crate) fn text(path: &Path) -> Result<Option<String>, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// The keys of a file's text, in its order.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let line_of = |at: usize| {
        text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
    };
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
