//! 32 simulated workers of 8 slots and 20,000 actions of one second: how much of the slots' time is used.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::hub::Hub;
use super::sham::{Sham, Tally};
use crate::report::{Report, Target};
use crate::wire::Client;

const WORKERS: u32 = 32;
const SLOTS: u32 = 8;
const ACTIONS: u64 = 20_000;
const TAKES: Duration = Duration::from_secs(1);
/// Who submit, so that the first 256 are there at once.
const CLIENTS: u64 = 16;

pub(crate) async fn sleeps(hands: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    let hub = Hub::start(hands, dir)?;
    let tally = Arc::new(Tally::default());
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        let sham = Sham::connect(hands_link::connect(&hub.address()), n, SLOTS).await?;
        let tally = Arc::clone(&tally);
        workers.spawn(async move { sham.work(TAKES, &tally).await });
    }
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let mut client = Client::new(hands_link::connect(&hub.address()), n);
        clients.spawn(async move {
            let mut running = Vec::new();
            for _ in 0..ACTIONS / CLIENTS {
                running.push(client.submit(false).await?);
            }
            for action in running {
                action.ended().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    workers.abort_all();
    let finished = tally.finished.load(Ordering::Relaxed);
    ensure!(finished == ACTIONS, "{finished} actions ran instead of {ACTIONS}");
    let span = *tally.span.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (first, last) = span.context("something ran")?;
    let took = last - first;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let busy = ACTIONS as f64 * TAKES.as_secs_f64();
    let used = 100.0 * busy / (f64::from(WORKERS * SLOTS) * took.as_secs_f64());
    report.add(
        "32 workers × 8 slots, 20,000 sleeps of 1 s: slot use",
        used,
        "%",
        format!("{used:.2} % ({:.2} s; 79 rounds of 1 s are 98.90 %)", took.as_secs_f64()),
        Target::AtLeast(98.0),
    );
    Ok(())
}
