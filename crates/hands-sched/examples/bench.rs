//! How fast the scheduler decides and what a queued action costs.
//!
//! `cargo run --release -p hands-sched --example bench`. A decision is a lease handed out and its finish.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hands_sched::{
    ActionSpec, Effect, Input, Needs, Offer, Opening, Scheduler, SchedulerConfig, Tree,
};
use hands_types::{
    Digest, DigestFunction, InvocationId, OperationId, Resources, SessionId, Time, WorkerId,
};

const WORKERS: u64 = 10_000;
const SLOTS: u32 = 4;
const INVOCATIONS: u64 = 50;
const DECISIONS: u64 = 400_000;
/// Decisions between two readings of the clock; fewer than the shortest queue holds.
const BURST: u64 = 80;

struct Bench {
    sched: Scheduler,
    needs: Vec<Arc<Needs>>,
    out: Vec<Effect>,
    leases: VecDeque<Input>,
    now: u64,
    n_submitted: u64,
    inputs: bool,
}

impl Bench {
    fn new(inputs: bool) -> Self {
        let mut bench = Self {
            sched: Scheduler::new(SchedulerConfig::standard()),
            needs: needs(),
            out: Vec::new(),
            leases: VecDeque::new(),
            now: 0,
            n_submitted: 0,
            inputs,
        };
        for n in 0..WORKERS {
            bench.step(opening(n));
        }
        bench
    }

    fn step(&mut self, input: Input) {
        self.now += 1;
        self.sched.step(Time(self.now), input, &mut self.out);
        for effect in self.out.drain(..) {
            if let Effect::Lease { session, operation, attempt } = effect {
                self.leases.push_back(Input::Finished { session, operation, attempt });
            }
        }
    }

    fn submit(&mut self) {
        self.n_submitted += 1;
        let n = self.n_submitted;
        let inputs = if self.inputs {
            vec![tree(n % 16, 1 << 28), tree(1000 + n, 1 << 16)]
        } else {
            Vec::new()
        };
        let spec = ActionSpec {
            invocation: InvocationId(u128::from(n % INVOCATIONS)),
            priority: i32::try_from(n % 3).unwrap_or(0),
            needs: Arc::clone(&self.needs[usize::try_from(n % 8).unwrap_or(0)]),
            expected: n.is_multiple_of(2).then(|| Duration::from_millis(n * 7919 % 10_000)),
            inputs,
            cacheable: true,
            rerun: true,
            queue_timeout: None,
            asked_to_wait: false,
        };
        self.step(Input::Submit { operation: OperationId(u128::from(n)), spec });
    }

    /// Finishes the oldest lease; the scheduler hands out the next.
    fn decide(&mut self) {
        if let Some(finished) = self.leases.pop_front() {
            self.step(finished);
        }
    }
}

fn main() {
    println!(
        "{WORKERS} workers of {SLOTS} slots, {INVOCATIONS} invocations, 8 sets of needs, 3 priorities"
    );
    for inputs in [false, true] {
        let mut cost = BTreeMap::new();
        for queued in [100, 10_000, 1_000_000] {
            let mut bench = Bench::new(inputs);
            while bench.sched.counts().n_queued == 0 {
                bench.submit();
            }
            let (memory, began) = (resident(), cpu_time());
            while bench.sched.counts().n_queued < queued {
                bench.submit();
            }
            let submit = (cpu_time() - began).as_secs_f64() / queued as f64;
            let bytes = resident().saturating_sub(memory) / queued;
            // The queue stays as long as it is: each decision is followed by a submission, which is timed apart.
            let mut decide = Duration::ZERO;
            let began = cpu_time();
            for _ in 0..DECISIONS / BURST {
                let one = cpu_time();
                for _ in 0..BURST {
                    bench.decide();
                }
                decide += cpu_time() - one;
                for _ in 0..BURST {
                    bench.submit();
                }
            }
            let both = (cpu_time() - began).as_secs_f64();
            let each = decide.as_secs_f64() / DECISIONS as f64;
            cost.insert(queued, each);
            println!(
                "inputs {inputs:5}, {queued:>8} queued: {:>9.0} decisions/s ({:.2} µs each), {:>9.0}/s with a submission each; \
                 {:.2} µs a submission; {}",
                1.0 / each,
                each * 1e6,
                DECISIONS as f64 / both,
                submit * 1e6,
                if queued >= 10_000 {
                    format!("{bytes} bytes resident a queued action")
                } else {
                    String::new()
                },
            );
        }
        println!(
            "inputs {inputs:5}: a decision at 1,000,000 costs {:.2} × one at 100",
            cost[&1_000_000] / cost[&100]
        );
    }
}

fn needs() -> Vec<Arc<Needs>> {
    (0..8_u32)
        .map(|n| {
            let mut needs = Needs::new();
            needs.require("os", "linux");
            needs.require("arch", "x86_64");
            needs.resources.memory = u64::from(n % 4) << 28;
            if n >= 4 {
                needs.require("tag", "fast");
            }
            Arc::new(needs)
        })
        .collect()
}

fn opening(n: u64) -> Input {
    let value = |text: &str| BTreeSet::from([text.to_owned()]);
    let mut properties = BTreeMap::from([
        ("OSFamily".to_owned(), value("linux")),
        ("ISA".to_owned(), value("x86-64")),
    ]);
    if n.is_multiple_of(2) {
        properties.insert("tag".to_owned(), value("fast"));
    }
    let resources = Resources {
        cpu_millis: SLOTS * 1000,
        memory: (16 << 30) + (n << 20),
        custom: BTreeMap::new(),
    };
    Input::SessionOpened(Box::new(Opening {
        session: SessionId(u128::from(n)),
        worker: WorkerId(u128::from(n)),
        offer: Offer { name: format!("w{n}"), properties, resources, ahead: 2 },
        lease: Duration::from_secs(10),
        resumes: false,
        holds: Vec::new(),
    }))
}

fn tree(n: u64, bytes: u64) -> Tree {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    Tree { digest: Digest { function: DigestFunction::Sha256, hash, size: 100 }, bytes }
}

/// What this thread has computed so far: other programs on the machine do not count, except for what they do to caches.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Bytes of this process in memory; 0 where the kernel does not say.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
