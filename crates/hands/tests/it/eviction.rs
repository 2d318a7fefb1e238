//! A hub whose store is too small for what it is given: open work loses nothing, the rest goes and can be sent again, and
//! what does not fit at all is told why.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use hands_link::Address;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::{longrunning, reapi, rpc, unpack};
use hands_tree::hash;
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::home::{HANDS, json};
use crate::killable::Cluster;
use crate::processes::Server;

const METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// A foreign client, that may name an invocation.
#[derive(Clone)]
struct Client {
    channel: Channel,
    invocation: &'static str,
}

impl Client {
    fn of(cluster: &Cluster, invocation: &'static str) -> Self {
        let channel = hands_link::connect(&cluster.socket.parse::<Address>().unwrap());
        Self { channel, invocation }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = reapi::RequestMetadata {
            tool_invocation_id: self.invocation.to_owned(),
            ..Default::default()
        };
        let metadata = MetadataValue::from_bytes(&metadata.encode_to_vec());
        request.metadata_mut().insert_bin(METADATA, metadata);
        request
    }

    async fn upload(&self, data: Vec<u8>) -> Result<Digest, Status> {
        let digest = hash(DigestFunction::Sha256, &data);
        let one = reapi::batch_update_blobs_request::Request {
            digest: Some(digest.into()),
            data: data.into(),
            compressor: 0,
        };
        let all = reapi::BatchUpdateBlobsRequest { requests: vec![one], ..Default::default() };
        let mut cas = ContentAddressableStorageClient::new(self.channel.clone());
        let answer = cas.batch_update_blobs(self.request(all)).await?.into_inner();
        let status = answer.responses[0].status.clone().unwrap_or_default();
        match Code::from(status.code) {
            Code::Ok => Ok(digest),
            code => Err(Status::new(code, status.message)),
        }
    }

    async fn missing(&self, digests: &[Digest]) -> BTreeSet<String> {
        let request = reapi::FindMissingBlobsRequest {
            blob_digests: digests.iter().map(|digest| (*digest).into()).collect(),
            ..Default::default()
        };
        let mut cas = ContentAddressableStorageClient::new(self.channel.clone());
        let answer = cas.find_missing_blobs(self.request(request)).await.unwrap().into_inner();
        answer
            .missing_blob_digests
            .iter()
            .map(|d| format!("blobs/{}/{}", d.hash, d.size_bytes))
            .collect()
    }

    /// The result, or the refusal.
    async fn execute(&self, action: Digest) -> Result<reapi::ActionResult, Status> {
        let request = reapi::ExecuteRequest {
            action_digest: Some(action.into()),
            skip_cache_lookup: true,
            ..Default::default()
        };
        let mut client = ExecutionClient::new(self.channel.clone());
        let mut operations = client.execute(self.request(request)).await?.into_inner();
        loop {
            let operation = operations.message().await?.expect("it ends with a result");
            if let Some(longrunning::operation::Result::Response(any)) = operation.result {
                let response: reapi::ExecuteResponse = unpack(&any).unwrap();
                let status = response.status.clone().unwrap_or_default();
                return match Code::from(status.code) {
                    Code::Ok => Ok(response.result.unwrap()),
                    code => Err(Status::new(code, status.message)),
                };
            }
        }
    }
}

/// The subjects of the one PreconditionFailure of a refusal.
fn violations(status: &Status) -> BTreeSet<String> {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let whole = rpc::Status::decode(status.details()).unwrap();
    let [detail] = &whole.details[..] else { panic!("exactly one detail: {whole:?}") };
    let failure: rpc::PreconditionFailure = unpack(detail).unwrap();
    assert!(failure.violations.iter().all(|violation| violation.r#type == "MISSING"));
    failure.violations.into_iter().map(|violation| violation.subject).collect()
}

/// A mebibyte that no other number has.
fn blob(n: u32) -> Vec<u8> {
    n.to_be_bytes().repeat(1 << 18)
}

#[tokio::test]
async fn open_work_loses_nothing_and_what_was_evicted_is_asked_for_all_at_once() {
    let mut cluster = Cluster::start_with(&["--quota", "8M"]);
    let _worker = cluster.worker("w", &["--slots", "1"]);
    let (open, other) = (Client::of(&cluster, "open"), Client::of(&cluster, ""));
    let mut kept = Vec::new();
    let mut gone = Vec::new();
    for n in 0..16 {
        kept.push(open.upload(blob(n)).await.unwrap());
        gone.push(other.upload(blob(100 + n)).await.unwrap());
    }
    assert_eq!(cluster.hands(&["store", "gc"]).code, 0);
    assert_eq!(open.missing(&kept).await, BTreeSet::new());
    let evicted = other.missing(&gone).await;
    assert!(evicted.len() >= 10, "the quota is half of what is kept: {evicted:?}");
    let status = json(&cluster.hands(&["store", "status", "--json"]).out).remove(0);
    assert!(status["bytes"].as_u64().unwrap() >= 16 << 20, "{status}");

    // A client that did not look before: each blob that it has to send again is named, and no other.
    let files = (0..).zip(kept.iter().chain(&gone)).map(|(n, digest)| reapi::FileNode {
        name: format!("{n:02}"),
        digest: Some((*digest).into()),
        ..Default::default()
    });
    let root = reapi::Directory { files: files.collect(), ..Default::default() };
    let root = open.upload(root.encode_to_vec()).await.unwrap();
    let command = reapi::Command {
        arguments: ["sh", "-c", "cat * | wc -c"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let command_bytes = command.encode_to_vec();
    let command = hash(DigestFunction::Sha256, &command_bytes);
    let action = reapi::Action {
        command_digest: Some(command.into()),
        input_root_digest: Some(root.into()),
        do_not_cache: true,
        ..Default::default()
    };
    let action = open.upload(action.encode_to_vec()).await.unwrap();
    let refused = open.execute(action).await.unwrap_err();
    let lacking: BTreeSet<String> =
        open.missing(&[&gone[..], &[command]].concat()).await.into_iter().collect();
    assert_eq!(violations(&refused), lacking);
    assert!(lacking.contains(&format!("blobs/{command}")) && lacking.is_superset(&evicted));
    // Sent again, by work that is open, they stay until the action has run, though no quota holds them.
    open.upload(command_bytes).await.unwrap();
    for n in 0..16 {
        open.upload(blob(100 + n)).await.unwrap();
    }
    let result = open.execute(action).await.unwrap();
    assert_eq!(result.stdout_raw, format!("{}\n", 32 << 20), "{result:?}");

    // Nor does the hub's death cost it anything.
    cluster.kill_hub();
    cluster.start_hub();
    let open = Client::of(&cluster, "open");
    assert_eq!(cluster.hands(&["store", "gc"]).code, 0);
    assert_eq!(open.missing(&[&kept[..], &gone[..]].concat()).await, BTreeSet::new());
    let again = open.execute(action).await.unwrap();
    assert_eq!(again.stdout_raw, result.stdout_raw, "{again:?}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let mut cluster = Cluster::start();
    cluster.kill_hub();
    let home = &cluster.home;
    let state = home.work().join("state");
    fs::create_dir_all(&state).unwrap();
    // Room for 40 MiB beside the two GiB that always stay free.
    let script = "mount -t tmpfs -o size=2088m hub state
                  exec \"$HANDS\" hub --state state --listen \"$SOCKET\"";
    let mut command = home.program("unshare");
    command.args(["-m", "sh", "-ec", script]).env("HANDS", HANDS).env("SOCKET", &cluster.socket);
    let mut probe = home.program("unshare");
    let probed = probe.args(["-m", "mount", "-t", "tmpfs", "x"]).arg(&state).output();
    if !probed.is_ok_and(|done| done.status.success()) {
        let why = b"SKIPPED: this machine allows no mounts\n";
        std::io::stderr().write_all(why).unwrap();
        return;
    }
    let (_hub, _) = Server::spawn(command, "the hub serves");
    let _worker = cluster.worker("w", &["--slots", "1"]);
    home.write("fits", &"f".repeat(20 << 20));
    home.write("large", &"l".repeat(60 << 20));
    let count = |file: &str| cluster.run(&["-q", "--input", file, "--", "wc", "-c", file]);
    let good = count("fits");
    assert_eq!(good.out, format!("{} fits\n", 20 << 20), "{good:?}");
    let refused = count("large");
    assert_eq!((refused.code, refused.out.as_str()), (125, ""), "{refused:?}");
    assert!(refused.err.contains("can't upload a blob: the store is full: "), "{refused:?}");
    assert!(refused.err.contains(" MiB are needed, and its disk has "), "{refused:?}");
    assert!(refused.err.contains("B beside the 2 GiB that always stay free"), "{refused:?}");
    assert_eq!(refused.err.matches("is full").count(), 1, "said once: {refused:?}");
    // What it has it still has, and serves.
    let again = count("fits");
    assert_eq!(again.out, good.out, "{again:?}");
}
