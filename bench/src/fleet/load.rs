//! 64 clients with 16 streams of no-op actions each, for three minutes: errors, latency, memory.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::hub::Hub;
use super::sham::{Sham, Tally};
use crate::report::{Report, Target};
use crate::stats::Times;
use crate::wire::Client;

const CLIENTS: u64 = 64;
const STREAMS: u64 = 16;
const LENGTH: Duration = Duration::from_secs(180);
/// Until caches of a fixed size are full: 131,072 entries of the store's index, 16 MiB of its pages. Nearly 300,000 actions.
const WARM: Duration = Duration::from_secs(90);

pub(crate) async fn load(hands: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    let hub = Hub::start(hands, dir)?;
    let tally = Arc::new(Tally::default());
    let mut workers = JoinSet::new();
    for n in 0..8 {
        let sham = Sham::connect(hands_link::connect(&hub.address()), n, 16).await?;
        let tally = Arc::clone(&tally);
        workers.spawn(async move { sham.work(Duration::ZERO, &tally).await });
    }
    let start = Instant::now();
    let mut streams = JoinSet::new();
    for n in 0..CLIENTS {
        let channel = hands_link::connect(&hub.address());
        for stream in 0..STREAMS {
            let mut client = Client::new(channel.clone(), n * STREAMS + stream);
            client.of_invocation(&format!("client-{n}"));
            streams.spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < LENGTH {
                    let begun = Instant::now();
                    client.noop().await?;
                    times.push(begun.elapsed());
                }
                anyhow::Ok(times)
            });
        }
    }
    let mut memory = Vec::new();
    let mut times = Vec::new();
    let mut errors: Vec<anyhow::Error> = Vec::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            ended = streams.join_next() => match ended {
                None => break,
                Some(ended) => match ended? {
                    Ok(more) => times.extend(more),
                    Err(error) => errors.push(error),
                },
            },
            _ = second.tick() => memory.push((start.elapsed(), hub.resident()?)),
        }
    }
    workers.abort_all();
    let first = errors.first().map(|error| format!(": {error:#}")).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let (n_errors, n_actions) = (errors.len() as f64, times.len() as f64);
    report.add(
        "64 clients × 16 streams, no-op actions, 180 s: errors",
        n_errors,
        "",
        format!("{n_errors:.0}{first}, {:.0} actions/s", n_actions / LENGTH.as_secs_f64()),
        Target::AtMost(0.0),
    );
    let times = Times::new(times);
    let spread = times.at(0.99).as_secs_f64() / times.at(0.5).as_secs_f64();
    report.add(
        "  p99 of p50",
        spread,
        "×",
        format!("{spread:.2} × ({})", times.summary()),
        Target::AtMost(5.0),
    );
    // The median of ten seconds, since an allocator gives back when it likes.
    let around = |from: Duration, to: Duration| -> Result<f64> {
        let mut some: Vec<f64> = memory
            .iter()
            .filter(|(at, _)| (from..to).contains(at))
            .map(|(_, resident)| *resident)
            .collect();
        some.sort_by(f64::total_cmp);
        some.get(some.len() / 2).copied().context("a figure each second")
    };
    let (early, late) = (
        around(WARM, WARM + Duration::from_secs(10))?,
        around(LENGTH - Duration::from_secs(10), LENGTH)?,
    );
    report.add(
        "  memory at the end of that after 90 s",
        late / early,
        "×",
        format!("{:.2} × ({early:.1} MB, {late:.1} MB)", late / early),
        Target::AtMost(1.1),
    );
    Ok(())
}
