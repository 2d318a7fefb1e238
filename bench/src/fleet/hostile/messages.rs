//! What a hostile member sends: what a method takes, but too much of it; fields that are repeated without an end; and noise.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use hands_link::Address;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::bytestream::{ReadRequest, WriteRequest};
use hands_proto::longrunning::ListOperationsRequest;
use hands_proto::{asset, reapi, v1};
use hands_types::{Digest, DigestFunction, WorkerId};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::random::Random;
use crate::wire::digest;

/// Largest message that a hub reads at all, bytes, with room for what is around it.
const MOST: usize = (16 << 20) - 1024;
/// Of these each upload of a planted blob is made.
const PIECE: usize = 1 << 20;
/// Many actions over one stream, which begins with a message of its own.
const ACTIONS: &str = "hands.v1.Actions/Session";

/// Blobs that lie in wait: messages that take far more memory than bytes, and actions that name them.
pub(super) struct Planted {
    blobs: Vec<Digest>,
    actions: Vec<Digest>,
    /// Who the member may be as a worker.
    worker: WorkerId,
}

impl Planted {
    /// Uploads them, where there is a hub.
    pub(super) async fn new(
        hub: Option<&Address>,
        worker: WorkerId,
        random: &mut Random,
    ) -> Result<Self> {
        let mut planted = Self { blobs: Vec::new(), actions: Vec::new(), worker };
        let client = hub.map(|hub| ByteStreamClient::new(hands_link::connect(hub)));
        let mut upload = Upload(client, random.next());
        for field in 1..4_u32 {
            for bytes in [random.size(1 << 20), random.size(60 << 20), 60 << 20] {
                planted.blobs.push(upload.put(empties(field, bytes).into()).await?);
            }
        }
        let mut directory = reapi::Directory::default();
        for depth in 0..3000 {
            let bytes = directory.encode_to_vec();
            let node = reapi::DirectoryNode {
                name: format!("d{depth}"),
                digest: Some(digest(&bytes).into()),
            };
            upload.put(bytes.into()).await?;
            directory = reapi::Directory { directories: vec![node], ..Default::default() };
        }
        let deep = upload.put(directory.encode_to_vec().into()).await?;
        planted.blobs.push(deep);
        for _ in 0..8 {
            let command = command(random, 4 << 20);
            let command = upload.put(command.encode_to_vec().into()).await?;
            let root = *random.one_of(&planted.blobs);
            for root in [root, hands_tree::empty(DigestFunction::Sha256)] {
                let action = reapi::Action {
                    command_digest: Some(command.into()),
                    input_root_digest: Some(root.into()),
                    do_not_cache: random.below(2) == 0,
                    ..Default::default()
                };
                let action = upload.put(action.encode_to_vec().into()).await?;
                planted.actions.push(action);
            }
        }
        Ok(planted)
    }
}

struct Upload(Option<ByteStreamClient<tonic::transport::Channel>>, u64);

impl Upload {
    async fn put(&mut self, data: Bytes) -> Result<Digest> {
        let digest = digest(&data);
        let Some(hub) = &mut self.0 else { return Ok(digest) };
        self.1 += 1;
        let name = format!(
            "uploads/00000000-0000-4000-8000-{:012x}/blobs/{digest}",
            self.1 & 0xffff_ffff_ffff
        );
        let pieces = data.len().div_ceil(PIECE).max(1);
        let requests: Vec<WriteRequest> = (0..pieces)
            .map(|n| {
                let (from, to) = (n * PIECE, ((n + 1) * PIECE).min(data.len()));
                WriteRequest {
                    resource_name: name.clone(),
                    write_offset: i64::try_from(from).unwrap_or(i64::MAX),
                    finish_write: n + 1 == pieces,
                    data: data.slice(from..to),
                }
            })
            .collect();
        hub.write(tokio_stream::iter(requests)).await?;
        Ok(digest)
    }
}

/// A field of empty elements, as many as fit.
fn empties(field: u32, bytes: usize) -> Vec<u8> {
    let mut one = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut one);
    encode_varint(0, &mut one);
    one.repeat((bytes / one.len()).max(1))
}

fn strings(random: &mut Random, most: usize) -> Vec<String> {
    let n = random.size(most / 4);
    let length = random.size((most / n).max(1));
    let name = |i: usize| {
        let mut name: String = i.to_string().chars().rev().collect();
        // A width of `format!` has 16 bits.
        name.extend(std::iter::repeat_n('0', length.saturating_sub(name.len())));
        name
    };
    (0..n).map(name).collect()
}

fn command(random: &mut Random, most: usize) -> reapi::Command {
    let mut command =
        reapi::Command { arguments: vec!["/bin/true".to_owned()], ..Default::default() };
    match random.below(4) {
        0 => command.arguments.extend(strings(random, most)),
        1 => command.output_paths = strings(random, most),
        2 => {
            let names = strings(random, most / 2);
            let variable =
                |name| reapi::command::EnvironmentVariable { name, value: "1".to_owned() };
            command.environment_variables = names.into_iter().map(variable).collect();
        }
        _ => {
            let names = strings(random, most / 2);
            let property = |name| reapi::platform::Property { name, value: "1".to_owned() };
            command.platform =
                Some(reapi::Platform { properties: names.into_iter().map(property).collect() });
        }
    }
    command
}

/// Makes messages.
pub(super) struct Messages {
    pub(super) random: Random,
    pub(super) planted: Arc<Planted>,
}

impl Messages {
    /// One call's messages.
    pub(super) fn of(&mut self, method: &str) -> Vec<Bytes> {
        if method.ends_with(ACTIONS) && self.random.below(8) > 0 {
            return self.session_of_actions();
        }
        let n = if self.random.below(8) == 0 { self.random.size(20) } else { 1 };
        // As a worker that is let in, which takes leases of its own actions, and then says anything.
        let hello = method.ends_with("Workers/Session") && self.random.below(2) == 0;
        let hello = hello.then(|| self.hello().into());
        hello.into_iter().chain((0..n).map(|_| self.one(method))).collect()
    }

    fn one(&mut self, method: &str) -> Bytes {
        match self.random.below(20) {
            0..11 => self.too_much(method),
            11..19 => self.repeated(),
            _ => {
                let n = self.random.size(1 << 20);
                self.random.bytes(n)
            }
        }
        .into()
    }

    /// Some field many times: empty, with a digest in it, or with such fields again.
    fn repeated(&mut self) -> Vec<u8> {
        let field = u32::try_from(1 + self.random.below(12)).unwrap_or(1);
        let most = self.random.size(MOST);
        match self.random.below(3) {
            0 => empties(field, most),
            1 => {
                let inner = reapi::Digest::from(self.random.one_of(&self.planted.blobs));
                let inner = inner.encode_to_vec();
                wrapped(field, &inner).repeat((most / (inner.len() + 2)).max(1))
            }
            _ => {
                let inner = u32::try_from(1 + self.random.below(8)).unwrap_or(1);
                wrapped(field, &empties(inner, most))
            }
        }
    }

    fn digests(&mut self) -> Vec<reapi::Digest> {
        let n = self.random.size(150_000);
        let is_same = self.random.below(2) == 0;
        let known = reapi::Digest::from(self.random.one_of(&self.planted.blobs));
        (0..n).map(|_| if is_same { known.clone() } else { self.unknown() }).collect()
    }

    fn unknown(&mut self) -> reapi::Digest {
        let hash = (0..4).map(|_| format!("{:016x}", self.random.next())).collect();
        reapi::Digest { hash, size_bytes: i64::try_from(self.random.size(1 << 30)).unwrap_or(1) }
    }

    fn blob(&mut self) -> Option<reapi::Digest> {
        Some(self.random.one_of(&self.planted.blobs).into())
    }

    fn action(&mut self) -> Option<reapi::Digest> {
        Some(self.random.one_of(&self.planted.actions).into())
    }

    /// What the method takes, and much of it.
    fn too_much(&mut self, method: &str) -> Vec<u8> {
        let (_, name) = method.rsplit_once('/').unwrap_or_default();
        match name {
            "FindMissingBlobs" => reapi::FindMissingBlobsRequest {
                blob_digests: self.digests(),
                ..Default::default()
            }
            .encode_to_vec(),
            "BatchReadBlobs" => {
                reapi::BatchReadBlobsRequest { digests: self.digests(), ..Default::default() }
                    .encode_to_vec()
            }
            "BatchUpdateBlobs" => self.uploads(),
            "GetTree" => reapi::GetTreeRequest { root_digest: self.blob(), ..Default::default() }
                .encode_to_vec(),
            "SplitBlob" => {
                reapi::SplitBlobRequest { blob_digest: self.blob(), ..Default::default() }
                    .encode_to_vec()
            }
            "SpliceBlob" => reapi::SpliceBlobRequest {
                blob_digest: Some(self.unknown()),
                chunk_digests: self.digests(),
                ..Default::default()
            }
            .encode_to_vec(),
            "Execute" => reapi::ExecuteRequest {
                action_digest: self.action(),
                skip_cache_lookup: self.random.below(2) == 0,
                inline_output_files: strings(&mut self.random, 4 << 20),
                ..Default::default()
            }
            .encode_to_vec(),
            "GetActionResult" => reapi::GetActionResultRequest {
                action_digest: self.action(),
                inline_output_files: strings(&mut self.random, 8 << 20),
                ..Default::default()
            }
            .encode_to_vec(),
            "UpdateActionResult" => reapi::UpdateActionResultRequest {
                action_digest: self.action(),
                action_result: Some(self.result()),
                ..Default::default()
            }
            .encode_to_vec(),
            "FetchBlob" | "FetchDirectory" => asset::FetchBlobRequest {
                uris: strings(&mut self.random, 8 << 20),
                qualifiers: self.qualifiers(),
                ..Default::default()
            }
            .encode_to_vec(),
            "PushBlob" | "PushDirectory" => asset::PushBlobRequest {
                uris: strings(&mut self.random, 1 << 10),
                qualifiers: self.qualifiers(),
                blob_digest: self.blob(),
                references_blobs: self.digests(),
                ..Default::default()
            }
            .encode_to_vec(),
            "Read" => ReadRequest {
                resource_name: format!("blobs/{}", self.random.one_of(&self.planted.blobs)),
                read_offset: i64::try_from(self.random.size(1 << 20)).unwrap_or(0) - 1,
                read_limit: 0,
            }
            .encode_to_vec(),
            "Write" => self.piece(),
            "ListOperations" => ListOperationsRequest {
                filter: strings(&mut self.random, 1 << 20).join(" AND "),
                page_size: i32::try_from(self.random.size(1 << 30)).unwrap_or(i32::MAX),
                ..Default::default()
            }
            .encode_to_vec(),
            "List" => v1::ListRequest { limit: u32::MAX, ..Default::default() }.encode_to_vec(),
            "Overview" => v1::OverviewRequest { rows: u32::MAX }.encode_to_vec(),
            "Session" if method.ends_with(ACTIONS) => self.of_actions(),
            "Session" => self.session(),
            _ => self.repeated(),
        }
    }

    fn uploads(&mut self) -> Vec<u8> {
        let size = self.random.size(4 << 20);
        let n = self.random.size(((4 << 20) / size).max(1));
        let requests = (0..n)
            .map(|_| {
                let data = Bytes::from(self.random.bytes(size.min(1 << 16)));
                let named =
                    if self.random.below(8) == 0 { self.unknown() } else { digest(&data).into() };
                reapi::batch_update_blobs_request::Request {
                    digest: Some(named),
                    data,
                    ..Default::default()
                }
            })
            .collect();
        reapi::BatchUpdateBlobsRequest { requests, ..Default::default() }.encode_to_vec()
    }

    fn piece(&mut self) -> Vec<u8> {
        let of = self.unknown();
        let n = self.random.size(4 << 20);
        WriteRequest {
            resource_name: format!(
                "uploads/00000000-0000-4000-8000-{:012x}/blobs/{}/{}",
                self.random.next() & 0xffff_ffff_ffff,
                of.hash,
                of.size_bytes
            ),
            write_offset: 0,
            finish_write: self.random.below(2) == 0,
            data: self.random.bytes(n).into(),
        }
        .encode_to_vec()
    }

    fn result(&mut self) -> reapi::ActionResult {
        let output = |path| reapi::OutputFile { path, ..Default::default() };
        reapi::ActionResult {
            output_files: strings(&mut self.random, 4 << 20).into_iter().map(output).collect(),
            ..Default::default()
        }
    }

    fn qualifiers(&mut self) -> Vec<asset::Qualifier> {
        let qualifier = |name| asset::Qualifier { name, value: "1".to_owned() };
        strings(&mut self.random, 1 << 16).into_iter().map(qualifier).collect()
    }

    /// A session that is opened as it should be, and what follows.
    fn session_of_actions(&mut self) -> Vec<Bytes> {
        let open = v1::OpenSession {
            session: self.random.bytes(16).into(),
            credit: self.random.size(1 << 30) as u64,
            ..Default::default()
        };
        let kind = Some(v1::actions_request::Kind::Open(open));
        let open = v1::ActionsRequest { kind }.encode_to_vec();
        let n = self.random.size(20);
        let noise = (0..n).map(|_| match self.random.below(8) {
            0 => self.repeated(),
            _ => self.of_actions(),
        });
        std::iter::once(open).chain(noise).map(Bytes::from).collect()
    }

    /// A message that may follow the opening of a session.
    fn of_actions(&mut self) -> Vec<u8> {
        use v1::actions_request::Kind;
        let kind = match self.random.below(6) {
            0 => Kind::Credit(self.random.next()),
            1 => Kind::Cancel(v1::CancelActions {
                ids: (0..self.random.size(5000) as u64).collect(),
                all: self.random.below(4) == 0,
            }),
            2 => {
                let resume = |id| v1::ResumeAction {
                    id,
                    operation: hands_types::OperationId(u128::from(id)).to_string(),
                    follow: true,
                };
                let resume = (0..self.random.size(5000) as u64).map(resume).collect();
                Kind::Submit(v1::Submissions { resume, ..Default::default() })
            }
            _ => {
                let actions = (0..self.random.size(128)).map(|_| self.submission()).collect();
                Kind::Submit(v1::Submissions { actions, ..Default::default() })
            }
        };
        v1::ActionsRequest { kind: Some(kind) }.encode_to_vec()
    }

    fn submission(&mut self) -> v1::SubmitAction {
        let id = self.random.below(1 << 20) as u64;
        let sent_before = self.random.below(4) == 0;
        let of = v1::SubmitAction { id, sent_before, follow: true, ..Default::default() };
        if self.random.below(2) == 0 {
            return v1::SubmitAction { action_digest: self.action(), ..of };
        }
        let command = command(&mut self.random, 1 << 13).encode_to_vec();
        let action = reapi::Action {
            command_digest: Some(digest(&command).into()),
            input_root_digest: self.blob(),
            salt: self.random.bytes(8).into(),
            do_not_cache: true,
            ..Default::default()
        };
        let action = action.encode_to_vec();
        let action_digest = Some(digest(&action).into());
        v1::SubmitAction { action_digest, action: action.into(), command: command.into(), ..of }
    }

    /// A worker's Hello as it should be.
    fn hello(&self) -> Vec<u8> {
        let property =
            |name: &str, value: &str| v1::Property { name: name.into(), value: value.into() };
        let hello = v1::Hello {
            protocol: Some(v1::Protocol { low: 1, high: 1, ..Default::default() }),
            worker_id: self.planted.worker.to_string(),
            name: "hostile".to_owned(),
            properties: vec![
                property("OSFamily", "linux"),
                property("ISA", std::env::consts::ARCH),
            ],
            slots: 4,
            memory: 1 << 40,
            ..Default::default()
        };
        let kind = v1::worker_message::Kind::Hello(hello);
        v1::WorkerMessage { kind: Some(kind) }.encode_to_vec()
    }

    /// Results and trees of others that it says are damaged.
    fn doubted(&mut self) -> v1::Doubted {
        let operations = strings(&mut self.random, 4 << 20);
        let result = |operation| v1::DoubtedResult {
            operation,
            action: self.planted.actions.first().map(Digest::to_string).unwrap_or_default(),
            ..Default::default()
        };
        let results = operations.into_iter().map(result).collect();
        v1::Doubted { reason: "hostile".to_owned(), results, number: 1 }
    }

    /// A worker's Hello with too much in it, or what may only follow one.
    fn session(&mut self) -> Vec<u8> {
        use v1::worker_message::Kind;
        let property = |name| v1::Property { name, value: "hostile".to_owned() };
        let kind = match self.random.below(4) {
            0 => Kind::Hello(v1::Hello {
                protocol: Some(v1::Protocol { low: 1, high: 1, ..Default::default() }),
                worker_id: hands_types::WorkerId(u128::from(self.random.next())).to_string(),
                name: strings(&mut self.random, 1 << 20).concat(),
                properties: strings(&mut self.random, 1 << 20).into_iter().map(property).collect(),
                slots: 1,
                ..Default::default()
            }),
            1 => Kind::Doubted(self.doubted()),
            2 => Kind::Holds(v1::Holds { digests: strings(&mut self.random, 8 << 20) }),
            _ => Kind::Finished(v1::Finished {
                id: Some(v1::AttemptId { operation: "0".repeat(26), attempt: 1 }),
                result: Some(self.result()),
                ..Default::default()
            }),
        };
        v1::WorkerMessage { kind: Some(kind) }.encode_to_vec()
    }
}

fn wrapped(field: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut out);
    encode_varint(inner.len() as u64, &mut out);
    out.extend(inner);
    out
}
