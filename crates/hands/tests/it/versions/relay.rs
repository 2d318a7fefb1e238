//! A gRPC relay that knows no service: it passes every call on, and changes each message as it is told.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hands_link::{Address, Listener};
use hands_proto::v1;
use hands_proto::v1::hub_message::Kind as FromHub;
use hands_proto::v1::worker_message::Kind as ToHub;
use hands_testkit::raw::Raw;
use prost::Message;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

const SESSION: &str = "/hands.v1.Workers/Session";
const INFO: &str = "/hands.v1.Jobs/Info";
const GET: &str = "/hands.v1.Jobs/Get";
const LIST: &str = "/hands.v1.Jobs/List";

/// A state of no version.
pub(super) const UNKNOWN_STATE: i32 = 99;

/// How one side's messages are changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    AsIs,
    /// As a program of another version.
    Version {
        low: u32,
        high: u32,
        name: &'static str,
    },
    /// Each action is in a state that nobody knows.
    UnknownStates,
    /// A hub that has no such method.
    Without(&'static str),
}

/// What has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Messages that got fields that nobody knows.
    pub(super) n_changed: u32,
    /// Messages of unknown kinds that were put in between.
    pub(super) n_unknown: u32,
    /// The ranges of protocol versions, as the programs themselves had them, one for each kind of message.
    ranges_of: BTreeSet<(&'static str, (u32, u32))>,
    pub(super) ranges: Vec<(u32, u32)>,
}

/// Serves until it is dropped.
pub(super) struct Relay {
    pub(super) address: String,
    said: Arc<Mutex<Said>>,
    _runtime: tokio::runtime::Runtime,
}

impl Relay {
    pub(super) fn start(socket: &Path, hub: &str, of_hub: Speaks, of_others: Speaks) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let address = Address::Unix(socket.to_owned());
        {
            let _inside = runtime.enter();
            let channel = hands_link::connect(&hub.parse::<Address>().unwrap());
            let change = |is_hub, speaks| Change { is_hub, speaks, said: Arc::clone(&said) };
            let (up, down) = (change(false, of_others), change(true, of_hub));
            let service = tower::service_fn(move |request: http::Request<axum::body::Body>| {
                let path = request.uri().path().to_owned();
                let forward =
                    Forward { channel: channel.clone(), path, up: up.clone(), down: down.clone() };
                async move {
                    let mut grpc = tonic::server::Grpc::new(Raw)
                        .max_decoding_message_size(usize::MAX)
                        .max_encoding_message_size(usize::MAX);
                    Ok::<_, Infallible>(grpc.streaming(forward, request).await)
                }
            });
            let routes = axum::Router::new().fallback_service(service);
            let serving = hands_link::server()
                .add_routes(tonic::service::Routes::from(routes))
                .serve_with_incoming(Listener::bind(&address).unwrap().incoming());
            drop(runtime.spawn(serving));
        }
        Self { address: address.to_string(), said, _runtime: runtime }
    }

    pub(super) fn said(&self) -> Said {
        let mut said = self.said.lock().unwrap().clone();
        said.ranges = said.ranges_of.iter().map(|(_, range)| *range).collect();
        said
    }
}

/// One call.
struct Forward {
    channel: Channel,
    path: String,
    up: Change,
    down: Change,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl tonic::server::StreamingService<Bytes> for Forward {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (channel, path) = (self.channel.clone(), self.path.clone());
        let (up, down) = (self.up.clone(), self.down.clone());
        Box::pin(async move {
            if matches!(down.speaks, Speaks::Without(method) if path.ends_with(method)) {
                return Err(Status::unimplemented("this hub has no such method"));
            }
            let (metadata, _, messages) = request.into_parts();
            let stream = Changed::new(messages, up, &path);
            // What breaks off is not passed on as an end: the hub sees the connection's own.
            let stream = tokio_stream::StreamExt::filter_map(stream, Result::ok);
            let mut onward = Request::new(stream);
            *onward.metadata_mut() = metadata;
            let mut grpc = tonic::client::Grpc::new(channel)
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let method = path.parse().map_err(|_| Status::internal("a path"))?;
            let (metadata, answers, extensions) =
                grpc.streaming(onward, method, Raw).await?.into_parts();
            let answers: Answers = Box::pin(Changed::new(answers, down, &path));
            Ok(Response::from_parts(metadata, answers, extensions))
        })
    }
}

/// A stream of messages, each changed, with others between them.
struct Changed {
    messages: Streaming<Bytes>,
    ready: VecDeque<Bytes>,
    change: Change,
    path: String,
    is_first: bool,
}

impl Changed {
    fn new(messages: Streaming<Bytes>, change: Change, path: &str) -> Self {
        let path = path.to_owned();
        Self { messages, ready: VecDeque::new(), change, path, is_first: true }
    }
}

impl Stream for Changed {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(ready) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(ready)));
        }
        let message = std::task::ready!(Pin::new(&mut self.messages).poll_next(cx));
        Poll::Ready(message.map(|message| {
            let message = message?;
            if !std::mem::replace(&mut self.is_first, false)
                && let Some(unknown) = self.change.unknown(&self.path)
            {
                let message = self.change.message(&self.path, message);
                self.ready.push_back(message);
                return Ok(unknown);
            }
            Ok(self.change.message(&self.path, message))
        }))
    }
}

#[derive(Clone)]
struct Change {
    is_hub: bool,
    speaks: Speaks,
    said: Arc<Mutex<Said>>,
}

impl Change {
    /// A message of a kind that a later version has, where a stream has kinds.
    fn unknown(&self, path: &str) -> Option<Bytes> {
        let is_later = matches!(self.speaks, Speaks::Version { .. });
        (is_later && path == SESSION).then(|| {
            self.said.lock().unwrap().n_unknown += 1;
            let mut message = Vec::new();
            later_fields(&mut message);
            message.into()
        })
    }

    fn message(&self, path: &str, message: Bytes) -> Bytes {
        let message = self.range(path, &message).unwrap_or(message);
        match self.speaks {
            Speaks::AsIs | Speaks::Without(_) => message,
            Speaks::UnknownStates => states(path, &message).unwrap_or(message),
            Speaks::Version { .. } => {
                self.said.lock().unwrap().n_changed += 1;
                let mut message = message.to_vec();
                if path == SESSION {
                    message = later_fields_inside(&message);
                }
                later_fields(&mut message);
                message.into()
            }
        }
    }

    /// The message with another range, where it has one.
    fn range(&self, path: &str, message: &Bytes) -> Option<Bytes> {
        match (path, self.is_hub) {
            (INFO, true) => {
                let mut info = v1::InfoReply::decode(message.clone()).ok()?;
                self.note("Info", info.protocol.as_mut()?);
                Some(info.encode_to_vec().into())
            }
            (SESSION, true) => {
                let mut message = v1::HubMessage::decode(message.clone()).ok()?;
                let Some(FromHub::Welcome(welcome)) = &mut message.kind else { return None };
                self.note("Welcome", welcome.protocol.as_mut()?);
                Some(message.encode_to_vec().into())
            }
            (SESSION, false) => {
                let mut message = v1::WorkerMessage::decode(message.clone()).ok()?;
                let Some(ToHub::Hello(hello)) = &mut message.kind else { return None };
                self.note("Hello", hello.protocol.as_mut()?);
                Some(message.encode_to_vec().into())
            }
            _ => None,
        }
    }

    fn note(&self, what: &'static str, protocol: &mut v1::Protocol) {
        let range = (protocol.low, protocol.high);
        self.said.lock().unwrap().ranges_of.insert((what, range));
        if let Speaks::Version { low, high, name } = self.speaks {
            (protocol.low, protocol.high, protocol.version) = (low, high, name.to_owned());
        }
    }
}

fn states(path: &str, message: &Bytes) -> Option<Bytes> {
    let mut list = match path {
        GET => v1::ListReply {
            jobs: vec![v1::Job::decode(message.clone()).ok()?],
            ..Default::default()
        },
        LIST => v1::ListReply::decode(message.clone()).ok()?,
        _ => return None,
    };
    for job in &mut list.jobs {
        job.state = UNKNOWN_STATE;
    }
    let bytes = if path == GET { list.jobs.first()?.encode_to_vec() } else { list.encode_to_vec() };
    Some(bytes.into())
}

/// One field of each kind that the wire has, with numbers that no version has.
fn later_fields(message: &mut Vec<u8>) {
    let tag = |number: u32, kind: u32| {
        let mut tag = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | kind), &mut tag);
        tag
    };
    for (number, kind, value) in [
        (1000, 0, &[0x96, 0x01][..]),
        (1001, 1, &[7; 8]),
        (1002, 2, b"\x05later"),
        (1003, 5, &[7; 4]),
    ] {
        message.extend(tag(number, kind));
        message.extend(value);
    }
}

/// The same within the one field that a message of a stream of kinds is.
fn later_fields_inside(message: &[u8]) -> Vec<u8> {
    let mut rest = message;
    let Ok(tag) = prost::encoding::decode_varint(&mut rest) else { return message.to_vec() };
    let Ok(length) = prost::encoding::decode_varint(&mut rest) else { return message.to_vec() };
    assert_eq!((tag & 7, length), (2, rest.len() as u64), "one message: {message:?}");
    let mut inner = rest.to_vec();
    later_fields(&mut inner);
    let mut outer = Vec::new();
    prost::encoding::encode_varint(tag, &mut outer);
    prost::encoding::encode_varint(inner.len() as u64, &mut outer);
    outer.extend(inner);
    outer
}
