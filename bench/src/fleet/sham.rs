//! Simulated workers: the protocol of a real one, and a clock in place of the sandbox.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hands_proto::v1::hub_message::Kind as FromHub;
use hands_proto::v1::worker_message::Kind as ToHub;
use hands_proto::v1::workers_client::WorkersClient;
use hands_proto::{reapi, rpc, v1};
use hands_types::{DigestFunction, WorkerId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// What all of them did together.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) finished: AtomicU64,
    /// Of the first start and of the last end.
    pub(crate) span: Mutex<Option<(Instant, Instant)>>,
}

/// One worker.
pub(crate) struct Sham {
    to_hub: mpsc::Sender<v1::WorkerMessage>,
    from_hub: Streaming<v1::HubMessage>,
    slots: usize,
}

impl Sham {
    /// Opens its session.
    pub(crate) async fn connect(channel: Channel, n: u32, slots: u32) -> Result<Self> {
        let offer =
            |name: &str, value: &str| v1::Property { name: name.into(), value: value.into() };
        let hello = v1::Hello {
            protocol: Some(v1::Protocol {
                low: 1,
                high: 1,
                build_id: "bench".into(),
                version: "0".into(),
            }),
            worker_id: WorkerId(0x5a00_0000_0000 + u128::from(n)).to_string(),
            name: format!("sham-{n}"),
            properties: vec![offer("OSFamily", "linux"), offer("ISA", "x86_64")],
            cpu_millis: slots * 1000,
            slots,
            memory: 64 << 30,
            ..Default::default()
        };
        let (to_hub, messages) = mpsc::channel(1024);
        to_hub.send(message(ToHub::Hello(hello))).await?;
        let answer = WorkersClient::new(channel).session(ReceiverStream::new(messages)).await?;
        let mut from_hub = answer.into_inner();
        let first = from_hub.message().await?.context("no welcome")?;
        match first.kind {
            Some(FromHub::Welcome(_)) => {}
            other => bail!("not a welcome: {other:?}"),
        }
        Ok(Self { to_hub, from_hub, slots: usize::try_from(slots)? })
    }

    /// Waits for the first lease.
    pub(crate) async fn leased(&mut self) -> Result<()> {
        loop {
            let message = self.from_hub.message().await?.context("the session ended")?;
            if let Some(FromHub::Lease(_)) = message.kind {
                return Ok(());
            }
        }
    }

    /// Works until the session ends. Each action takes this long.
    pub(crate) async fn work(mut self, takes: Duration, tally: &Tally) -> Result<()> {
        let mut line: VecDeque<v1::AttemptId> = VecDeque::new();
        let mut running = 0;
        let (done, mut ended) = mpsc::unbounded_channel();
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            while running < self.slots
                && let Some(id) = line.pop_front()
            {
                running += 1;
                let start = Instant::now();
                self.say(ToHub::Started(v1::Started { id: Some(id.clone()) })).await?;
                if takes.is_zero() {
                    done.send((id, start))?;
                } else {
                    let done = done.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(takes).await;
                        // Nobody hears it after the session's end.
                        drop(done.send((id, start)));
                    });
                }
            }
            tokio::select! {
                biased;
                Some((id, start)) = ended.recv() => {
                    running -= 1;
                    tally.count(start);
                    self.say(ToHub::Finished(finished(id))).await?;
                }
                message = self.from_hub.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    match message.kind {
                        Some(FromHub::Lease(lease)) => line.extend(lease.id),
                        Some(FromHub::Recall(recall)) => {
                            let before = line.len();
                            line.retain(|id| Some(id) != recall.id.as_ref());
                            if line.len() < before {
                                let cause = v1::HandBackCause::LeaseRecalled.into();
                                let back = v1::HandBack { id: recall.id, reason: String::new(), cause };
                                self.say(ToHub::HandBack(back)).await?;
                            }
                        }
                        Some(FromHub::Cancel(_) | FromHub::Refused(_)) => {
                            bail!("nobody has cancelled anything: {message:?}")
                        }
                        Some(_) | None => {}
                    }
                }
                _ = beat.tick() => self.say(ToHub::Heartbeat(v1::Heartbeat::default())).await?,
            }
        }
    }

    async fn say(&self, kind: ToHub) -> Result<()> {
        self.to_hub.send(message(kind)).await.context("the session ended")
    }
}

impl Tally {
    fn count(&self, start: Instant) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        let end = Instant::now();
        let mut span = self.span.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (first, last) = span.unwrap_or((start, end));
        *span = Some((first.min(start), last.max(end)));
    }
}

fn message(kind: ToHub) -> v1::WorkerMessage {
    v1::WorkerMessage { kind: Some(kind) }
}

fn finished(id: v1::AttemptId) -> v1::Finished {
    let empty = hands_tree::empty(DigestFunction::Sha256);
    v1::Finished {
        id: Some(id),
        result: Some(reapi::ActionResult {
            stdout_digest: Some(empty.into()),
            stderr_digest: Some(empty.into()),
            ..Default::default()
        }),
        status: Some(rpc::Status::default()),
        ..Default::default()
    }
}
