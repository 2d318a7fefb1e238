//! Platform properties: what each does.
//!
//! | property | what it does |
//! | --- | --- |
//! | `OSFamily`, `ISA` | matched against what workers offer, without regard to case, with the usual aliases |
//! | `host-root`, `isolation`, `tag`, and any name that is not in this table | must be offered by a worker |
//! | `cpu`, `memory` | taken from a worker's resources; `EstimatedCPU`, `EstimatedMemory`, `cpu_count`, `memory_kb` likewise |
//! | a whole number under another name, `resources:NAME` | a counter of a worker, such as `gpu` |
//! | `network` | `none`, `loopback` or `host`; how the action runs |
//! | `privilege` | `userns`; how the action runs |
//! | `scratch` | `memory` or `disk`: where what the action writes is kept; outputs larger than memory need `disk` |
//! | `input-root` | `overlay` or `copy`: in a copy input directories can be renamed, which fails in an overlay (EXDEV) |
//! | `InputRootAbsolutePath` | absolute path at which the input root appears |
//! | `layer` | `PATH=HASH/SIZE`: a tree that is mounted read-only; `/=HASH/SIZE,HASH/SIZE…`: the whole root in place of the worker's, topmost first; must be in the store |
//! | `container-image`, `Pool` | only workers that offer them take the action |
//! | `EstimatedComputeUnits`, `EstimatedFreeDiskBytes`, `cache-silo-key`, `dockerNetwork`, `dockerPrivileged`, `dockerRunAsRoot`, `no-cache`, `no-remote-cache`, `persistentWorkerKey`, `persistentWorkerProtocol`, `preserve-workspace`, `recycle-runner`, `requires-network`, `requires-worker-protocol`, `supports-workers`, `workload-isolation-type` | hints of other engines: ignored |
//!
//! What needs a worker and what is ignored is `hands_sched::Needs`' business; the values that shape how an action runs
//! are checked here, so that a typing mistake is refused at once and not by a worker.

use std::sync::Arc;

use hands_proto::reapi;
use hands_sched::Needs;
use hands_types::limits::{MAX_NAME, MAX_PLATFORM, MAX_PROPERTIES, MAX_VALUE};
use hands_types::platform::{Layers, property};
use hands_types::text::said;
use hands_types::{Digest, DigestFunction, InputRoot, Network, Platform, Privilege, Scratch, Word};

/// What an action asks for, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) needs: Arc<Needs>,
    /// Trees that are mounted beside the input root, or are the root.
    pub(crate) layers: Vec<Digest>,
    /// It can reach beyond its worker, so an attempt may have had effects.
    pub(crate) host_network: bool,
}

/// A property that can't be used. The user's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("platform property {name}={value}: {why}")]
pub(crate) struct BadProperty {
    name: String,
    value: String,
    why: String,
}

/// The platform that counts: the action's, or the command's where the action has none (clients before API 2.2, and
/// Buck2 to this day).
pub(crate) fn effective(action: &reapi::Action, command: &reapi::Command) -> reapi::Platform {
    action.platform.clone().or_else(|| command.platform.clone()).unwrap_or_default()
}

/// Reads and checks all properties.
pub(crate) fn read(
    platform: &reapi::Platform,
    function: DigestFunction,
) -> Result<Wishes, BadProperty> {
    bounded(platform)?;
    let pairs = platform.properties.iter().map(|p| (p.name.clone(), p.value.clone())).collect();
    let platform = Platform::new(pairs);
    let bad = |name: &str, value: &str, why: String| BadProperty {
        name: name.escape_debug().to_string(),
        value: value.escape_debug().to_string(),
        why,
    };
    let needs = Needs::from_platform(&platform)
        .map_err(|e| bad(&e.name, &e.value, format!("expected {}", e.expected)))?;
    one_of::<Network>(&platform, property::NETWORK)?;
    one_of::<Privilege>(&platform, property::PRIVILEGE)?;
    one_of::<Scratch>(&platform, property::SCRATCH)?;
    one_of::<InputRoot>(&platform, property::INPUT_ROOT)?;
    for value in platform.all(property::ROOT_PATH) {
        if !is_plain_absolute(value) {
            return Err(bad(
                property::ROOT_PATH,
                value,
                "expected an absolute path without `.` and `..`".to_owned(),
            ));
        }
    }
    let layers = Layers::read(&platform, function)
        .map_err(|e| bad(property::LAYER, &e.value, format!("expected {}", e.expected)))?;
    let host_network = platform.all(property::NETWORK).any(|value| value == Network::Host.name());
    Ok(Wishes { needs: Arc::new(needs), layers: layers.digests().collect(), host_network })
}

/// How many there are and how long they are: they are kept for as long as the action waits, and shown.
fn bounded(platform: &reapi::Platform) -> Result<(), BadProperty> {
    let shown = |text: &str| said(text, 32);
    let n = platform.properties.len();
    let bad = |property: &reapi::platform::Property, why: String| {
        Err(BadProperty { name: shown(&property.name), value: shown(&property.value), why })
    };
    if let Some(first) = platform.properties.get(MAX_PROPERTIES) {
        return bad(first, format!("there are {n} properties, and {MAX_PROPERTIES} are the most"));
    }
    let mut left = MAX_PLATFORM;
    for property in &platform.properties {
        let most = if property.name == property::LAYER { MAX_PLATFORM } else { MAX_VALUE };
        if property.name.len() > MAX_NAME {
            return bad(property, format!("its name has more than {MAX_NAME} bytes"));
        }
        if property.value.len() > most {
            return bad(property, format!("its value has more than {most} bytes"));
        }
        let Some(rest) = left.checked_sub(property.name.len() + property.value.len()) else {
            return bad(property, format!("all properties have more than {MAX_PLATFORM} bytes"));
        };
        left = rest;
    }
    Ok(())
}

fn one_of<W: Word>(platform: &Platform, name: &str) -> Result<(), BadProperty> {
    match platform.all(name).find(|value| W::read(value).is_none()) {
        None => Ok(()),
        Some(value) => Err(BadProperty {
            name: name.to_owned(),
            value: value.escape_debug().to_string(),
            why: format!("expected {}", W::NAMES.join(" or ")),
        }),
    }
}

fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| {
        !path.contains('\0') && rest.split('/').all(|name| !matches!(name, "." | ".."))
    })
}
