//! What a worker has, and whether it meets an action's needs.

use std::collections::{BTreeMap, BTreeSet};

use hands_types::{Resources, platform::property};

use crate::needs::{Needs, normalize, short_name};

/// What a worker has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The offer with names and values in the form in which they are compared, and without the name.
    pub(crate) fn normalized(&self) -> Self {
        let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, values) in &self.properties {
            for value in values {
                let (name, value) = normalize(name, value);
                properties.entry(name).or_default().insert(value);
            }
        }
        Self {
            name: String::new(),
            properties,
            resources: self.resources.clone(),
            ahead: self.ahead,
        }
    }

    /// The first need that this (normalized) offer can never meet; none if it can take the action.
    pub(crate) fn unmet(&self, needs: &Needs) -> Option<Unmet> {
        for (name, values) in needs.properties() {
            let offered = self.properties.get(name);
            let optional = matches!(name.as_str(), property::NETWORK | property::PRIVILEGE);
            for value in values {
                let met = match offered {
                    Some(offered) => offered.contains(value),
                    None => optional,
                };
                if !met {
                    return Some(Unmet::Property { name: name.clone(), value: value.clone() });
                }
            }
        }
        if needs.resources.cpu_millis > self.resources.cpu_millis {
            return Some(Unmet::Cpu(needs.resources.cpu_millis));
        }
        if self.resources.memory != 0 && needs.resources.memory > self.resources.memory {
            return Some(Unmet::Memory(needs.resources.memory));
        }
        needs.resources.custom.iter().find_map(|(name, n)| {
            let met = match self.resources.custom.get(name) {
                Some(total) => total >= n,
                None => self.properties.get(name).is_some_and(|v| v.contains(&n.to_string())),
            };
            (!met).then(|| Unmet::Counter { name: name.clone(), wanted: *n })
        })
    }

    /// What the action takes of a worker with this offer: what the worker does not count is free.
    pub(crate) fn charge(&self, wanted: &Resources) -> Resources {
        Resources {
            cpu_millis: wanted.cpu_millis,
            memory: if self.resources.memory == 0 { 0 } else { wanted.memory },
            custom: wanted
                .custom
                .iter()
                .filter(|(name, _)| self.resources.custom.contains_key(*name))
                .map(|(name, n)| (name.clone(), *n))
                .collect(),
        }
    }

    /// What this offer has of the kind that is unmet, for the second half of the sentence.
    pub(crate) fn has(&self, unmet: &Unmet) -> Option<String> {
        match unmet {
            Unmet::Property { name, .. } => {
                let values = self.properties.get(name)?;
                Some(values.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
            Unmet::Cpu(_) => Some(cpus(self.resources.cpu_millis)),
            Unmet::Memory(_) => Some(format!("{} MiB", self.resources.memory >> 20)),
            Unmet::Counter { name, .. } => self.resources.custom.get(name).map(u32::to_string),
        }
    }
}

/// One need that an offer can't meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unmet {
    Property { name: String, value: String },
    Cpu(u32),
    Memory(u64),
    Counter { name: String, wanted: u32 },
}

impl std::fmt::Display for Unmet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Property { name, value } => write!(f, "{}={value}", short_name(name)),
            Self::Cpu(millis) => write!(f, "cpu={}", cpus(*millis)),
            Self::Memory(bytes) => write!(f, "memory={} MiB", bytes.div_ceil(1 << 20)),
            Self::Counter { name, wanted } => write!(f, "{name}={wanted}"),
        }
    }
}

fn cpus(millis: u32) -> String {
    if millis.is_multiple_of(1000) {
        format!("{}", millis / 1000)
    } else {
        format!("{}", f64::from(millis) / 1000.0)
    }
}
