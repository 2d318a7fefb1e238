//! What a worker has, and whether it meets an action's needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hands_types::{Resources, platform::property};

use crate::needs::{Needs, normalize, short_name};

/// What a worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The worker's name, for people.
    pub name: String,
    /// Values by property name; tags are values of `tag`. A property that stands here for `network` or `privilege`
    /// limits the worker to those values. A worker of isolation `full` that also serves lower levels names them all.
    pub properties: BTreeMap<String, BTreeSet<String>>,
    /// Cpus (one slot is 1000 thousandths), memory and counters such as `gpu`. Memory 0 means that it is not counted.
    pub resources: Resources,
    /// Leases that it takes ahead of free slots, so that it never waits a round trip. 1 or 2 is usual.
    pub ahead: u32,
}

impl Offer {
    /// Whether such a worker could ever take an action with these needs.
    pub fn meets(&self, needs: &Needs) -> bool {
        Profile::new(self).unmet(&self.resources, needs).is_none()
    }
}

/// The part of an offer that many workers have in common: all but name and size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Profile {
    /// In the spelling in which they are compared.
    properties: BTreeMap<String, BTreeSet<String>>,
    counters: BTreeSet<String>,
    counts_memory: bool,
}

impl Profile {
    pub(crate) fn new(offer: &Offer) -> Self {
        let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, values) in &offer.properties {
            for value in values {
                let (name, value) = normalize(name, value);
                properties.entry(name).or_default().insert(value);
            }
        }
        let counters = offer.resources.custom.keys().cloned().collect();
        Self { properties, counters, counts_memory: offer.resources.memory != 0 }
    }

    /// The first need that a worker of this profile and size can never meet; none if it can take the action.
    pub(crate) fn unmet(&self, size: &Resources, needs: &Needs) -> Option<Unmet> {
        for (name, values) in needs.properties() {
            let offered = self.properties.get(name);
            let optional = matches!(name.as_str(), property::NETWORK | property::PRIVILEGE);
            let missing =
                values.iter().find(|value| !offered.map_or(optional, |o| o.contains(*value)));
            if let Some(value) = missing {
                return Some(Unmet::Property { name: name.clone(), value: value.clone() });
            }
        }
        if needs.resources.cpu_millis > size.cpu_millis {
            return Some(Unmet::Cpu(needs.resources.cpu_millis));
        }
        if self.counts_memory && needs.resources.memory > size.memory {
            return Some(Unmet::Memory(needs.resources.memory));
        }
        needs.resources.custom.iter().find_map(|(name, n)| {
            let met = match size.custom.get(name) {
                Some(total) => total >= n,
                None => self.properties.get(name).is_some_and(|v| v.contains(&n.to_string())),
            };
            (!met).then(|| Unmet::Counter { name: name.clone(), wanted: *n })
        })
    }

    /// What the action takes of a worker with this profile: what the worker does not count is free.
    pub(crate) fn charge(&self, wanted: &Resources) -> Resources {
        let counted = wanted.custom.iter().filter(|(name, _)| self.counters.contains(*name));
        Resources {
            cpu_millis: wanted.cpu_millis,
            memory: if self.counts_memory { wanted.memory } else { 0 },
            custom: counted.map(|(name, n)| (name.clone(), *n)).collect(),
        }
    }

    /// What such a worker has instead of what is unmet, for the second half of the sentence.
    pub(crate) fn instead(&self, size: &Resources, unmet: &Unmet) -> Option<String> {
        match unmet {
            Unmet::Property { name, .. } => {
                let values = self.properties.get(name)?;
                Some(values.iter().map(String::as_str).collect::<Vec<_>>().join(" and "))
            }
            Unmet::Cpu(_) => Some(format!("cpu={}", cpus(size.cpu_millis))),
            Unmet::Memory(_) => Some(format!("memory={}M", size.memory >> 20)),
            Unmet::Counter { name, .. } => size.custom.get(name).map(|n| format!("{name}={n}")),
        }
    }
}

/// One need that a worker can't meet. Its `Display` is the option that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unmet {
    Property { name: String, value: String },
    Cpu(u32),
    Memory(u64),
    Counter { name: String, wanted: u32 },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property { name, value } => {
                write!(f, "{}={}", short_name(name).escape_debug(), value.escape_debug())
            }
            Self::Cpu(millis) => write!(f, "cpu={}", cpus(*millis)),
            Self::Memory(bytes) => write!(f, "memory={}M", bytes.div_ceil(1 << 20)),
            Self::Counter { name, wanted } => write!(f, "{}={wanted}", name.escape_debug()),
        }
    }
}

fn cpus(millis: u32) -> String {
    format!("{}", f64::from(millis) / 1000.0)
}
