//! The work of one history: operations and workers, drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hands_sched::{ActionSpec, Needs, Offer, Tree};
use hands_types::{Digest, DigestFunction, InvocationId, OperationId, Resources};

use crate::faults::Faults;
use crate::rng::Rng;

/// One operation, as its client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) id: OperationId,
    pub(crate) spec: ActionSpec,
    /// Instruction set that it needs, and devices; for the audit, which does not read `Needs`.
    pub(crate) arch: &'static str,
    pub(crate) gpus: u32,
    pub(crate) cpus: u32,
    pub(crate) memory: u64,
    pub(crate) run_for: u64,
    pub(crate) evicted: bool,
    pub(crate) poison: bool,
    pub(crate) submit_at: u64,
    pub(crate) cancel_at: Option<u64>,
}

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) offer: Offer,
    pub(crate) arch: &'static str,
    pub(crate) gpus: u32,
    pub(crate) cpus: u32,
    pub(crate) memory: u64,
}

pub(crate) const SECOND: u64 = 1_000_000;
const GIB: u64 = 1 << 30;

pub(crate) fn machines(rng: &mut Rng) -> Vec<Machine> {
    let n = 1 + rng.below(5);
    (0..n)
        .map(|i| {
            let arch = if rng.chance(200) { "aarch64" } else { "x86_64" };
            let gpus = if rng.chance(300) { 2 } else { 0 };
            let cpus = 1 + u32::try_from(rng.below(4)).expect("small");
            let memory = (4 + rng.below(8)) * GIB;
            let properties =
                BTreeMap::from([("ISA".to_owned(), BTreeSet::from([arch.to_owned()]))]);
            let custom =
                if gpus > 0 { BTreeMap::from([("gpu".to_owned(), gpus)]) } else { BTreeMap::new() };
            let resources = Resources { cpu_millis: cpus * 1000, memory, custom };
            let ahead = u32::try_from(rng.below(3)).expect("small");
            let offer = Offer { name: format!("w{i}"), properties, resources, ahead };
            Machine { offer, arch, gpus, cpus, memory }
        })
        .collect()
}

pub(crate) fn operations(rng: &mut Rng, faults: &Faults) -> Vec<Work> {
    let n = 1 + rng.below(60);
    let n_invocations = 1 + rng.below(4);
    (0..n)
        .map(|i| {
            let arch = if rng.chance(150) { "aarch64" } else { "x86_64" };
            let gpus =
                if rng.chance(100) { 1 + u32::try_from(rng.below(2)).expect("small") } else { 0 };
            let cpus =
                if rng.chance(200) { 1 + u32::try_from(rng.below(4)).expect("small") } else { 1 };
            let memory = if rng.chance(300) { rng.below(6) * GIB } else { 0 };
            let mut needs = Needs::new();
            needs.require("arch", if arch == "aarch64" { "arm64" } else { "x86-64" });
            needs.resources.cpu_millis = cpus * 1000;
            needs.resources.memory = memory;
            if gpus > 0 {
                needs.resources.custom.insert("gpu".to_owned(), gpus);
            }
            let run_for =
                if rng.chance(100) { rng.below(40 * SECOND) } else { rng.below(2 * SECOND) };
            let cacheable = rng.chance(500);
            let submit_at = rng.below(10 * SECOND);
            let inputs = (0..rng.below(3)).map(|_| tree(rng.below(4))).collect();
            let spec = ActionSpec {
                invocation: InvocationId(u128::from(rng.below(n_invocations))),
                priority: if rng.chance(200) { -1 } else { 0 },
                needs: Arc::new(needs),
                expected: rng
                    .chance(500)
                    .then(|| Duration::from_micros(run_for / (1 + rng.below(8)))),
                inputs,
                cacheable,
                rerun: cacheable || rng.chance(700),
                queue_timeout: Some(Duration::from_secs(30)),
                asked_to_wait: false,
            };
            Work {
                id: OperationId(1000 + u128::from(i)),
                spec,
                arch,
                gpus,
                cpus,
                memory,
                run_for,
                evicted: rng.chance(faults.evicted),
                poison: rng.chance(faults.poison),
                submit_at,
                cancel_at: rng.chance(faults.cancel).then(|| submit_at + rng.below(20 * SECOND)),
            }
        })
        .collect()
}

pub(crate) fn tree(n: u64) -> Tree {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Tree {
        digest: Digest { function: DigestFunction::Sha256, hash, size: 100 },
        bytes: 1 << (20 + n),
    }
}
