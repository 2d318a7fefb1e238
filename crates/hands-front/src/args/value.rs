//! Values of flags: how they are written and what is said when they are not.

use std::ffi::OsString;
use std::fmt;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use hands_types::limits::MIN_MEMORY;
use hands_types::{Word, parse_size};

/// Reads `500ms`, `90` or `90s`, `5m`, `1h30m`, `2d`. Never zero: nothing can be done in no time.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = hands_types::parse_duration(text)?;
    if time.is_zero() { Err("must be longer than no time at all".to_owned()) } else { Ok(time) }
}

/// The same for what a hub bounds: how long a command may run or wait.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time > hands_types::limits::MAX_TIMEOUT {
        return Err("is longer than the 7 days that a hub accepts".to_owned());
    }
    Ok(time)
}

/// Reads one of a few words, and names them where it is none.
pub fn word<W: Word + Send + Sync>() -> impl TypedValueParser<Value = W> {
    PossibleValuesParser::new(W::NAMES.iter().copied())
        .map(|text| W::read(&text).expect("the parser lets nothing else through"))
}

/// Reads a whole number of a type that says which ones there are.
pub fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ParseIntError| match (error.kind(), text.starts_with('-')) {
        (IntErrorKind::PosOverflow | IntErrorKind::NegOverflow, _) => "is out of range".to_owned(),
        // Where it is one but for its sign.
        (_, true) if text[1..].parse::<u32>().is_ok() => "must not be negative".to_owned(),
        _ => "expected a whole number such as 2".to_owned(),
    })
}

/// Reads a count that can't be zero.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("expected a number such as 8".to_owned()),
    }
}

/// A variable for the action: set here, or copied from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvItem {
    /// Its name.
    pub name: String,
    /// Its value; none to copy it.
    pub value: Option<String>,
}

impl FromStr for EnvItem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("expected NAME or NAME=VALUE".to_owned());
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

/// A platform property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected NAME=VALUE".to_owned()),
        }
    }
}

/// So many of something that a worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name, as actions ask for it.
    pub name: String,
    /// How many there are.
    pub count: u32,
}

impl FromStr for Counter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map(|(name, count)| (name, count.parse())) {
            Some((name, Ok(count))) if !name.is_empty() && count > 0 => {
                Ok(Self { name: name.to_owned(), count })
            }
            _ => Err("expected NAME=N, such as gpu=2".to_owned()),
        }
    }
}

/// A number of cpus, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Thousandths of a cpu.
    pub millis: u32,
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match hands_types::parse_cpus(text) {
            Some(millis) => Ok(Self { millis }),
            None if text.contains('0') && text.bytes().all(|b| matches!(b, b'0' | b'.' | b'm')) => {
                Err("must be more than 0".to_owned())
            }
            None => Err("expected a number of cpus such as 2, 0.5 or 500m".to_owned()),
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.millis / 1_000, self.millis % 1_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:03}").trim_end_matches('0'))
    }
}

/// What is said of a size that can't hold anything: as a rule its unit was forgotten.
fn too_little(bytes: u64) -> String {
    let least = format!("the least is {}M", MIN_MEMORY >> 20);
    match bytes {
        1 => format!("1 byte: did you mean 1G? {least}"),
        2..=64 => format!("{bytes} bytes: did you mean {bytes}G? {least}"),
        65..=65_536 => format!("{bytes} bytes: did you mean {bytes}M? {least}"),
        _ => format!("{bytes} bytes: {least}"),
    }
}

/// An amount of memory, or of disk: at least [`MIN_MEMORY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// Bytes.
    pub bytes: u64,
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected an amount of memory such as 512M or 4G".to_owned();
        match parse_size(text) {
            Some(bytes @ MIN_MEMORY..) => Ok(Self { bytes }),
            Some(0) => Err("must be more than 0".to_owned()),
            Some(bytes) => Err(too_little(bytes)),
            None => Err(wrong()),
        }
    }
}

/// Turns an argument into text, or says which one can't be: REAPI's commands are UTF-8.
pub fn text(argument: &OsString) -> Result<String, String> {
    argument.to_str().map(str::to_owned).ok_or_else(|| {
        format!("the argument {} is not UTF-8", argument.to_string_lossy().escape_debug())
    })
}
