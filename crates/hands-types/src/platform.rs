//! What an action asks of a worker and what a worker offers.

use std::collections::BTreeMap;

mod layers;

/// The `PATH` of an action that names none.
pub const FIXED_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The `LANG` of an action that names none.
pub const FIXED_LANG: &str = "C.UTF-8";

pub use layers::{BadLayer, Layer, Layers, Root};

/// An action's platform: sorted properties, in which one name may stand more than once (REAPI v2, `Platform`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    properties: Vec<(String, String)>,
}

impl Platform {
    /// Sorts and deduplicates the properties.
    pub fn new(mut properties: Vec<(String, String)>) -> Self {
        properties.sort();
        properties.dedup();
        Self { properties }
    }

    /// The properties by name, then value.
    pub fn properties(&self) -> &[(String, String)] {
        &self.properties
    }

    /// The first value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a property.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.properties.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// What an action takes while it runs, or what a worker has to give.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resources {
    /// Thousandths of a cpu. One slot is one cpu.
    pub cpu_millis: u32,
    /// Bytes of memory; 0 asks for none in particular.
    pub memory: u64,
    /// Counters such as `gpu`, by name.
    pub custom: BTreeMap<String, u32>,
}

impl Resources {
    /// Whether `wanted` fits into what is here.
    pub fn holds(&self, wanted: &Self) -> bool {
        self.cpu_millis >= wanted.cpu_millis
            && self.memory >= wanted.memory
            && wanted.custom.iter().all(|(k, n)| self.custom.get(k).copied().unwrap_or(0) >= *n)
    }

    /// What of `wanted` does not fit into what is here.
    #[must_use]
    pub fn lacks(&self, wanted: &Self) -> Self {
        let beyond = wanted.custom.iter().map(|(name, n)| {
            (name.clone(), n.saturating_sub(self.custom.get(name).copied().unwrap_or(0)))
        });
        Self {
            cpu_millis: wanted.cpu_millis.saturating_sub(self.cpu_millis),
            memory: wanted.memory.saturating_sub(self.memory),
            custom: beyond.filter(|(_, n)| *n > 0).collect(),
        }
    }

    /// Whether both take of the same.
    pub fn shares(&self, other: &Self) -> bool {
        let both = |a: u64, b: u64| a > 0 && b > 0;
        both(self.cpu_millis.into(), other.cpu_millis.into())
            || both(self.memory, other.memory)
            || self
                .custom
                .iter()
                .any(|(k, n)| *n > 0 && other.custom.get(k).is_some_and(|n| *n > 0))
    }
}

/// One spelling for operating systems; REAPI's lexicon is lower case, real clients are not.
pub fn os_family(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "darwin" | "osx" | "mac" | "macosx" => "macos".to_owned(),
        _ => lower,
    }
}

/// One spelling for instruction sets: `arm64`, `arm-a64` and `aarch64` are the same.
pub fn isa(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "x86-64" | "amd64" | "x64" => "x86_64".to_owned(),
        "arm64" | "arm-a64" | "armv8" => "aarch64".to_owned(),
        _ => lower,
    }
}

/// Property names that we define or understand.
pub mod property {
    /// Operating system, as REAPI's platform lexicon has it; compared without regard to case.
    pub const OS: &str = "OSFamily";
    /// Instruction set.
    pub const ISA: &str = "ISA";
    /// Digest of the part of the worker's own file system that the action may see.
    pub const HOST_ROOT: &str = "host-root";
    /// `none`, `loopback` or `host`.
    pub const NETWORK: &str = "network";
    /// Isolation level that the worker gives.
    pub const ISOLATION: &str = "isolation";
    /// A tag that a worker must carry; may stand more than once.
    pub const TAG: &str = "tag";
    /// Cpus, a decimal number.
    pub const CPU: &str = "cpu";
    /// Memory in bytes, or with K, M, G, T (powers of 1024).
    pub const MEMORY: &str = "memory";
    /// `PATH=HASH/SIZE`: a directory tree that is mounted read-only at an absolute path; `/=HASH/SIZE,HASH/SIZE…`: the
    /// whole root, topmost first. [`super::Layers`] reads it.
    pub const LAYER: &str = "layer";
    /// Absolute path at which the input root appears (Chromium's and reclient's convention).
    pub const ROOT_PATH: &str = "InputRootAbsolutePath";
    /// `memory` (the default) or `disk`: where what the action writes is kept.
    pub const SCRATCH: &str = "scratch";
    /// `overlay` (the default) or `copy`: how the input root is made. In a copy input directories can be renamed.
    pub const INPUT_ROOT: &str = "input-root";
    /// `userns` lets the action make user namespaces of its own.
    pub const PRIVILEGE: &str = "privilege";
}
