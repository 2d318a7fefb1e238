//! The member that means ill: a process of its own, which calls every method that `proto/` defines, over and over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hands_link::{Address, Identity};
use hands_testkit::raw::Raw;
use hands_types::WorkerId;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::messages::{Messages, Planted};
use super::random::Random;
use crate::report::say;

/// Connections, and calls at once on each of them.
const CONNECTIONS: u64 = 4;
const CALLS: u64 = 4;
/// No call is waited for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a call is ended.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Its whole answer is read.
    Read,
    /// It is cancelled after this time.
    Cancel(Duration),
    /// Its answer is not read for this time, and then given up.
    Deaf(Duration),
}

/// How often each method ended with each code.
type Tally = Arc<Mutex<BTreeMap<String, BTreeMap<String, u64>>>>;

/// `--hostile DIRECTORY SEED SECONDS TOTALS [SINK RATE]`: acts as the member whose identity is in the directory, or sends the
/// same to a sink, so many bytes a second. What it sent and took goes to the file TOTALS.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (dir, seed, seconds, totals, sink) = match arguments {
        [dir, seed, seconds, totals] => (dir, seed, seconds, totals, None),
        [dir, seed, seconds, totals, sink, rate] => {
            (dir, seed, seconds, totals, Some((Address::Tcp(sink.parse()?), rate.parse()?)))
        }
        _ => anyhow::bail!("--hostile DIRECTORY SEED SECONDS TOTALS [SINK RATE]"),
    };
    let (seed, length) = (seed.parse()?, Duration::from_secs(seconds.parse()?));
    stand_back()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(hostile(Address::Member(dir.into()), sink, seed, length))?;
    let cpu = crate::resident::cpu(&[std::process::id()])?;
    std::fs::write(totals, format!("{sent} {cpu}"))?;
    Ok(())
}

/// A member elsewhere would have a machine of its own: what this one spends on making messages is not taken from the hub and
/// the worker that are measured. Where the kernel groups what runs by sessions, niceness counts only within one of them, so
/// this one has a session of its own, which as a whole comes last.
fn stand_back() -> Result<()> {
    rustix::process::setsid()?;
    rustix::process::setpriority_process(None, 19)?;
    let group = Path::new("/proc/self/autogroup");
    match std::fs::write(group, "19") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("the niceness of a session")
        }
        _ => Ok(()),
    }
}

/// Counts what is sent, and holds it back where it is to be no more than so many bytes a second.
struct Pace {
    start: Instant,
    sent: AtomicU64,
    rate: Option<f64>,
}

impl Pace {
    async fn send(&self, bytes: usize) {
        let before = self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "gigabytes at most")]
            let due = Duration::from_secs_f64(before as f64 / rate);
            tokio::time::sleep(due.saturating_sub(self.start.elapsed())).await;
        }
    }
}

async fn hostile(
    hub: Address,
    sink: Option<(Address, f64)>,
    seed: u64,
    length: Duration,
) -> Result<u64> {
    let start = Instant::now();
    let methods = Arc::new(methods()?);
    let tally = Tally::default();
    let to = if sink.is_some() { None } else { Some(&hub) };
    let Address::Member(dir) = &hub else { anyhow::bail!("a member's address") };
    let worker = WorkerId(Identity::load(dir)?.member.0);
    let planted = Arc::new(Planted::new(to, worker, &mut Random(seed)).await?);
    let (rate, is_control) = (sink.as_ref().map(|(_, rate)| *rate), sink.is_some());
    let pace = Arc::new(Pace { start: Instant::now(), sent: AtomicU64::new(0), rate });
    let to = sink.map_or(hub, |(sink, _)| sink);
    let mut tasks = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let channel = hands_link::connect(&to);
        for call in 0..CALLS {
            let random = Random(seed ^ ((1 + connection * CALLS + call) << 32));
            let mut messages = Messages { random, planted: Arc::clone(&planted) };
            let (channel, methods, tally, pace) =
                (channel.clone(), Arc::clone(&methods), Arc::clone(&tally), Arc::clone(&pace));
            tasks.spawn(async move {
                while start.elapsed() < length {
                    let method = messages.random.one_of(&methods).clone();
                    let bodies = messages.of(&method);
                    let ending = ending(&mut messages.random);
                    pace.send(bodies.iter().map(Bytes::len).sum()).await;
                    let said = call_once(&channel, &method, bodies, ending).await;
                    let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    *tally.entry(method).or_default().entry(said).or_default() += 1;
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    let sent = pace.sent.load(Ordering::Relaxed);
    if is_control {
        return Ok(sent);
    }
    let tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let calls: u64 = tally.values().flat_map(BTreeMap::values).sum();
    say(&format!("  {calls} hostile calls of {} methods:", tally.len()));
    for (method, codes) in &*tally {
        let codes: Vec<String> = codes.iter().map(|(code, n)| format!("{code} {n}")).collect();
        say(&format!("    {method}: {}", codes.join(", ")));
    }
    ensure!(tally.len() == methods.len(), "not every method was called");
    Ok(sent)
}

fn ending(random: &mut Random) -> Ending {
    let time = Duration::from_millis(random.size(3000) as u64);
    match random.below(10) {
        0..6 => Ending::Read,
        6..8 => Ending::Cancel(time),
        _ => Ending::Deaf(time),
    }
}

/// One call; what came of it.
async fn call_once(channel: &Channel, method: &str, bodies: Vec<Bytes>, ending: Ending) -> String {
    let patience = if let Ending::Cancel(time) = ending { time } else { PATIENCE };
    match tokio::time::timeout(patience, attempt(channel, method, bodies, ending)).await {
        Ok(Ok(())) => "OK".to_owned(),
        Ok(Err(status)) => format!("{:?}", status.code()),
        Err(_) => "given up".to_owned(),
    }
}

async fn attempt(
    channel: &Channel,
    method: &str,
    bodies: Vec<Bytes>,
    ending: Ending,
) -> Result<(), Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = method.parse().map_err(|_| Status::internal("a path"))?;
    let request = Request::new(tokio_stream::iter(bodies));
    let mut answers = client.streaming(request, path, Raw).await?.into_inner();
    if let Ending::Deaf(time) = ending {
        tokio::time::sleep(time).await;
        return Ok(());
    }
    while answers.message().await?.is_some() {}
    Ok(())
}

/// Every method of every service in `proto/` that a hub serves.
fn methods() -> Result<Vec<String>> {
    let mut files = Vec::new();
    protos(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto"), &mut files)?;
    files.sort();
    let mut methods = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        let (mut package, mut service) = ("", "");
        for line in text.lines().map(str::trim) {
            let mut words = line.split(|c: char| c.is_whitespace() || "({;".contains(c));
            match words.next() {
                Some("package") => package = words.next().context("a package")?,
                Some("service") => service = words.next().context("a service")?,
                // The agent's own service is on its user's socket only.
                Some("rpc") if service != "Agent" => {
                    let method = words.next().context("a method")?;
                    methods.push(format!("/{package}.{service}/{method}"));
                }
                _ => {}
            }
        }
    }
    ensure!(methods.len() > 30, "the files were read: {methods:?}");
    // To find which of them it is that honest members wait for.
    if let Ok(part) = std::env::var("HANDS_BENCH_HOSTILE_METHODS") {
        methods.retain(|method| part.split(',').any(|part| method.contains(part)));
    }
    ensure!(!methods.is_empty(), "no method is left");
    Ok(methods)
}

fn protos(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            protos(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
