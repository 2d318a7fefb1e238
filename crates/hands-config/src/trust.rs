//! What a project's file asks for and may not simply have, and the record of whom the user allowed it.
//!
//! A project's file comes with the project: whoever wrote it must not decide where this user's files go, or what of this
//! machine actions see. So the user is shown those lines (`hands trust`), and allows this very text: the record holds
//! the file's digest, and a file that has changed since asks again.

mod record;

use std::fs;
use std::path::{Path, PathBuf};

use hands_types::{Digest, DigestFunction, Network};

use crate::file::{self, Raw, Setting};
use crate::{ConfigError, Places};
use record::Record;

/// A project's file as `hands trust` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The file, its links resolved.
    pub file: PathBuf,
    /// What the file holds.
    pub digest: Digest,
    /// What it asks for, in the file's order.
    pub asks: Vec<Ask>,
    /// Whether the user allowed this very text.
    pub trusted: bool,
}

/// One line of a project's file that takes the user's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// File and line.
    pub origin: String,
    /// The key.
    pub key: String,
    /// The value, as TOML has it.
    pub value: String,
    /// What the user should know before they agree: what the line decides.
    pub why: &'static str,
}

impl Ask {
    fn of(setting: &Setting, why: &'static str) -> Self {
        Self {
            origin: setting.origin.clone(),
            key: setting.key.clone(),
            value: setting.value.to_toml(),
            why,
        }
    }
}

impl Project {
    /// The project of a directory: the `hands.toml` in it or the nearest above it. None where there is none, or where it
    /// is the user's own file.
    pub fn find(places: &Places, directory: &Path) -> Result<Option<Self>, ConfigError> {
        let Some(file) = file::project_file(directory).filter(|p| *p != places.user_file()) else {
            return Ok(None);
        };
        let Some(text) = file::text(&file)? else { return Ok(None) };
        let settings = file::parse(&file, &text)?;
        Self::of(places, &file, &text, &settings).map(Some)
    }

    /// The same of a file that was read already.
    pub(crate) fn of(
        places: &Places,
        file: &Path,
        text: &str,
        settings: &[Setting],
    ) -> Result<Self, ConfigError> {
        let mut asks = Vec::new();
        let is_strangers = file::stranger(file).is_some();
        for setting in settings {
            let asked = ask(setting, &places.user_file())?;
            let why = "the file is in the hands of another user";
            asks.extend(asked.or_else(|| is_strangers.then(|| Ask::of(setting, why))));
        }
        let digest = hands_tree::hash(DigestFunction::Sha256, text.as_bytes());
        let file = fs::canonicalize(file)
            .map_err(|source| ConfigError::Read { path: file.to_owned(), source })?;
        // Most projects ask for nothing, and then there is nothing to look up.
        let trusted = !asks.is_empty()
            && Record::read(places, &file)?.is_some_and(|record| record.digest == digest);
        Ok(Self { file, digest, asks, trusted })
    }

    /// Records that the user allows this text.
    pub fn trust(&mut self, places: &Places) -> Result<(), ConfigError> {
        Record { file: self.file.clone(), digest: self.digest }.write(places)?;
        self.trusted = true;
        Ok(())
    }

    /// Takes the consent back, whichever text it was given for; false when there was none.
    pub fn revoke(&mut self, places: &Places) -> Result<bool, ConfigError> {
        self.trusted = false;
        Record::remove(places, &self.file)
    }

    /// Refuses what the user has not allowed.
    pub(crate) fn check(&self, places: &Places) -> Result<(), ConfigError> {
        let Some(first) = self.asks.first().filter(|_| !self.trusted) else { return Ok(()) };
        Err(ConfigError::Untrusted {
            file: self.file.clone(),
            ask: first.clone(),
            n_more: self.asks.len() - 1,
            changed: Record::read(places, &self.file)?.is_some(),
        })
    }
}

/// Paths that trusted projects want actions to see (`worker.expose`). The agent serves all projects of its user, so it
/// adds those of all of them; a project that has changed or gone adds nothing.
pub fn trusted_exposures(places: &Places) -> Result<Vec<PathBuf>, ConfigError> {
    let mut all = Vec::new();
    for record in Record::all(places)? {
        let Ok(Some(text)) = file::text(&record.file) else { continue };
        if hands_tree::hash(DigestFunction::Sha256, text.as_bytes()) != record.digest {
            continue;
        }
        for setting in file::parse(&record.file, &text)? {
            if setting.key == "worker.expose" {
                all.extend(setting.absolute_paths()?);
            }
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// What the user should know of one line; none where a project may set it freely. Fails where it never may.
fn ask(setting: &Setting, user_file: &Path) -> Result<Option<Ask>, ConfigError> {
    let asks = |why| Ok(Some(Ask::of(setting, why)));
    let never = |why| {
        Err(ConfigError::Refused {
            origin: setting.origin.clone(),
            key: setting.key.clone(),
            why,
            cure: format!("remove the line; if you want it, set it in {}", user_file.display()),
        })
    };
    let section = setting.key.split('.').next().unwrap_or_default();
    match (section, setting.key.as_str(), &setting.value) {
        ("cluster" | "clusters" | "instance" | "engine", ..) => {
            asks("it decides where your files are sent")
        }
        ("workers", ..) => asks("it names machines to log in to"),
        (_, "worker.expose", _) => asks("it decides what of this machine actions see"),
        (_, "run.network", Raw::Text(network)) if network == Network::Host.name() => {
            asks("it lets commands use this machine's network")
        }
        ("worker", ..) => never(
            "may not be set by a project's file: it decides what of this machine others may use",
        ),
        ("store" | "agent", ..) => {
            never("may not be set by a project's file: it concerns this machine")
        }
        _ => Ok(None),
    }
}
