//! What each key means.

use std::path::{Component, Path, PathBuf};

use hands_link::Address;
use hands_types::limits::{MAX_TIMEOUT, MIN_MEMORY};
use hands_types::{Word, parse_duration, parse_size};

use super::{Draft, Layer, Settings, engine};
use crate::ConfigError;
use crate::file::{Raw, Setting};

impl Settings {
    pub(super) fn apply(
        &mut self,
        draft: &mut Draft,
        setting: Setting,
        layer: Layer,
        file: &Path,
    ) -> Result<(), ConfigError> {
        let s = &setting;
        match s.key.as_str() {
            "cluster" => {
                s.text()?;
                draft.wanted = Some(setting);
            }
            "instance" => draft.instance = Some(s.text()?),
            engine::URL => {
                draft.engines.entry(layer).or_default().url = Some(s.engine()?);
                draft.wanted = Some(setting);
            }
            "engine.headers" => draft.engines.entry(layer).or_default().headers = s.headers()?,
            "engine.instance" => {
                draft.engines.entry(layer).or_default().instance = Some(s.text()?);
            }
            "engine.ca" => draft.engines.entry(layer).or_default().ca = Some(s.absolute_path()?),
            "engine.certificate" => {
                draft.engines.entry(layer).or_default().certificate = Some(s.absolute_path()?);
            }
            "engine.key" => draft.engines.entry(layer).or_default().key = Some(s.absolute_path()?),
            "jobs" => self.jobs = Some(s.number(1, 100_000)?),
            "run.input" => self.run.input = inputs(s, layer, file)?,
            "run.env" => self.run.env = s.texts(None)?,
            "run.timeout" => {
                let timeout = s.duration()?;
                if timeout.is_zero() || timeout > MAX_TIMEOUT {
                    return Err(s.expected("a time such as \"90s\" or \"15m\", and at most \"7d\""));
                }
                self.run.timeout = Some(timeout);
            }
            "run.cpu" => self.run.cpu = Some(s.number(1, 4096)?),
            "run.memory" => self.run.memory = Some(s.size()?),
            "run.network" => self.run.network = Some(s.word()?),
            "worker.slots" => self.worker.slots = Some(s.number(1, 4096)?),
            "worker.memory" => self.worker.memory = Some(s.size()?),
            "worker.expose" => {
                self.worker.expose = s.absolute_paths()?;
                let hidden = self.worker.expose.iter().filter_map(|path| hidden(path));
                self.warnings.extend(hidden.map(|why| format!("{}: {}: {why}", s.origin, s.key)));
            }
            "worker.tags" => self.worker.tags = s.texts(Some(','))?,
            "worker.isolation" => {
                self.worker.isolation = Some(s.word()?);
            }
            "store.quota" => self.store_quota = Some(s.size()?),
            "store.durability" => {
                self.durable_against_power = s.one_of(&["second", "power"])? == "power";
            }
            "agent.idle" => self.agent_idle = s.duration()?,
            "worker" | "agent.worker" => self.works_for_others = s.boolean()?,
            key => match key.strip_prefix("clusters.").and_then(|rest| rest.rsplit_once('.')) {
                Some((name, "address")) => {
                    let text = s.text()?;
                    let address = text
                        .parse::<Address>()
                        .map_err(|e| s.wrong(&format!("is not an address: {e}")))?;
                    draft.clusters.entry(name.to_owned()).or_default().address = Some(address);
                }
                Some((name, "instance")) => {
                    draft.clusters.entry(name.to_owned()).or_default().instance = s.text()?;
                }
                _ => {
                    self.warnings
                        .push(format!("{}: {key} is not a key that hands knows", s.origin));
                }
            },
        }
        Ok(())
    }
}

/// What actions have of their own: nothing of the machine's is seen there, exposed or not.
const OWN: [&str; 5] = ["/tmp", "/var/tmp", "/dev", "/proc", "/home/action"];

/// Why actions do not see a path though it is exposed, unless they do.
pub fn hidden(path: &Path) -> Option<String> {
    let own = OWN.iter().find(|own| path.starts_with(own))?;
    Some(format!(
        "actions do not see {}, for they have a {own} of their own",
        path.display().to_string().escape_debug()
    ))
}

/// Inputs of a file are relative to it; a project's must not reach out of it.
fn inputs(setting: &Setting, layer: Layer, file: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut paths = Vec::new();
    for text in setting.texts(None)? {
        let path = PathBuf::from(&text);
        let leaves =
            path.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir));
        if layer == Layer::Project && (leaves || is_behind_link(base, &text)) {
            return Err(ConfigError::Refused {
                origin: setting.origin.clone(),
                key: setting.key.clone(),
                why: "may only name paths below the project's directory",
                cure: format!(
                    "remove `{}`; give --input for it if you want it",
                    text.escape_debug()
                ),
            });
        }
        paths.push(base.join(path));
    }
    Ok(paths)
}

/// Whether a path leads out of a directory by a link in it. One that is its last name is sent as a link.
fn is_behind_link(base: &Path, path: &str) -> bool {
    let names_target = path.ends_with('/') || path.ends_with("/.");
    let path = base.join(path);
    let followed = if names_target { Some(path.as_path()) } else { path.parent() };
    let real = |path: &Path| path.canonicalize().ok();
    let (Some(base), Some(followed)) = (real(base), followed.and_then(real)) else { return false };
    !followed.starts_with(base)
}

impl Setting {
    pub(super) fn wrong(&self, why: &str) -> ConfigError {
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key.clone(),
            why: why.to_owned(),
        }
    }

    fn expected(&self, what: &str) -> ConfigError {
        self.wrong(&format!("must be {what}, not {}", self.value.describe()))
    }

    pub(super) fn text(&self) -> Result<String, ConfigError> {
        match &self.value {
            Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.expected("a text that is not empty")),
        }
    }

    /// A list of texts; in a variable, one text with `separator` between the items.
    pub(super) fn texts(&self, separator: Option<char>) -> Result<Vec<String>, ConfigError> {
        let expected = || self.expected("a list of texts");
        match (&self.value, separator) {
            (Raw::List(items), _) => items
                .iter()
                .map(|item| match item {
                    Raw::Text(text) if !text.is_empty() => Ok(text.clone()),
                    _ => Err(expected()),
                })
                .collect(),
            (Raw::Text(text), Some(separator)) => {
                Ok(text.split(separator).filter(|t| !t.is_empty()).map(str::to_owned).collect())
            }
            _ => Err(expected()),
        }
    }

    /// A list of absolute paths; in a variable, with colons between them.
    pub(crate) fn absolute_paths(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let paths: Vec<PathBuf> = self.texts(Some(':'))?.into_iter().map(PathBuf::from).collect();
        match paths.iter().find(|p| !p.is_absolute()) {
            None => Ok(paths),
            Some(path) => Err(self.wrong(&format!(
                "holds {}, which is not an absolute path",
                path.display().to_string().escape_debug()
            ))),
        }
    }

    fn word<W: Word>(&self) -> Result<W, ConfigError> {
        match &self.value {
            Raw::Text(text) => W::read(text),
            _ => None,
        }
        .ok_or_else(|| self.expected(&format!("one of {}", W::NAMES.join(", "))))
    }

    fn one_of(&self, words: &[&str]) -> Result<String, ConfigError> {
        match &self.value {
            Raw::Text(text) if words.contains(&text.as_str()) => Ok(text.clone()),
            _ => Err(self.expected(&format!("one of {}", words.join(", ")))),
        }
    }

    fn number<T: TryFrom<u64>>(&self, low: u64, high: u64) -> Result<T, ConfigError> {
        let number = match &self.value {
            Raw::Integer(digits) | Raw::Text(digits) => digits.replace('_', "").parse::<u64>().ok(),
            _ => None,
        };
        number
            .filter(|n| (low..=high).contains(n))
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.expected(&format!("a whole number from {low} to {high}")))
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value {
            Raw::Boolean(value) => Ok(value),
            _ => Err(self.expected("true or false")),
        }
    }

    fn size(&self) -> Result<u64, ConfigError> {
        let size = match &self.value {
            Raw::Integer(text) | Raw::Text(text) => parse_size(text),
            _ => None,
        };
        // As a rule the unit was forgotten.
        size.filter(|size| *size >= MIN_MEMORY)
            .ok_or_else(|| self.expected("a size such as \"512M\" or \"20G\", and at least \"4M\""))
    }

    fn duration(&self) -> Result<std::time::Duration, ConfigError> {
        let duration = match &self.value {
            Raw::Integer(text) | Raw::Text(text) => parse_duration(text).ok(),
            _ => None,
        };
        duration.ok_or_else(|| self.expected("a duration such as \"90s\" or \"15m\""))
    }
}
