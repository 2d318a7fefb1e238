//! The hub's figures as Prometheus reads them (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::{Code, Status};

use crate::ledger::Outcome;
use crate::shared::Shared;

/// Upper bounds of the latencies' classes, seconds, and the same in microseconds.
const BUCKETS: [(&str, u64); 8] = [
    ("0.001", 1_000),
    ("0.005", 5_000),
    ("0.025", 25_000),
    ("0.1", 100_000),
    ("0.5", 500_000),
    ("2.5", 2_500_000),
    ("10", 10_000_000),
    ("60", 60_000_000),
];

/// What is counted as it happens; all else is asked for when somebody looks.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    calls: Mutex<BTreeMap<(&'static str, i32), u64>>,
    latencies: Mutex<BTreeMap<&'static str, Latency>>,
    /// Executes that the action cache answered.
    pub(crate) cache_hits: AtomicU64,
    /// Executes that it could not answer and was asked for.
    pub(crate) cache_misses: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Latency {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    micros: u64,
}

impl Metrics {
    /// A call's answer began.
    pub(crate) fn answered(&self, path: &'static str, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = latencies.entry(path).or_default();
        latency.count += 1;
        latency.micros = latency.micros.saturating_add(micros);
        if let Some(at) = BUCKETS.iter().position(|(_, bound)| micros <= *bound) {
            latency.buckets[at] += 1;
        }
    }

    /// A call ended.
    pub(crate) fn ended(&self, path: &'static str, code: Code) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry((path, code.into())).or_default() += 1;
    }

    fn write_calls(&self, text: &mut String) -> std::fmt::Result {
        family(text, "hands_rpc_total", "counter", "Calls that ended, by gRPC's code.")?;
        for ((path, code), n) in &*self.calls.lock().unwrap_or_else(PoisonError::into_inner) {
            let (service, method) = names(path);
            let code = format!("{:?}", Code::from(*code));
            writeln!(
                text,
                "hands_rpc_total{{service=\"{service}\",method=\"{method}\",code=\"{code}\"}} {n}"
            )?;
        }
        let name = "hands_rpc_seconds";
        family(text, name, "histogram", "Time until a call's answer begins.")?;
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (path, latency) in &latencies {
            let (service, method) = names(path);
            let labels = format!("service=\"{service}\",method=\"{method}\"");
            let mut below = 0;
            for ((bound, _), n) in BUCKETS.iter().zip(&latency.buckets) {
                below += n;
                writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
            }
            writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", latency.count)?;
            let (seconds, micros) = (latency.micros / 1_000_000, latency.micros % 1_000_000);
            writeln!(text, "{name}_sum{{{labels}}} {seconds}.{micros:06}")?;
            writeln!(text, "{name}_count{{{labels}}} {}", latency.count)?;
        }
        Ok(())
    }
}

/// All figures of a hub, as text.
pub(crate) async fn text(hub: &Shared) -> Result<String, Status> {
    let asked = hub.ask(|core| (core.counts(), core.n_workers(), core.slots(), core.n_draining()));
    let ((queued, running, detached), n_workers, (slots, busy), draining) = asked.await?;
    let store = hub.store.usage();
    let started = hub.started / 1000;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let figures = [
        ("hands_hub_start_time_seconds", "gauge", "When the hub started.", started.to_string()),
        ("hands_actions_queued", "gauge", "Actions in the queue.", queued.to_string()),
        ("hands_actions_running", "gauge", "Actions that a worker has.", running.to_string()),
        ("hands_actions_detached", "gauge", "Actions that nobody waits for.", detached.to_string()),
        ("hands_workers", "gauge", "Workers that are connected.", n_workers.to_string()),
        ("hands_workers_draining", "gauge", "Workers that take nothing new.", draining.to_string()),
        ("hands_slots", "gauge", "Slots of connected workers.", slots.to_string()),
        ("hands_slots_busy", "gauge", "Slots with an action.", busy.to_string()),
        ("hands_store_bytes", "gauge", "Bytes in the store.", store.total().to_string()),
        ("hands_store_quota_bytes", "gauge", "Most that the store holds.", store.quota.to_string()),
        (
            "hands_attempts_lost_total",
            "counter",
            "Attempts whose command was started and that brought no result.",
            hub.ledger.lost().to_string(),
        ),
        (
            "hands_leases_returned_total",
            "counter",
            "Leases that ended without a result, started or not: lost, recalled, handed back.",
            hub.ledger.n_requeued().to_string(),
        ),
        (
            "hands_action_cache_hits_total",
            "counter",
            "Executes that the action cache answered.",
            load(&hub.metrics.cache_hits).to_string(),
        ),
        (
            "hands_action_cache_misses_total",
            "counter",
            "Executes that the action cache was asked about and could not answer.",
            load(&hub.metrics.cache_misses).to_string(),
        ),
    ];
    let write = |text: &mut String| -> std::fmt::Result {
        for (name, kind, help, value) in &figures {
            family(text, name, kind, help)?;
            writeln!(text, "{name} {value}")?;
        }
        let name = "hands_actions_ended_total";
        family(text, name, "counter", "Actions that ended, those from the cache included.")?;
        for outcome in Outcome::ALL {
            let (outcome, n) = (outcome.name(), hub.ledger.count(outcome));
            writeln!(text, "{name}{{outcome=\"{outcome}\"}} {n}")?;
        }
        hub.metrics.write_calls(text)
    };
    let mut text = String::new();
    write(&mut text).map_err(|_| Status::internal("the figures can't be written"))?;
    Ok(text)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}")?;
    writeln!(text, "# TYPE {name} {kind}")
}

/// Service and method of a path.
fn names(path: &str) -> (&str, &str) {
    path.trim_start_matches('/').split_once('/').unwrap_or((path, ""))
}
