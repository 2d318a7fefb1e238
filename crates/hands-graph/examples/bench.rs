//! What a million jobs cost the graph.
//!
//! `cargo run --release -p hands-graph --example bench`. Each shape is added at once and run to its end, a thousand jobs
//! out at a time; then one job after another is added to a graph that runs.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use hands_graph::{Effect, Graph, GraphConfig, Input, JobId, JobSpec, OnFailure};

const JOBS: usize = 1_000_000;
const OUT: usize = 1000;

/// Whom a job waits for, by its number and how many there are.
type Shape = fn(usize, usize) -> Vec<usize>;

const SHAPES: [(&str, Shape); 5] = [
    ("alone", |_, _| Vec::new()),
    ("one chain", |at, _| at.checked_sub(1).into_iter().collect()),
    ("a star and its end", |at, n| match at {
        0 => Vec::new(),
        at if at == n - 1 => (1..at).collect(),
        _ => vec![0],
    }),
    ("layers of 1,000, 4 edges each", |at, _| match at.checked_sub(1000) {
        None => Vec::new(),
        Some(below) => (0..4).map(|k| below - below % 1000 + (at * 7 + k * 131) % 1000).collect(),
    }),
    ("a build: 100 leaves, then 3 edges back", |at, _| match at {
        0..100 => Vec::new(),
        at => (1..4).map(|k| at - 1 - (at * k * 2_654_435_761) % at.min(50_000)).collect(),
    }),
];

fn main() {
    println!("{JOBS} jobs, at most {OUT} out");
    for (name, shape) in SHAPES {
        let specs = specs(shape, JOBS);
        let n_edges: usize = specs.iter().map(|spec| spec.after.len()).sum();
        let (memory, began) = (resident(), cpu_time());
        let mut graph = graph();
        let mut out = Vec::new();
        graph.add(specs, &mut out).expect("it has no cycle");
        let added = cpu_time() - began;
        let bytes = resident().saturating_sub(memory) / JOBS;
        let n_submitted = run(&mut graph, out);
        let all = cpu_time() - began;
        assert!(graph.is_finished() && n_submitted == JOBS);
        println!(
            "{name:38} {n_edges:>9} edges: {:>5.2} s to add, {:>5.2} s to run, {:.2} µs a job; {bytes} bytes resident a job",
            added.as_secs_f64(),
            (all - added).as_secs_f64(),
            all.as_secs_f64() * 1e6 / JOBS as f64,
        );
    }
    for (name, shape) in SHAPES.into_iter().filter(|(name, _)| !name.contains("end")) {
        let specs = specs(shape, JOBS);
        let began = cpu_time();
        let mut graph = graph();
        let mut n_submitted = 0;
        for spec in specs {
            let mut out = Vec::new();
            graph.add(vec![spec], &mut out).expect("it has no cycle");
            n_submitted += run(&mut graph, out);
        }
        assert!(graph.is_finished() && n_submitted == JOBS);
        let each = (cpu_time() - began).as_secs_f64() * 1e6 / JOBS as f64;
        println!("{name:38} one by one while it runs: {each:.2} µs a job");
    }
    let mut specs = specs(SHAPES[1].1, JOBS);
    specs[0].after.push(format!("job-{}", JOBS - 1));
    let began = cpu_time();
    graph().add(specs, &mut Vec::new()).expect_err("it is one cycle");
    println!("a cycle of all: {:.2} s to say so", (cpu_time() - began).as_secs_f64());
}

fn graph() -> Graph {
    Graph::new(GraphConfig { limit: NonZeroUsize::new(OUT), on_failure: OnFailure::KeepGoing })
}

fn specs(shape: Shape, n: usize) -> Vec<JobSpec> {
    let spec = |at: usize| JobSpec {
        name: format!("job-{at}"),
        expected: Duration::from_millis(at as u64 * 7919 % 10_000),
        after: shape(at, n).into_iter().map(|at| format!("job-{at}")).collect(),
        ..JobSpec::default()
    };
    (0..n).map(spec).collect()
}

/// Ends each job that is out, the oldest first; how many were submitted.
fn run(graph: &mut Graph, mut out: Vec<Effect>) -> usize {
    let mut going: VecDeque<JobId> = VecDeque::new();
    let mut n_submitted = 0;
    loop {
        for effect in out.drain(..) {
            if let Effect::Submit { job } = effect {
                n_submitted += 1;
                going.push_back(job);
            }
        }
        let Some(job) = going.pop_front() else { return n_submitted };
        graph.step(Input::Done { job }, &mut out);
    }
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
