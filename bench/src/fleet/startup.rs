//! A hub with 100,000 queued actions and 1,000,000 blobs is killed and started: how soon it serves.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hands_proto::reapi::batch_update_blobs_request::Request as Upload;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::{self, BatchUpdateBlobsRequest, FindMissingBlobsRequest};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::hub::{Hub, until};
use super::sham::Sham;
use crate::report::{Report, Target};
use crate::stats::Times;
use crate::wire::{Client, digest};

const BLOBS: u64 = 1_000_000;
const QUEUED: u64 = 100_000;
const CLIENTS: u64 = 16;
const BATCH: u64 = 5_000;
const ROUNDS: u64 = 5;

pub(crate) async fn startup(hands: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    let mut hub = Hub::start(hands, dir)?;
    fill(&hub).await?;
    let (mut blobs, mut leases) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        hub.kill()?;
        let start = Instant::now();
        let log = hub.spawn()?;
        let address = hub.address();
        // Both at once, as after a real restart.
        let found = find_missing(hands_link::connect(&address), round);
        let leased = lease(&address, u32::try_from(round)?);
        let found = async { found.await.map(|()| start.elapsed()) };
        let leased = async { leased.await.map(|()| start.elapsed()) };
        let (found, leased) = tokio::try_join!(found, leased)?;
        blobs.push(found);
        leases.push(leased);
        until(log, "the hub serves")?;
    }
    for (name, times, most) in [
        ("restart with 1,000,000 blobs: first FindMissingBlobs", blobs, 200.0),
        ("  and 100,000 queued actions: first lease", leases, 500.0),
    ] {
        let times = Times::new(times);
        // Each of them has to be in time.
        let worst = times.at(1.0).as_secs_f64() * 1e3;
        let figure = format!("at most {worst:.0} ms of {ROUNDS} (p50 {:.0} ms)", times.median_ms());
        report.add(name, worst, "ms", figure, Target::AtMost(most));
    }
    Ok(())
}

fn blob(n: u64) -> Bytes {
    format!("blob {n:>20}").into()
}

async fn fill(hub: &Hub) -> Result<()> {
    let mut tasks = JoinSet::new();
    for n in 0..CLIENTS {
        let channel = hands_link::connect(&hub.address());
        tasks.spawn(async move {
            let mut cas = ContentAddressableStorageClient::new(channel.clone());
            for batch in (n..BLOBS / BATCH).step_by(usize::try_from(CLIENTS)?) {
                let requests = (batch * BATCH..(batch + 1) * BATCH).map(blob).map(|data| Upload {
                    digest: Some(digest(&data).into()),
                    data,
                    ..Upload::default()
                });
                let requests =
                    BatchUpdateBlobsRequest { requests: requests.collect(), ..Default::default() };
                for answer in cas.batch_update_blobs(requests).await?.into_inner().responses {
                    ensure!(answer.status.unwrap_or_default().code == 0, "a blob was refused");
                }
            }
            let mut client = Client::new(channel, n);
            for _ in 0..QUEUED / CLIENTS {
                // Its first message says that it is on disk; it stays when nobody listens.
                drop(client.submit(true).await?);
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Asks for blobs of which every other is there until the answer comes, which must be right.
async fn find_missing(channel: Channel, round: u64) -> Result<()> {
    let mut cas = ContentAddressableStorageClient::new(channel);
    let (mut ask, mut wanted) = (Vec::new(), Vec::new());
    for i in 0..1000 {
        let i = (i * 997 + round * 131) % BLOBS;
        let is_there = i.is_multiple_of(2);
        let digest = reapi::Digest::from(&digest(&blob(if is_there { i } else { i + BLOBS })));
        ask.push(digest.clone());
        wanted.extend((!is_there).then_some(digest));
    }
    let request = FindMissingBlobsRequest { blob_digests: ask, ..Default::default() };
    let answer = loop {
        match cas.find_missing_blobs(request.clone()).await {
            Ok(answer) => break answer.into_inner(),
            Err(status) if status.code() == tonic::Code::Unavailable => pause().await,
            Err(status) => return Err(status.into()),
        }
    };
    ensure!(answer.missing_blob_digests == wanted, "the answer is wrong");
    Ok(())
}

async fn lease(address: &hands_link::Address, n: u32) -> Result<()> {
    loop {
        match Sham::connect(hands_link::connect(address), n, 1).await {
            Ok(mut sham) => return sham.leased().await,
            Err(error) => match error.downcast_ref::<tonic::Status>() {
                Some(status) if status.code() == tonic::Code::Unavailable => pause().await,
                _ => return Err(error),
            },
        }
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
