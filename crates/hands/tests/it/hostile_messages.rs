//! Messages that are small on the wire and large in memory, or long to work on: the hub refuses them before it makes anything of
//! them, has back what they took, and answers others in the meantime.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use hands_link::Address;
use hands_proto::bytestream::WriteRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::longrunning::operation::Result as Outcome;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{
    Action, ActionResult, Command, ExecuteRequest, ExecuteResponse, GetActionResultRequest,
    OutputFile, UpdateActionResultRequest,
};
use hands_types::{Digest, DigestFunction};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::doors::Doors;

const MIB: usize = 1 << 20;
/// Most that the hub may grow by, and what it may keep of that, bytes.
const MOST: u64 = 300 << 20;
const KEPT: u64 = 110 << 20;
/// An honest call beside the worst takes no longer. It took 10 s and more.
const LONGEST: Duration = Duration::from_secs(1);
const CAS: &str = "/build.bazel.remote.execution.v2.ContentAddressableStorage";
const UPDATE: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";
const GET: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
const EXECUTE: &str = "/build.bazel.remote.execution.v2.Execution/Execute";

/// Sends bytes as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = usize;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let length = buf.remaining();
        buf.advance(length);
        Ok(Some(length))
    }
}

/// A hub without workers, and who means ill.
struct Victim {
    doors: Doors,
    channel: Channel,
}

impl Victim {
    fn new() -> Self {
        let doors = Doors::new(false);
        let channel = hands_link::connect(&doors.address.parse::<Address>().unwrap());
        Self { doors, channel }
    }

    /// What the hub has, or had at most, bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.doors.hub.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// The bytes of the answer to a call.
    async fn call(channel: Channel, path: PathAndQuery, message: Bytes) -> Result<usize, Status> {
        let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
        client.ready().await.unwrap();
        let request = Request::new(tokio_stream::once(message));
        let mut answers = client.streaming(request, path, Raw).await?.into_inner();
        let mut bytes = 0;
        while let Some(answer) = answers.message().await? {
            bytes += answer;
        }
        Ok(bytes)
    }

    /// All at once; how each ended.
    async fn calls(&self, n: usize, path: &str, message: &Bytes) -> Vec<Result<usize, Status>> {
        let path: PathAndQuery = path.parse().unwrap();
        let calls = (0..n).map(|_| Self::call(self.channel.clone(), path.clone(), message.clone()));
        calls.collect::<JoinSet<_>>().join_all().await
    }

    async fn put(&self, bytes: Vec<u8>) -> Digest {
        let digest = hands_tree::hash(DigestFunction::Sha256, &bytes);
        let name = format!("uploads/x/blobs/{}/{}", digest.hex(), digest.size);
        let bytes = Bytes::from(bytes);
        let mut requests = Vec::new();
        for at in (0..bytes.len().max(1)).step_by(MIB) {
            let end = bytes.len().min(at + MIB);
            requests.push(WriteRequest {
                resource_name: name.clone(),
                write_offset: i64::try_from(at).unwrap(),
                finish_write: end == bytes.len(),
                data: bytes.slice(at..end),
            });
        }
        let mut client = ByteStreamClient::new(self.channel.clone());
        let sent = client.write(tokio_stream::iter(requests));
        assert_eq!(sent.await.unwrap().into_inner().committed_size, digest.size.cast_signed());
        digest
    }

    async fn action(&self, command: &Command) -> Digest {
        let command = self.put(command.encode_to_vec()).await;
        let action = Action {
            command_digest: Some(command.into()),
            input_root_digest: Some(hands_tree::empty(DigestFunction::Sha256).into()),
            ..Default::default()
        };
        self.put(action.encode_to_vec()).await
    }

    /// The longest that honest calls took beside something; each is a look-up of one blob on a connection of its own.
    async fn longest_beside(&self, worst: impl Future<Output = ()>) -> Duration {
        let done = Arc::new(AtomicBool::new(false));
        let channel = hands_link::connect(&self.doors.address.parse::<Address>().unwrap());
        let honest = tokio::spawn({
            let done = Arc::clone(&done);
            let mut client = ActionCacheClient::new(channel);
            async move {
                let digest = hands_tree::hash(DigestFunction::Sha256, b"nothing");
                let mut longest = Duration::ZERO;
                while !done.load(Ordering::Relaxed) {
                    let request = GetActionResultRequest {
                        action_digest: Some(digest.into()),
                        ..Default::default()
                    };
                    let began = Instant::now();
                    let status = client.get_action_result(request).await.unwrap_err();
                    assert_eq!(status.code(), Code::NotFound, "{status:?}");
                    longest = longest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                longest
            }
        });
        worst.await;
        done.store(true, Ordering::Relaxed);
        honest.await.unwrap()
    }
}

/// A message of nothing but empty elements of one field.
fn empties(field: u8, bytes: usize) -> Bytes {
    Bytes::from([field << 3 | 2, 0].repeat(bytes / 2))
}

fn refused(name: &str, outcomes: &[Result<usize, Status>]) {
    for outcome in outcomes {
        let status = outcome.as_ref().expect_err(name);
        let known = [Code::InvalidArgument, Code::ResourceExhausted, Code::OutOfRange];
        assert!(known.contains(&status.code()), "{name}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_becomes_is_bounded_before_it_is_decoded() {
    let victim = Victim::new();
    let before = victim.memory("VmRSS:");
    let tree = victim.put(empties(1, 12 * MIB).to_vec()).await;
    let name = |digest: Digest, field: u8| {
        let digest = hands_proto::reapi::Digest::from(digest).encode_to_vec();
        let length = u8::try_from(digest.len()).unwrap();
        Bytes::from([&[field << 3 | 2, length], &digest[..]].concat())
    };
    let command = Command { arguments: vec![String::new(); 2 * MIB], ..Default::default() };
    let action = victim.action(&command).await;
    let mut result = vec![3 << 3 | 2, 0xc0, 0xff, 0xff, 0x07];
    result.extend_from_slice(&empties(2, 16 * MIB - 64)[..]);
    let worst: Vec<(&str, Bytes)> = vec![
        ("BatchReadBlobs", empties(2, 16 * MIB - 64)),
        ("BatchUpdateBlobs", empties(2, 16 * MIB - 64)),
        ("FindMissingBlobs", empties(2, 16 * MIB - 64)),
        ("SpliceBlob", empties(3, 16 * MIB - 64)),
        ("GetTree", name(tree, 2)),
    ];
    for (method, message) in &worst {
        let outcomes = victim.calls(4, &format!("{CAS}/{method}"), message).await;
        refused(method, &outcomes);
        let grew = victim.memory("VmHWM:").saturating_sub(before);
        assert!(grew < MOST, "{method}: grew by {grew}");
    }
    refused(UPDATE, &victim.calls(4, UPDATE, &Bytes::from(result)).await);
    refused(EXECUTE, &victim.calls(4, EXECUTE, &name(action, 6)).await);
    let grew = victim.memory("VmHWM:").saturating_sub(before);
    assert!(grew < MOST, "grew by {grew}");
    // It gives back what it does not need any more.
    let kept = || victim.memory("VmRSS:").saturating_sub(before);
    let until = Instant::now() + Duration::from_secs(30);
    while kept() > KEPT && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(kept() <= KEPT, "{} are kept", kept());
    assert_eq!(victim.doors.hub.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_makes_others_wait() {
    let victim = Victim::new();
    // As many files as a result has room for, none of them equal, and all of their names asked for inside, in the worst order.
    let files: Vec<OutputFile> = (0..60_000)
        .map(|n| OutputFile {
            path: format!("f{n:06}"),
            digest: Some(hands_tree::empty(DigestFunction::Sha256).into()),
            ..Default::default()
        })
        .collect();
    let names: Vec<String> = files.iter().rev().map(|file| format!("{}x", file.path)).collect();
    let action = hands_tree::hash(DigestFunction::Sha256, b"many files");
    let result = ActionResult { output_files: files, ..Default::default() };
    let update = UpdateActionResultRequest {
        action_digest: Some(action.into()),
        action_result: Some(result),
        ..Default::default()
    };
    let mut cache = ActionCacheClient::new(victim.channel.clone())
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    cache.update_action_result(update).await.unwrap();
    let get = GetActionResultRequest {
        action_digest: Some(action.into()),
        inline_output_files: names.clone(),
        ..Default::default()
    };
    let execute = ExecuteRequest {
        action_digest: Some(action.into()),
        inline_output_files: names,
        ..Default::default()
    };
    let (get, execute) = (Bytes::from(get.encode_to_vec()), Bytes::from(execute.encode_to_vec()));
    // Memory for all of them at once there need not be.
    let answered = |outcomes: Vec<Result<usize, Status>>| {
        assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
        for status in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        }
    };
    let mut longest = BTreeMap::new();
    for (path, message) in [(GET, &get), (EXECUTE, &execute)] {
        let took = victim.longest_beside(async { answered(victim.calls(4, path, message).await) });
        longest.insert(path, took.await);
    }
    // Each output's path is looked at below the working directory.
    let command = Command {
        arguments: vec!["true".to_owned()],
        working_directory: "d/".repeat(500_000),
        output_paths: (0..300_000).map(|n| format!("{n}")).collect(),
        ..Default::default()
    };
    let action = victim.action(&command).await;
    let execute = ExecuteRequest { action_digest: Some(action.into()), ..Default::default() };
    let execute = Bytes::from(execute.encode_to_vec());
    let took = victim.longest_beside(async {
        refused("long paths", &victim.calls(4, EXECUTE, &execute).await);
    });
    longest.insert("Command", took.await);
    assert!(longest.values().all(|longest| *longest < LONGEST), "{longest:?}");
    assert_eq!(victim.doors.hub.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_no_worker_could_take_is_refused_and_a_large_one_runs() {
    let victim = Victim::new();
    let worker = victim.doors.worker("one", &[]);
    let execute = async |variables: usize| {
        // As a shell's, whose own limit for all of its variables is 2 MiB.
        let variable = |n| hands_proto::reapi::command::EnvironmentVariable {
            name: format!("V{n}"),
            value: "v".repeat(100 << 10),
        };
        let command = Command {
            arguments: vec!["/bin/true".to_owned()],
            environment_variables: (0..variables).map(variable).collect(),
            ..Default::default()
        };
        let action = victim.action(&command).await;
        let request = ExecuteRequest { action_digest: Some(action.into()), ..Default::default() };
        let mut stream =
            ExecutionClient::new(victim.channel.clone()).execute(request).await?.into_inner();
        let mut last = None;
        while let Some(operation) = stream.message().await? {
            last = Some(operation);
        }
        Ok::<_, Status>(last.unwrap())
    };
    let status = execute(600).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("5242880"), "{status:?}");
    // Fetched by the worker; the kernel takes it.
    let ended = execute(18).await.unwrap();
    assert!(ended.done, "{ended:?}");
    let Some(Outcome::Response(response)) = &ended.result else { panic!("{ended:?}") };
    let response: ExecuteResponse = hands_proto::unpack(response).unwrap();
    assert_eq!(response.result.map(|result| result.exit_code), Some(0), "{:?}", response.status);
    // The kernel's limit is the action's own failure; the session is the same afterwards.
    let large = execute(45).await.unwrap();
    assert!(large.done, "{large:?}");
    assert!(execute(1).await.unwrap().done);
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(victim.doors.hub.stop(), Some(0));
}
