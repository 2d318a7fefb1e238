//! A worker that runs nothing: a test says what comes of each lease. Stricter than a real one: any message that it does
//! not expect fails the test.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hands_link::Pipe;
use hands_proto::v1::hub_message::Kind as FromHub;
use hands_proto::v1::worker_message::Kind as ToHub;
use hands_proto::v1::workers_client::WorkersClient;
use hands_proto::{reapi, rpc, v1};
use hands_types::{DigestFunction, WorkerId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::support::soon;

pub(crate) struct Worker {
    pub(crate) welcome: v1::Welcome,
    /// Leases that came while something else was waited for.
    leases: VecDeque<v1::Lease>,
    to_hub: mpsc::Sender<v1::WorkerMessage>,
    from_hub: Streaming<v1::HubMessage>,
    _channel: Channel,
}

pub(crate) fn hello(name: &str) -> v1::Hello {
    // One name, one worker, over all sessions.
    let id = name.bytes().fold(7_u128, |id, byte| id * 257 + u128::from(byte));
    let offer = |name: &str, value: &str| v1::Property { name: name.into(), value: value.into() };
    v1::Hello {
        protocol: Some(v1::Protocol {
            low: 1,
            high: 1,
            build_id: "test".into(),
            version: "0".into(),
        }),
        worker_id: WorkerId(id).to_string(),
        name: name.into(),
        properties: vec![
            offer("OSFamily", "linux"),
            offer("ISA", "x86_64"),
            offer("host-root", "aa/1"),
        ],
        slots: 2,
        memory: 8 << 30,
        ..Default::default()
    }
}

/// Signs of life, until the worker is dropped.
async fn beat(to_hub: mpsc::WeakSender<v1::WorkerMessage>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Some(to_hub) = to_hub.upgrade() else { return };
        let beat = v1::WorkerMessage { kind: Some(ToHub::Heartbeat(v1::Heartbeat::default())) };
        if to_hub.send(beat).await.is_err() {
            return;
        }
    }
}

impl Worker {
    pub(crate) async fn connect(pipe: &Pipe, name: &str) -> Self {
        Self::with(pipe, hello(name)).await.unwrap()
    }

    pub(crate) async fn with(pipe: &Pipe, hello: v1::Hello) -> Result<Self, Status> {
        let channel = pipe.connect();
        let (to_hub, messages) = mpsc::channel(64);
        to_hub.send(v1::WorkerMessage { kind: Some(ToHub::Hello(hello)) }).await.unwrap();
        let mut client = WorkersClient::new(channel.clone());
        let answer = soon("the session", client.session(ReceiverStream::new(messages))).await?;
        let mut from_hub = answer.into_inner();
        let first = soon("Welcome", from_hub.message()).await?.and_then(|message| message.kind);
        let Some(FromHub::Welcome(welcome)) = first else {
            panic!("the first message was {first:?}")
        };
        tokio::spawn(beat(to_hub.downgrade()));
        Ok(Self { welcome, leases: VecDeque::new(), to_hub, from_hub, _channel: channel })
    }

    pub(crate) async fn say(&self, kind: ToHub) {
        self.to_hub.send(v1::WorkerMessage { kind: Some(kind) }).await.unwrap();
    }

    /// The next message that is no lease, or the session's end.
    pub(crate) async fn hear(&mut self) -> Result<Option<FromHub>, Status> {
        loop {
            match self.hear_any().await? {
                Some(FromHub::Lease(lease)) => self.leases.push_back(lease),
                other => return Ok(other),
            }
        }
    }

    async fn hear_any(&mut self) -> Result<Option<FromHub>, Status> {
        let message = soon("a message of the hub", self.from_hub.message()).await?;
        Ok(message.map(|message| message.kind.expect("a kind that we know")))
    }

    pub(crate) async fn lease(&mut self) -> v1::Lease {
        if let Some(lease) = self.leases.pop_front() {
            return lease;
        }
        match self.hear_any().await {
            Ok(Some(FromHub::Lease(lease))) => lease,
            other => panic!("expected a lease, got {other:?}"),
        }
    }

    pub(crate) async fn started(&self, lease: &v1::Lease) {
        self.say(ToHub::Started(v1::Started { id: lease.id.clone() })).await;
    }

    /// Sends a piece of output and waits for its acknowledgement.
    pub(crate) async fn output(
        &mut self,
        lease: &v1::Lease,
        stream: u32,
        offset: u64,
        data: &[u8],
    ) {
        let data = Bytes::copy_from_slice(data);
        self.say(ToHub::Output(v1::Output { id: lease.id.clone(), stream, offset, data })).await;
        match self.hear().await {
            Ok(Some(FromHub::OutputAck(ack))) => assert_eq!(ack.id, lease.id),
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }

    /// Reports a result, with streams that the hub should have.
    pub(crate) async fn finish(&self, lease: &v1::Lease, exit_code: i32, stdout: &[u8]) {
        self.report(lease, |finished| {
            finished.stdout_size = stdout.len() as u64;
            let result = finished.result.get_or_insert_default();
            result.exit_code = exit_code;
            result.stdout_digest = Some(hands_tree::hash(DigestFunction::Sha256, stdout).into());
        })
        .await;
    }

    pub(crate) async fn report(&self, lease: &v1::Lease, change: impl FnOnce(&mut v1::Finished)) {
        let mut finished = v1::Finished {
            id: lease.id.clone(),
            result: Some(reapi::ActionResult::default()),
            status: Some(rpc::Status::default()),
            ..Default::default()
        };
        change(&mut finished);
        self.say(ToHub::Finished(finished)).await;
    }

    pub(crate) async fn acknowledged(&mut self, lease: &v1::Lease) {
        match self.hear().await {
            Ok(Some(FromHub::ResultAck(ack))) => assert_eq!(ack.id, lease.id),
            other => panic!("expected the result's acknowledgement, got {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self, lease: &v1::Lease) -> String {
        match self.hear().await {
            Ok(Some(FromHub::Refused(refused))) => {
                assert_eq!(refused.id, lease.id);
                refused.reason
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    pub(crate) async fn cancelled(&mut self, lease: &v1::Lease) {
        match self.hear().await {
            Ok(Some(FromHub::Cancel(cancel))) => assert_eq!(cancel.id, lease.id),
            other => panic!("expected a cancel, got {other:?}"),
        }
    }

    pub(crate) async fn recalled(&mut self, lease: &v1::Lease) {
        match self.hear().await {
            Ok(Some(FromHub::Recall(recall))) => assert_eq!(recall.id, lease.id),
            other => panic!("expected a recall, got {other:?}"),
        }
    }

    pub(crate) async fn hand_back(&self, lease: &v1::Lease, cause: v1::HandBackCause) {
        let reason = "a test".to_owned();
        let back = v1::HandBack { id: lease.id.clone(), reason, cause: cause.into() };
        self.say(ToHub::HandBack(back)).await;
    }

    /// Runs the next lease to this end.
    pub(crate) async fn run(&mut self, exit_code: i32) -> v1::Lease {
        let lease = self.lease().await;
        self.started(&lease).await;
        self.finish(&lease, exit_code, b"").await;
        self.acknowledged(&lease).await;
        lease
    }
}
