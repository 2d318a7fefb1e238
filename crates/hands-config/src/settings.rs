//! Every setting, and who may set it.

mod apply;
mod engine;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hands_link::Address;
use hands_types::{Isolation, Network, limits};

use crate::file::{self, Raw, Setting};
use crate::trust::Project;
use crate::{ConfigError, Environment, Logins, Places};
pub use apply::hidden;
use engine::EngineSection;

/// Warnings that are said one by one.
const WARNINGS: usize = 20;

/// Settings that a command line can give for every command.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--cluster`.
    pub cluster: Option<String>,
    /// `--engine`.
    pub engine: Option<String>,
    /// `--local`.
    pub local: bool,
    /// `--jobs`.
    pub jobs: Option<usize>,
}

/// Where work goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterChoice {
    /// The user's own agent, with the hub and worker that it embeds.
    #[default]
    Local,
    /// A hub or another engine.
    Hub {
        /// Its name in the configuration, or the address as it was given.
        name: String,
        /// Its address.
        address: Address,
        /// REAPI's instance name.
        instance: String,
    },
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where work goes.
    pub cluster: ClusterChoice,
    /// `jobs`: actions that a front-end has under way at once; None is its own default.
    pub jobs: Option<usize>,
    /// `[run]`.
    pub run: RunDefaults,
    /// `[worker]`: of the embedded worker, and of `hands worker`.
    pub worker: WorkerSettings,
    /// `store.quota`, bytes; None is 20 GiB or a tenth of the disk, whichever is less.
    pub store_quota: Option<u64>,
    /// `store.durability = "power"`: acknowledged blobs also survive a power cut.
    pub durable_against_power: bool,
    /// `agent.idle`: how long an idle agent stays.
    pub agent_idle: Duration,
    /// `worker = true`, or `agent.worker` where the file has a `[worker]` of its own: this machine also works for the
    /// cluster that its user has logged in to.
    pub works_for_others: bool,
    /// What does not stop anything but should be said: unknown keys and variables.
    pub warnings: Vec<String>,
    /// The project's file, where there is one.
    pub project: Option<PathBuf>,
}

/// What `hands run` takes where no flag says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunDefaults {
    /// `run.input`: paths; those of a project's file are relative to it and already joined.
    pub input: Vec<PathBuf>,
    /// `run.env`: `K` or `K=V`.
    pub env: Vec<String>,
    /// `run.timeout`.
    pub timeout: Option<Duration>,
    /// `run.cpu`.
    pub cpu: Option<u32>,
    /// `run.memory`, bytes.
    pub memory: Option<u64>,
    /// `run.network`.
    pub network: Option<Network>,
}

/// What a worker gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSettings {
    /// `worker.slots`: actions at once; None is one per cpu.
    pub slots: Option<u32>,
    /// `worker.memory`, bytes; None is what the machine has.
    pub memory: Option<u64>,
    /// `worker.expose`: absolute paths that actions may read.
    pub expose: Vec<PathBuf>,
    /// `worker.tags`.
    pub tags: Vec<String>,
    /// `worker.isolation`.
    pub isolation: Option<Isolation>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    User,
    Project,
    Variable,
    Flag,
}

impl Settings {
    /// Reads files and variables and puts the flags on top.
    pub fn load(
        places: &Places,
        environment: &Environment,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self {
            cluster: ClusterChoice::Local,
            jobs: None,
            run: RunDefaults::default(),
            worker: WorkerSettings::default(),
            store_quota: None,
            durable_against_power: false,
            agent_idle: limits::AGENT_IDLE,
            works_for_others: false,
            warnings: Vec::new(),
            project: None,
        };
        let mut draft = Draft::default();
        let user_file = places.user_file();
        for own in [user_file.clone(), places.logins().dir().to_owned()] {
            if let Some(why) = file::stranger(&own) {
                return Err(ConfigError::Foreign { path: own, why });
            }
        }
        let text = file::text(&user_file)?.unwrap_or_default();
        for setting in file::parse(&user_file, &text)? {
            settings.apply(&mut draft, setting, Layer::User, &user_file)?;
        }
        settings.project = environment
            .directory
            .as_deref()
            .and_then(file::project_file)
            .filter(|p| *p != user_file);
        if let Some(project) = settings.project.clone()
            && let Some(text) = file::text(&project)?
        {
            let all = file::parse(&project, &text)?;
            Project::of(places, &project, &text, &all)?.check(places)?;
            for setting in all {
                settings.apply(&mut draft, setting, Layer::Project, &project)?;
            }
        }
        for setting in variables(environment, &mut settings.warnings)? {
            settings.apply(&mut draft, setting, Layer::Variable, &user_file)?;
        }
        for setting in flags.settings() {
            settings.apply(&mut draft, setting, Layer::Flag, &user_file)?;
        }
        if let Some(more) = settings.warnings.len().checked_sub(WARNINGS).filter(|more| *more > 0) {
            settings.warnings.truncate(WARNINGS);
            settings.warnings.push(format!("and {more} more such keys"));
        }
        settings.cluster =
            if flags.local { ClusterChoice::Local } else { draft.choose(&places.logins())? };
        Ok(settings)
    }
}

impl Flags {
    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (text, key, origin) in
            [(&self.cluster, "cluster", "--cluster"), (&self.engine, engine::URL, "--engine")]
        {
            if let Some(text) = text {
                let value = Raw::Text(text.clone());
                settings.push(Setting { key: key.to_owned(), value, origin: origin.to_owned() });
            }
        }
        if let Some(jobs) = self.jobs {
            let value = Raw::Integer(jobs.to_string());
            settings.push(Setting { key: "jobs".to_owned(), value, origin: "--jobs".to_owned() });
        }
        settings
    }
}

/// Clusters by name, and which was asked for; looked up when all layers have been read.
#[derive(Default)]
struct Draft {
    clusters: BTreeMap<String, NamedCluster>,
    wanted: Option<Setting>,
    instance: Option<String>,
    engines: BTreeMap<Layer, EngineSection>,
}

#[derive(Default)]
struct NamedCluster {
    address: Option<Address>,
    instance: String,
}

impl Draft {
    fn choose(self, logins: &Logins) -> Result<ClusterChoice, ConfigError> {
        let Some(wanted) = self.wanted else {
            let default = logins.default_name().and_then(|name| Some((logins.find(&name)?, name)));
            return Ok(default.map_or(ClusterChoice::Local, |(address, name)| {
                ClusterChoice::Hub { name, address, instance: self.instance.unwrap_or_default() }
            }));
        };
        if wanted.key == engine::URL {
            return engine::choose(&wanted, &self.engines, self.instance);
        }
        let Raw::Text(name) = &wanted.value else { return Ok(ClusterChoice::Local) };
        if name == "local" {
            return Ok(ClusterChoice::Local);
        }
        let wrong = |why: String| ConfigError::Value {
            origin: wanted.origin.clone(),
            key: wanted.key.clone(),
            why,
        };
        if let Some(cluster) = self.clusters.get(name) {
            let address = cluster.address.clone();
            let address = address.ok_or_else(|| {
                wrong(format!("names {name}, which has no `clusters.{name}.address`"))
            })?;
            let instance = self.instance.unwrap_or_else(|| cluster.instance.clone());
            return Ok(ClusterChoice::Hub { name: name.clone(), address, instance });
        }
        let address = match logins.find(name) {
            Some(address) => Ok(address),
            None => name.parse::<Address>(),
        };
        match address {
            Ok(address) => Ok(ClusterChoice::Hub {
                name: name.clone(),
                address,
                instance: self.instance.unwrap_or_default(),
            }),
            Err(error) => {
                let mut known: Vec<String> = self.clusters.into_keys().collect();
                known.extend(logins.names());
                let known = if known.is_empty() {
                    "none are configured".to_owned()
                } else {
                    known.join(", ")
                };
                Err(wrong(format!(
                    "is neither a configured cluster ({known}) nor an address: {error}"
                )))
            }
        }
    }
}

/// Which variable sets which key.
const VARIABLES: &[(&str, &str)] = &[
    ("HANDS_CLUSTER", "cluster"),
    ("HANDS_INSTANCE", "instance"),
    ("HANDS_ENGINE", engine::URL),
    ("HANDS_ENGINE_HEADERS", "engine.headers"),
    ("HANDS_JOBS", "jobs"),
    ("HANDS_WORKER_SLOTS", "worker.slots"),
    ("HANDS_WORKER_MEMORY", "worker.memory"),
    ("HANDS_WORKER_EXPOSE", "worker.expose"),
    ("HANDS_WORKER_TAGS", "worker.tags"),
    ("HANDS_ISOLATION", "worker.isolation"),
    ("HANDS_STORE_QUOTA", "store.quota"),
    ("HANDS_DURABILITY", "store.durability"),
    ("HANDS_AGENT_IDLE", "agent.idle"),
];

/// Variables with a meaning outside of the settings.
const OTHER_VARIABLES: &[&str] = &["HANDS_CC_LOG", "HANDS_HOME", "HANDS_INSIDE", "HANDS_LOG"];

fn variables(
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (name, value) in &environment.variables {
        let Some(name) = name.to_str().filter(|n| n.starts_with("HANDS_")) else { continue };
        let Some((_, key)) = VARIABLES.iter().find(|(variable, _)| *variable == name) else {
            if !OTHER_VARIABLES.contains(&name) {
                warnings.push(format!("{name} is not a variable that hands knows"));
            }
            continue;
        };
        let value = value.to_str().ok_or_else(|| ConfigError::Value {
            origin: name.to_owned(),
            key: (*key).to_owned(),
            why: "is not UTF-8".to_owned(),
        })?;
        if !value.is_empty() {
            settings.push(Setting {
                key: (*key).to_owned(),
                value: Raw::Text(value.to_owned()),
                origin: name.to_owned(),
            });
        }
    }
    Ok(settings)
}
