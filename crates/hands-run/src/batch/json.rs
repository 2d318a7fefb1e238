//! A command as a JSON object on one line.

use std::collections::BTreeMap;
use std::time::Duration;

use hands_front::args::ActionArgs;
use hands_front::args::value::{self, Cpus, EnvItem, MemorySize};
use hands_front::shell_quoted;
use hands_types::UnknownWord;
use hands_types::limits::MAX_TIMEOUT;
use serde::Deserialize;

use crate::batch::source::{Task, shell_argv};

/// What is wrong with a line, and where.
#[derive(Debug)]
pub(crate) struct JsonError {
    /// From 1.
    pub(crate) column: usize,
    pub(crate) why: String,
}

/// The object's keys. An unknown one is an error: a misspelt `timeout` must not run for ever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    argv: Option<Vec<String>>,
    command: Option<String>,
    #[serde(default)]
    input: OneOrMany,
    #[serde(default)]
    output: OneOrMany,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    timeout: Option<Time>,
    #[serde(default)]
    tag: OneOrMany,
    network: Option<String>,
    cpu: Option<TextOrNumber>,
    memory: Option<TextOrNumber>,
    priority: Option<i32>,
    retry: Option<u32>,
    cache: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(f64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Number(serde_json::Number),
    Text(String),
}

impl TextOrNumber {
    fn text(self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(t) => t,
        }
    }
}

/// Reads one line.
pub(crate) fn task(number: usize, line: &str, action: &ActionArgs) -> Result<Task, JsonError> {
    let parsed: Line = serde_json::from_str(line).map_err(|error| {
        // The library says "… at line 1 column 9"; the place is said by the caller.
        let text = error.to_string();
        let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
        JsonError { column: error.column().max(1), why: why.to_owned() }
    })?;
    let at = |key: &str, why: String| JsonError {
        column: column_of(line, key),
        why: format!("`{key}` {why}"),
    };
    // What the value is, and not the key, is wrong.
    let bad = |key: &str, why: String| JsonError {
        column: column_of(line, key),
        why: format!("`{key}`: {why}"),
    };
    let (title, argv) = match (parsed.argv, parsed.command) {
        (Some(argv), None) if !argv.is_empty() => {
            (argv.iter().map(|a| shell_quoted(a)).collect::<Vec<_>>().join(" "), argv)
        }
        (Some(_), None) => return Err(at("argv", "is empty".to_owned())),
        (None, Some(command)) => {
            let argv = shell_argv(&command);
            (command, argv)
        }
        (Some(_), Some(_)) => {
            return Err(at("command", "and `argv` exclude each other".to_owned()));
        }
        (None, None) => {
            return Err(JsonError {
                column: 1,
                why: "needs `argv` (a list) or `command` (a shell command)".to_owned(),
            });
        }
    };
    let mut own = action.clone();
    own.input.extend(parsed.input.into_vec().into_iter().map(Into::into));
    own.output.extend(parsed.output.into_vec());
    own.tag.extend(parsed.tag.into_vec());
    own.env.extend(parsed.env.into_iter().map(|(name, value)| EnvItem { name, value }));
    match parsed.timeout {
        None => {}
        Some(Time::Text(text)) => {
            own.timeout = Some(value::timeout(&text).map_err(|why| bad("timeout", why))?);
        }
        Some(Time::Seconds(s)) => {
            let time = Duration::try_from_secs_f64(s)
                .ok()
                .filter(|time| *time >= Duration::from_millis(1) && *time <= MAX_TIMEOUT);
            own.timeout = Some(time.ok_or_else(|| {
                let why = "must be a number of seconds from 0.001 to 604800 (7 days)";
                at("timeout", why.to_owned())
            })?);
        }
    }
    if let Some(network) = parsed.network {
        own.network =
            Some(network.parse().map_err(|e: UnknownWord| bad("network", e.to_string()))?);
    }
    if let Some(cpu) = parsed.cpu {
        own.cpu = Some(cpu.text().parse::<Cpus>().map_err(|why| bad("cpu", why))?);
    }
    if let Some(memory) = parsed.memory {
        own.memory = Some(memory.text().parse::<MemorySize>().map_err(|why| bad("memory", why))?);
    }
    own.priority = parsed.priority.unwrap_or(own.priority);
    own.retry = parsed.retry.or(own.retry);
    own.cache = parsed.cache.unwrap_or(own.cache);
    Ok(Task { number, id: parsed.id, title: one_line(&title), argv, action: Some(Box::new(own)) })
}

/// Where a key stands in the line, from 1.
fn column_of(line: &str, key: &str) -> usize {
    line.find(&format!("\"{key}\"")).map_or(1, |byte| byte + 1)
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}
