//! What a worker says of itself.

use hands_exec::Isolation;
use hands_link::Parameters;
use hands_proto::v1;
use hands_types::platform::property;

use crate::config::WorkerConfig;
use crate::parts::Parts;

/// The first message of a session.
pub(crate) fn hello(
    config: &WorkerConfig,
    isolation: Isolation,
    parts: &Parts,
    attempts: Vec<v1::AttemptId>,
    way: Parameters,
) -> v1::Hello {
    let lease = config.lease.or(way.lease);
    v1::Hello {
        protocol: Some(config.protocol()),
        worker_id: config.id.to_string(),
        name: config.name.clone(),
        properties: properties(config, isolation, parts),
        cpu_millis: config.slots.saturating_mul(1000),
        memory: config.memory,
        custom: config
            .custom
            .iter()
            .map(|(name, count)| v1::Counter { name: name.clone(), count: *count })
            .collect(),
        slots: config.slots,
        lease_ms: lease.map_or(0, |lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
        attempts,
        ahead: config.ahead.or(way.ahead),
        // Known to the core only.
        resumes: false,
        fetches_commands: true,
        tells_input: true,
        // Known to the core only.
        inputs: Vec::new(),
    }
}

fn properties(config: &WorkerConfig, isolation: Isolation, parts: &Parts) -> Vec<v1::Property> {
    let mut properties = vec![
        (property::OS, "linux"),
        (property::ISA, isa()),
        (property::ISOLATION, isolation.name()),
    ];
    if isolation == Isolation::Process {
        // Offered, so that an action that asks for more goes elsewhere.
        properties.push((property::PRIVILEGE, "none"));
    }
    properties.extend(parts.offers());
    properties.extend(config.tags.iter().map(|tag| (property::TAG, tag.as_str())));
    properties
        .extend(config.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let own = |(name, value): (&str, &str)| v1::Property {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    properties.into_iter().map(own).collect()
}

/// The instruction set in the words of REAPI's platform lexicon.
const fn isa() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "x86-64"
    } else if cfg!(target_arch = "aarch64") {
        "arm-a64"
    } else {
        std::env::consts::ARCH
    }
}
