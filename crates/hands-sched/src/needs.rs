//! What an action asks of a worker, from its REAPI platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hands_types::limits::MIN_MEMORY;
use hands_types::platform::{isa, os_family, property};
use hands_types::{Platform, Resources, parse_cpus, parse_size};

/// Hints of other engines and instructions for staging: they say nothing about which worker can take an action.
/// `EstimatedCPU`, `EstimatedMemory`, `cpu_count` and `memory_kb` are read as resources.
pub(crate) const IGNORED: &[&str] = &[
    property::LAYER,
    property::ROOT_PATH,
    property::SCRATCH,
    property::INPUT_ROOT,
    "EstimatedComputeUnits",
    "EstimatedFreeDiskBytes",
    "cache-silo-key",
    "dockerNetwork",
    "dockerPrivileged",
    "dockerRunAsRoot",
    "no-cache",
    "no-remote-cache",
    "persistentWorkerKey",
    "persistentWorkerProtocol",
    "preserve-workspace",
    "recycle-runner",
    "requires-network",
    "requires-worker-protocol",
    "supports-workers",
    "workload-isolation-type",
];

/// What a worker must offer for an action, and what the action takes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needs {
    properties: BTreeMap<String, BTreeSet<String>>,
    /// What the action takes. A counter that a worker does not count is matched as a property of that worker instead.
    pub resources: Resources,
}

impl Needs {
    /// Asks for one cpu and nothing else.
    pub const fn new() -> Self {
        let resources = Resources { cpu_millis: 1000, memory: 0, custom: BTreeMap::new() };
        Self { properties: BTreeMap::new(), resources }
    }

    /// Reads a REAPI platform. `cpu`, `memory` and their foreign names become resources; a whole number under an unknown
    /// name (`gpu=2`) or under `resources:NAME` becomes a counter; the names of the documented list are ignored; every
    /// other property must be offered by a worker, `network` and `privilege` only by workers that restrict them.
    pub fn from_platform(platform: &Platform) -> Result<Self, NeedsError> {
        let mut needs = Self::new();
        for (name, value) in platform.properties() {
            let bad = |expected| NeedsError { name: name.clone(), value: value.clone(), expected };
            match name.as_str() {
                ignored if IGNORED.contains(&ignored) => {}
                property::CPU | "cpu_count" | "EstimatedCPU" => {
                    needs.resources.cpu_millis = parse_cpus(value)
                        .ok_or_else(|| bad("a number of cpus such as 2 or 0.5 or 500m"))?;
                }
                property::MEMORY => {
                    needs.resources.memory = parse_size(value)
                        .filter(|bytes| *bytes == 0 || *bytes >= MIN_MEMORY)
                        .ok_or_else(|| {
                            bad("a number of bytes such as 2G or 512M, at least 4M: less can't hold the start of a command")
                        })?;
                }
                "EstimatedMemory" => {
                    let bytes = parse_size(value)
                        .ok_or_else(|| bad("a number of bytes such as 2G or 512M"))?;
                    needs.resources.memory = estimated(bytes);
                }
                "memory_kb" => {
                    let kib: u64 = value.parse().map_err(|_| bad("a whole number of KiB"))?;
                    let bytes = kib.checked_mul(1024).ok_or_else(|| bad("less than 2^54 KiB"))?;
                    needs.resources.memory = estimated(bytes);
                }
                _ => {
                    let counter = name.strip_prefix("resources:");
                    let single = platform.all(name).nth(1).is_none();
                    match (counter, value.parse::<u32>()) {
                        (Some(counter), Ok(n)) => {
                            needs.resources.custom.insert(counter.to_owned(), n);
                        }
                        (Some(_), Err(_)) => return Err(bad("a whole number")),
                        (None, Ok(n)) if single && n.to_string() == *value && !fixed(name) => {
                            needs.resources.custom.insert(name.clone(), n);
                        }
                        (None, _) => needs.require(name, value),
                    }
                }
            }
        }
        Ok(needs)
    }

    /// Adds a property that the worker must offer. Names and values of operating system and instruction set are brought
    /// to one spelling (`arch=arm64` and `ISA=aarch64` are the same).
    pub fn require(&mut self, name: &str, value: &str) {
        let (name, value) = normalize(name, value);
        self.properties.entry(name).or_default().insert(value);
    }

    /// The properties, in the spelling in which they are compared.
    pub const fn properties(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.properties
    }
}

impl Default for Needs {
    fn default() -> Self {
        Self::new()
    }
}

/// A property whose value can't be read. The user's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedsError {
    /// The property.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for NeedsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "platform property {}={}: expected {}",
            self.name.escape_debug(),
            self.value.escape_debug(),
            self.expected
        )
    }
}

impl std::error::Error for NeedsError {}

/// One spelling for what names operating systems and instruction sets.
pub(crate) fn normalize(name: &str, value: &str) -> (String, String) {
    match name.to_ascii_lowercase().as_str() {
        "osfamily" | "os" => (property::OS.to_owned(), os_family(value)),
        "isa" | "arch" | "cpu_arch" => (property::ISA.to_owned(), isa(value)),
        _ => (name.to_owned(), value.to_owned()),
    }
}

/// The name under which a user of our commands knows a property.
pub(crate) fn short_name(name: &str) -> &str {
    match name {
        property::OS => "os",
        property::ISA => "arch",
        other => other,
    }
}

/// Properties that are never counters, whatever their value looks like.
fn fixed(name: &str) -> bool {
    matches!(
        name,
        property::TAG
            | property::HOST_ROOT
            | property::NETWORK
            | property::ISOLATION
            | property::PRIVILEGE
    )
}

/// An estimate is no promise to stay below it: one that can't hold the start of a command is raised.
fn estimated(bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { bytes.max(MIN_MEMORY) }
}
