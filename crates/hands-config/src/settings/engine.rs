//! `[engine]`: another Remote Execution engine to send work to, and by what it knows us.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hands_link::{Address, Engine};

use super::{ClusterChoice, Layer};
use crate::ConfigError;
use crate::file::Setting;

/// The key that says that work goes to an engine.
pub(super) const URL: &str = "engine.url";

/// What one file, or all variables, say of an engine.
#[derive(Default)]
pub(super) struct EngineSection {
    pub(super) url: Option<Engine>,
    pub(super) instance: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// The engine that was asked for last, with what is configured for it. A section that names another engine's URL keeps
/// its headers and certificates to itself.
pub(super) fn choose(
    wanted: &Setting,
    sections: &BTreeMap<Layer, EngineSection>,
    instance: Option<String>,
) -> Result<ClusterChoice, ConfigError> {
    let mut engine = wanted.engine()?;
    let mut own_instance = None;
    let (mut certificate, mut key) = (None, None);
    for section in sections.values() {
        if section.url.as_ref().is_some_and(|url| (&url.at, url.tls) != (&engine.at, engine.tls)) {
            continue;
        }
        own_instance = section.instance.as_ref().or(own_instance);
        for (name, value) in &section.headers {
            engine.headers.retain(|(known, _)| known != name);
            engine.headers.push((name.clone(), value.clone()));
        }
        engine.ca = section.ca.clone().or(engine.ca);
        certificate = section.certificate.as_ref().or(certificate);
        key = section.key.as_ref().or(key);
    }
    engine.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        _ => return Err(wanted.wrong("needs both `engine.certificate` and `engine.key`, or none")),
    };
    if !engine.tls && (engine.ca.is_some() || engine.identity.is_some()) {
        return Err(wanted.wrong("is without TLS, so certificates have no use: write `grpcs://…`"));
    }
    Ok(ClusterChoice::Hub {
        name: engine.to_string(),
        instance: instance.or_else(|| own_instance.cloned()).unwrap_or_default(),
        address: Address::Engine(Arc::new(engine)),
    })
}

impl Setting {
    pub(super) fn engine(&self) -> Result<Engine, ConfigError> {
        self.text()?.parse().map_err(|error| self.wrong(&format!("is no engine: {error}")))
    }

    /// `Name: value` each, as HTTP writes them; in a variable, one a line.
    pub(super) fn headers(&self) -> Result<Vec<(String, String)>, ConfigError> {
        // The text may be a secret: messages name the header at most.
        let read = |text: String| {
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| self.wrong("holds a header that is not `Name: value`"))?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            let is_token = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            match is_token && value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                true => Ok((name, value)),
                false => Err(self.wrong("holds a header that HTTP can't carry")),
            }
        };
        self.texts(Some('\n'))?.into_iter().map(read).collect()
    }

    pub(super) fn absolute_path(&self) -> Result<PathBuf, ConfigError> {
        let path = PathBuf::from(self.text()?);
        match path.is_absolute() {
            true => Ok(path),
            false => Err(self.wrong("is not an absolute path")),
        }
    }
}
