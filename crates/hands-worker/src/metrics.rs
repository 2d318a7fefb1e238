//! A worker's figures as Prometheus reads them (text format 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hands_store::Store;

/// How an attempt ended here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Its command ended with 0.
    Succeeded,
    /// Its command ended otherwise, or was ended.
    Failed,
    /// Its command did not run, or not to an end of its own.
    NotRun,
}

impl Outcome {
    const NAMES: [&str; 3] = ["succeeded", "failed", "not_run"];
}

/// What the core tells, and whoever looks reads.
#[derive(Debug)]
pub(crate) struct Metrics {
    store: Store,
    slots: u32,
    started: u64,
    connected: AtomicBool,
    sessions: AtomicU64,
    draining: AtomicBool,
    leases: AtomicU64,
    running: AtomicU64,
    ended: [AtomicU64; Outcome::NAMES.len()],
}

impl Metrics {
    pub(crate) fn new(store: Store, slots: u32) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Self {
            store,
            slots,
            started,
            connected: AtomicBool::default(),
            sessions: AtomicU64::default(),
            draining: AtomicBool::default(),
            leases: AtomicU64::default(),
            running: AtomicU64::default(),
            ended: Default::default(),
        }
    }

    /// How things stand after a step.
    pub(crate) fn stands(&self, connected: bool, draining: bool, leases: usize, running: usize) {
        if connected && !self.connected.swap(connected, Ordering::Relaxed) {
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        self.connected.store(connected, Ordering::Relaxed);
        self.draining.store(draining, Ordering::Relaxed);
        self.leases.store(leases as u64, Ordering::Relaxed);
        self.running.store(running as u64, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the hub has this worker.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Actions that it has.
    pub(crate) fn leases(&self) -> usize {
        usize::try_from(self.leases.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // A String takes everything.
        let _written = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let flag = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
        let store = self.store.usage();
        for (name, kind, help, value) in [
            ("start_time_seconds", "gauge", "When the worker started.", self.started),
            ("connected", "gauge", "1 while the hub has this worker.", flag(&self.connected)),
            (
                "sessions_total",
                "counter",
                "Sessions with the hub that began.",
                load(&self.sessions),
            ),
            ("draining", "gauge", "1 once it takes nothing new.", flag(&self.draining)),
            ("slots", "gauge", "Actions that may run at once.", self.slots.into()),
            ("slots_busy", "gauge", "Actions that run.", load(&self.running)),
            (
                "leases",
                "gauge",
                "Actions that it has, not yet started ones too.",
                load(&self.leases),
            ),
            ("store_bytes", "gauge", "Bytes in the store.", store.total()),
            ("store_quota_bytes", "gauge", "Most that the store holds.", store.quota),
        ] {
            writeln!(text, "# HELP hands_worker_{name} {help}")?;
            writeln!(text, "# TYPE hands_worker_{name} {kind}")?;
            writeln!(text, "hands_worker_{name} {value}")?;
        }
        let name = "hands_worker_attempts_ended_total";
        writeln!(text, "# HELP {name} Attempts that ended here.")?;
        writeln!(text, "# TYPE {name} counter")?;
        for (outcome, n) in Outcome::NAMES.iter().zip(&self.ended) {
            writeln!(text, "{name}{{outcome=\"{outcome}\"}} {}", load(n))?;
        }
        Ok(())
    }
}
