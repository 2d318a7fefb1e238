//! The scripted hub. Strict: it panics at whatever a worker may not do.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hands_link::Listener;
use hands_proto::v1::workers_server::{Workers, WorkersServer};
use hands_proto::v1::{self, hub_message, worker_message};
use hands_proto::{reapi, v1::worker_message::Kind};
use hands_reapi::{Backend, LogName, LogSource, LogStream, services};
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction, OperationId, WorkerId};
use hands_worker::{IsolationChoice, Worker, WorkerConfig};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SHA256: DigestFunction = DigestFunction::Sha256;

/// A hub that does what a test says.
pub(crate) struct Hub {
    pub(crate) store: Store,
    road: Channel,
    sessions: mpsc::UnboundedReceiver<Session>,
    server: tokio::task::JoinHandle<()>,
}

/// One session as the hub sees it.
pub(crate) struct Session {
    incoming: Streaming<v1::WorkerMessage>,
    outgoing: mpsc::UnboundedSender<Result<v1::HubMessage, Status>>,
    pub(crate) hello: v1::Hello,
    /// What has come of each attempt's streams.
    seen: BTreeMap<String, Seen>,
    /// Ends that came while another was waited for.
    ended: Vec<v1::Finished>,
    /// Whether output is acknowledged as it comes.
    pub(crate) acknowledge: bool,
    /// How long a lease lives without a session.
    pub(crate) lease_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) streams: [Vec<u8>; 2],
    /// Where each stream began in this session, and how much of it was acknowledged.
    base: [u64; 2],
    acknowledged: [u64; 2],
}

/// An attempt's end with what came before it.
pub(crate) struct Ended {
    pub(crate) finished: v1::Finished,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn status(&self) -> i32 {
        self.finished.status.as_ref().map_or(0, |s| s.code)
    }

    pub(crate) fn message(&self) -> &str {
        self.finished.status.as_ref().map_or("", |s| s.message.as_str())
    }

    pub(crate) fn exit(&self) -> Option<i32> {
        self.finished.result.as_ref().map(|r| r.exit_code)
    }

    pub(crate) fn result(&self) -> &reapi::ActionResult {
        self.finished.result.as_ref().expect("a result")
    }

    pub(crate) fn note(&self) -> String {
        format!("{:?} out {:?} err {:?}", self.finished, self.out, self.err)
    }
}

struct Door(mpsc::UnboundedSender<Session>);

#[tonic::async_trait]
impl Workers for Door {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::HubMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut incoming = request.into_inner();
        let Some(Kind::Hello(hello)) = incoming.message().await?.and_then(|m| m.kind) else {
            panic!("the first message is not a hello");
        };
        let (outgoing, queue) = mpsc::unbounded_channel();
        let session = Session {
            incoming,
            outgoing,
            hello,
            seen: BTreeMap::new(),
            ended: Vec::new(),
            acknowledge: true,
            lease_ms: 10_000,
        };
        self.0.send(session).expect("the test takes sessions");
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(queue))))
    }
}

struct NoLogs;

#[tonic::async_trait]
impl LogSource for NoLogs {
    async fn read(&self, name: &LogName, _offset: u64) -> Result<LogStream, Status> {
        Err(Status::not_found(name.to_string()))
    }
}

impl Hub {
    pub(crate) fn new(place: &Path) -> Self {
        let (listener, pipe) = Listener::pipe();
        Self::at(place, listener, pipe.connect())
    }

    /// A hub that is reached by a channel of the test's own.
    pub(crate) fn at(place: &Path, listener: Listener, road: Channel) -> Self {
        let store = Store::open(StoreConfig::new(place.join("hub-store"))).expect("a store");
        let (door, sessions) = mpsc::unbounded_channel();
        let backend = Backend {
            store: store.clone(),
            logs: std::sync::Arc::new(NoLogs),
            exec_enabled: true,
            update_enabled: false,
        };
        let router = hands_link::server()
            .add_service(WorkersServer::new(Door(door)))
            .add_service(services::capabilities(&backend))
            .add_service(services::cas(&backend))
            .add_service(services::byte_stream(&backend));
        let server = tokio::spawn(async move {
            router.serve_with_incoming(listener.incoming()).await.expect("the server");
        });
        Self { store, road, sessions, server }
    }

    /// A worker's configuration. With a store of its own it fetches and uploads.
    pub(crate) fn config(&self, place: &Path, own_store: bool) -> WorkerConfig {
        let store = if own_store {
            Store::open(StoreConfig::new(place.join("worker-store"))).expect("a store")
        } else {
            self.store.clone()
        };
        WorkerConfig {
            id: WorkerId::from_parts(1, 7),
            name: "tester".to_owned(),
            build_id: "test".to_owned(),
            version: "0".to_owned(),
            hub: self.road.clone().into(),
            hub_name: "the scripted hub".to_owned(),
            store,
            same_store: !own_store,
            state_dir: place.join("worker"),
            program: "/proc/self/exe".into(),
            isolation: IsolationChoice::Best,
            slots: 2,
            memory: 0,
            custom: BTreeMap::from([("gpu".to_owned(), 1)]),
            expose: Vec::new(),
            default_env: Vec::new(),
            tags: vec!["blue".to_owned()],
            properties: vec![("site".to_owned(), "here".to_owned())],
            lease: None,
            ahead: None,
            parts: Vec::new(),
            compress: false,
        }
    }

    /// A worker and its first session, welcomed.
    pub(crate) async fn worker(&mut self, place: &Path, own_store: bool) -> (Worker, Session) {
        let config = self.config(place, own_store);
        // What a worker can't start for is said at once, and not as a session that does not come.
        let started = async { Worker::start(config).await.expect("a worker") };
        let (worker, mut session) = tokio::join!(started, self.session());
        session.welcome(Vec::new());
        (worker, session)
    }

    /// The next session, its hello read.
    pub(crate) async fn session(&mut self) -> Session {
        tokio::time::timeout(PATIENCE, self.sessions.recv())
            .await
            .expect("a session in time")
            .expect("a session")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Session {
    pub(crate) fn send(&self, kind: hub_message::Kind) {
        self.outgoing.send(Ok(v1::HubMessage { kind: Some(kind) })).expect("the worker listens");
    }

    pub(crate) fn welcome(&mut self, resume: Vec<(v1::AttemptId, [u64; 2])>) {
        for (id, base) in &resume {
            let seen = Seen { base: *base, acknowledged: *base, ..Seen::default() };
            self.seen.insert(id.operation.clone(), seen);
        }
        let resume = resume
            .into_iter()
            .map(|(id, base)| v1::Resume {
                id: Some(id),
                stdout_offset: base[0],
                stderr_offset: base[1],
            })
            .collect();
        let protocol = v1::Protocol { low: 1, high: 1, ..Default::default() };
        self.send(hub_message::Kind::Welcome(v1::Welcome {
            protocol: Some(protocol),
            session_id: "s".to_owned(),
            hub_id: "h".to_owned(),
            lease_ms: self.lease_ms,
            resume,
            store_quota: 0,
        }));
    }

    /// Ends the session with an error.
    pub(crate) fn break_off(self) {
        let _gone = self.outgoing.send(Err(Status::unavailable("the hub was killed")));
    }

    /// The next message but for signs of life; output is checked and gathered on the way.
    pub(crate) async fn next(&mut self) -> Kind {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = tokio::time::timeout_at(until, self.incoming.message()).await;
            let message =
                message.expect("a message in time").expect("a session").expect("a message");
            match message.kind.expect("a kind") {
                Kind::Heartbeat(_) | Kind::Holds(_) => {}
                Kind::Output(output) => {
                    self.output(&output);
                    return Kind::Output(output);
                }
                other => return other,
            }
        }
    }

    fn output(&mut self, output: &v1::Output) {
        let id = output.id.clone().expect("an id");
        let seen = self.seen.entry(id.operation.clone()).or_default();
        let i = match output.stream {
            1 => 0,
            2 => 1,
            other => panic!("stream {other}"),
        };
        assert_eq!(output.offset, seen.length(i), "output without gaps");
        assert!(!output.data.is_empty(), "an empty piece of output");
        seen.streams[i].extend_from_slice(&output.data);
        let unacknowledged: u64 = (0..2).map(|i| seen.length(i) - seen.acknowledged[i]).sum();
        assert!(unacknowledged <= 1 << 20, "{unacknowledged} bytes are not acknowledged");
        if self.acknowledge {
            self.acknowledge_all(&id);
        }
    }

    pub(crate) fn acknowledge_all(&mut self, id: &v1::AttemptId) {
        let Some(seen) = self.seen.get_mut(&id.operation) else { return };
        seen.acknowledged = [seen.length(0), seen.length(1)];
        let [stdout_offset, stderr_offset] = seen.acknowledged;
        self.send(hub_message::Kind::OutputAck(v1::OutputAck {
            id: Some(id.clone()),
            stdout_offset,
            stderr_offset,
        }));
    }

    pub(crate) fn seen(&self, id: &v1::AttemptId) -> [usize; 2] {
        self.seen.get(&id.operation).map_or([0; 2], |s| [s.streams[0].len(), s.streams[1].len()])
    }

    /// Reads on until an attempt has finished; acknowledges the result.
    pub(crate) async fn finish(&mut self, id: &v1::AttemptId) -> Ended {
        loop {
            if let Some(at) = self.ended.iter().position(|f| f.id.as_ref() == Some(id)) {
                return self.end(id, at);
            }
            match self.next().await {
                worker_message::Kind::Finished(finished) => self.ended.push(finished),
                Kind::HandBack(back) => panic!("handed back: {back:?}"),
                _ => {}
            }
        }
    }

    fn end(&mut self, id: &v1::AttemptId, at: usize) -> Ended {
        let finished = self.ended.remove(at);
        let seen = self.seen.remove(&id.operation).unwrap_or_default();
        let sizes = [finished.stdout_size, finished.stderr_size];
        assert_eq!(sizes, [seen.length(0), seen.length(1)], "all output came before the result");
        self.send(hub_message::Kind::ResultAck(v1::ResultAck { id: Some(id.clone()) }));
        let [out, err] = seen.streams.map(|s| String::from_utf8_lossy(&s).into_owned());
        Ended { finished, out, err }
    }

    /// Waits until an attempt has started.
    pub(crate) async fn started(&mut self, id: &v1::AttemptId) {
        loop {
            if let Kind::Started(started) = self.next().await
                && started.id.as_ref() == Some(id)
            {
                return;
            }
        }
    }

    pub(crate) async fn run(&mut self, lease: v1::Lease) -> Ended {
        let id = lease.id.clone().expect("an id");
        self.send(hub_message::Kind::Lease(lease));
        self.finish(&id).await
    }
}

impl Seen {
    fn length(&self, i: usize) -> u64 {
        self.base[i] + self.streams[i].len() as u64
    }
}

/// Makes leases.
pub(crate) struct Job {
    pub(crate) command: reapi::Command,
    pub(crate) action: reapi::Action,
    pub(crate) options: v1::ExecuteOptions,
}

impl Job {
    pub(crate) fn new(argv: &[&str]) -> Self {
        let command = reapi::Command {
            arguments: argv.iter().map(|a| (*a).to_owned()).collect(),
            ..Default::default()
        };
        let action = reapi::Action {
            input_root_digest: Some(put_none().into()),
            do_not_cache: true,
            ..Default::default()
        };
        Self { command, action, options: v1::ExecuteOptions::default() }
    }

    pub(crate) fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    pub(crate) fn outputs(mut self, paths: &[&str]) -> Self {
        self.command.output_paths = paths.iter().map(|p| (*p).to_owned()).collect();
        self
    }

    pub(crate) fn property(mut self, name: &str, value: &str) -> Self {
        let property = reapi::platform::Property { name: name.to_owned(), value: value.to_owned() };
        self.action.platform.get_or_insert_default().properties.push(property);
        self
    }

    pub(crate) fn lease(mut self) -> v1::Lease {
        static NEXT: Mutex<u128> = Mutex::new(1);
        let mut next = NEXT.lock().expect("the counter");
        *next += 1;
        let operation = OperationId::from_parts(1, *next);
        let command = self.command.encode_to_vec();
        self.action.command_digest = Some(hands_tree::hash(SHA256, &command).into());
        let action = self.action.encode_to_vec();
        v1::Lease {
            id: Some(v1::AttemptId { operation: operation.to_string(), attempt: 1 }),
            digest_function: reapi::digest_function::Value::Sha256.into(),
            action_digest: Some(hands_tree::hash(SHA256, &action).into()),
            action: action.into(),
            command: command.into(),
            options: Some(self.options),
            ..Default::default()
        }
    }
}

/// The lease without its Command, as the hub grants it for a large one.
pub(crate) fn without_command(mut lease: v1::Lease, store: &Store) -> v1::Lease {
    store.put_bytes(SHA256, &std::mem::take(&mut lease.command)).expect("stored");
    lease.takes = Some(v1::Takes { cpu_millis: 1000, ..Default::default() });
    lease
}

/// The empty directory, which needs no storing.
fn put_none() -> Digest {
    hands_tree::empty(SHA256)
}

/// Stores a directory with these files; returns its digest.
pub(crate) fn put_tree(store: &Store, files: &[(&str, &str)]) -> Digest {
    let nodes = files.iter().map(|(name, content)| {
        let digest = store.put_bytes(SHA256, content.as_bytes()).expect("stored");
        reapi::FileNode {
            name: (*name).to_owned(),
            digest: Some(digest.into()),
            ..Default::default()
        }
    });
    let directory = reapi::Directory { files: nodes.collect(), ..Default::default() };
    store.put_bytes(SHA256, &directory.encode_to_vec()).expect("stored")
}

/// A blob as text.
pub(crate) fn text(store: &Store, digest: Option<&reapi::Digest>) -> String {
    let digest = digest.expect("a digest").to_digest(SHA256).expect("a digest");
    let bytes: Option<Bytes> = store.read(&digest).expect("the store");
    bytes.map_or_else(|| "missing".to_owned(), |b| String::from_utf8_lossy(&b).into_owned())
}
