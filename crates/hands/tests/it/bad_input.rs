//! What a client or an action may send that it should not: each is refused with one clear error of the right class, and
//! the same hub goes on serving.

use hands_link::Address;
use hands_proto::bytestream::WriteRequest;
use hands_proto::bytestream::byte_stream_client::ByteStreamClient;
use hands_proto::reapi::batch_update_blobs_request::Request as Upload;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::reapi::execution_client::ExecutionClient;
use hands_proto::reapi::{
    Action, BatchUpdateBlobsRequest, Command, Directory, DirectoryNode, ExecuteRequest,
    ExecuteResponse, FileNode, FindMissingBlobsRequest, SymlinkNode, compressor,
};
use hands_proto::{longrunning, reapi};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::home::Home;
use crate::processes::{Server, address, level};

fn digest(bytes: &[u8]) -> Digest {
    hands_tree::hash(DigestFunction::Sha256, bytes)
}

/// A client that does as it likes.
struct Client(Channel);

impl Client {
    /// Uploads in one batch; the code of each blob, or of the call.
    async fn batch(&self, uploads: Vec<Upload>) -> Result<Vec<Status>, Status> {
        let request = BatchUpdateBlobsRequest { requests: uploads, ..Default::default() };
        let reply = ContentAddressableStorageClient::new(self.0.clone())
            .batch_update_blobs(request)
            .await?
            .into_inner();
        let status = |r: reapi::batch_update_blobs_response::Response| {
            let status = r.status.unwrap_or_default();
            Status::new(Code::from(status.code), status.message)
        };
        Ok(reply.responses.into_iter().map(status).collect())
    }

    async fn write(&self, name: &str, data: Vec<u8>) -> Result<i64, Status> {
        let request = WriteRequest {
            resource_name: name.to_owned(),
            finish_write: true,
            data: data.into(),
            ..Default::default()
        };
        let sent = tokio_stream::iter([request]);
        Ok(ByteStreamClient::new(self.0.clone()).write(sent).await?.into_inner().committed_size)
    }

    async fn has(&self, digest: Digest) -> bool {
        let request =
            FindMissingBlobsRequest { blob_digests: vec![digest.into()], ..Default::default() };
        let reply =
            ContentAddressableStorageClient::new(self.0.clone()).find_missing_blobs(request).await;
        reply.unwrap().into_inner().missing_blob_digests.is_empty()
    }

    async fn put(&self, message: &impl Message) -> Digest {
        let bytes = message.encode_to_vec();
        let digest = digest(&bytes);
        let status = self.batch(vec![upload(digest, bytes)]).await.unwrap().remove(0);
        assert_eq!(status.code(), Code::Ok, "{status:?}");
        digest
    }

    /// Runs an action to its end; how it failed.
    async fn failure(&self, command: &Command, root: &Directory) -> Status {
        let (command, root) = (self.put(command).await, self.put(root).await);
        let action = Action {
            command_digest: Some(command.into()),
            input_root_digest: Some(root.into()),
            ..Default::default()
        };
        let action = self.put(&action).await;
        let request = ExecuteRequest { action_digest: Some(action.into()), ..Default::default() };
        let mut stream = match ExecutionClient::new(self.0.clone()).execute(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return status,
        };
        while let Some(operation) = stream.message().await.unwrap() {
            if let Some(longrunning::operation::Result::Response(any)) = operation.result {
                let response: ExecuteResponse = hands_proto::unpack(&any).unwrap();
                let status = response.status.expect("it fails");
                return Status::new(Code::from(status.code), status.message);
            }
        }
        panic!("the stream ended without a result")
    }
}

fn upload(digest: Digest, data: Vec<u8>) -> Upload {
    Upload { digest: Some(digest.into()), data: data.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_client_should_not_send_is_refused_and_changes_nothing() {
    let home = Home::new();
    let (hub, line) = Server::start(
        &home,
        &["hub", "--listen", "127.0.0.1:0", "--insecure-loopback"],
        "the hub serves",
    );
    let cluster = address(&line);
    let level = level(&home);
    let (worker, _) =
        Server::start(&home, &["worker", &cluster, "--isolation", &level], "connected to the hub");
    let client = Client(hands_link::connect(&cluster.parse::<Address>().unwrap()));
    let refused = |status: &Status, text: &str| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(text), "{text}: {status:?}");
    };

    // Bytes that are not what their digest says.
    let (good, other) = (b"what it is".to_vec(), b"what it's not".to_vec());
    let claimed = Digest { size: other.len().try_into().unwrap(), ..digest(&good) };
    let all = vec![upload(claimed, other.clone()), upload(digest(b"fine"), b"fine".to_vec())];
    let fates = client.batch(all).await.unwrap();
    refused(&fates[0], "digest");
    assert_eq!(fates[1].code(), Code::Ok, "its neighbour is not disturbed");
    let uuid = "2f0b4a2e-5d2a-4c0e-9a37-6f0f3ad0c001";
    let name = format!("uploads/{uuid}/blobs/{claimed}");
    refused(&client.write(&name, other).await.unwrap_err(), "digest");
    assert!(!client.has(claimed).await);

    // A bomb: 64 MiB of nothing in a few KiB, said to be small.
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let small = Digest { size: 1000, ..digest(b"bomb") };
    let packed =
        Upload { compressor: compressor::Value::Zstd.into(), ..upload(small, bomb.clone()) };
    refused(&client.batch(vec![packed]).await.unwrap()[0], "1000");
    let name = format!("uploads/{uuid}/compressed-blobs/zstd/{small}");
    refused(&client.write(&name, bomb).await.unwrap_err(), "1000");

    // A claim of 2 GiB.
    let huge = Digest { size: 2 << 30, ..digest(b"huge") };
    refused(&client.batch(vec![upload(huge, b"x".to_vec())]).await.unwrap_err(), "bytes");
    let name = format!("uploads/{uuid}/blobs/{huge}");
    refused(&client.write(&name, b"x".to_vec()).await.unwrap_err(), "1 bytes");

    // Trees and paths that leave the input root.
    let truth = Command { arguments: vec!["true".into()], ..Default::default() };
    let empty = digest(b"");
    let file = |name: &str| Directory {
        files: vec![FileNode {
            name: name.into(),
            digest: Some(empty.into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let link = Directory {
        symlinks: vec![SymlinkNode {
            name: "../l".into(),
            target: "x".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let below = Directory {
        directories: vec![DirectoryNode { name: "..".into(), digest: Some(empty.into()) }],
        ..Default::default()
    };
    for (root, name) in [(file(".."), ".."), (file("a/b"), "a/b"), (link, "../l"), (below, "..")] {
        refused(&client.failure(&truth, &root).await, name);
    }
    let leaving = Command { output_paths: vec!["../x".into()], ..truth.clone() };
    refused(&client.failure(&leaving, &Directory::default()).await, "../x");

    let after = home.run(&["run", "--cluster", &cluster, "--", "echo", "serves"]);
    assert_eq!((after.code, after.out.as_str()), (0, "serves\n"), "{after:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn what_a_command_may_not_bring_or_name_is_one_error() {
    let home = Home::new().warm();
    home.write("here", "x");
    home.write("plain", "#!/bin/sh\n");
    let run = |arguments: &[&str]| home.run(&[&["run"], arguments].concat());
    let script = |flags: &[&str], text: &str| run(&[flags, &["--", "sh", "-c", text]].concat());
    let cases = [
        (run(&["--output", "../x", "--", "true"]), 125, "error: --output ../x: it leaves"),
        (
            run(&["--output", "a/../../x", "--", "true"]),
            125,
            "error: --output a/../../x: it leaves",
        ),
        (run(&["--output", "/etc/x", "--", "true"]), 125, "error: --output /etc/x: it is absolute"),
        (
            run(&["--output", "out", "--", "true"]),
            1,
            "error: the command succeeded, but its output out is missing",
        ),
        (
            script(&["-q", "--output", "p"], "mkfifo p"),
            1,
            "error: the command succeeded, but an entry of its outputs could not be brought",
        ),
        (run(&["--", "no-such-program"]), 127, "hands: no-such-program: command not found"),
        (run(&["--", "./plain"]), 127, "hands: ./plain: command not found"),
        (
            run(&["-q", "--input", "plain", "--", "./plain"]),
            126,
            "hands: ./plain: Permission denied",
        ),
        (
            run(&["--prop", "nosuch=1", "--queue-timeout", "1s", "-q", "--", "true"]),
            125,
            "error: no worker offers nosuch=1",
        ),
    ];
    for (ended, code, begins) in cases {
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{ended:?}");
        let wrong: Vec<&str> = ended.err.lines().filter(|l| !l.starts_with("hint:")).collect();
        assert!(wrong.len() == 1 && wrong[0].starts_with(begins), "{begins}: {ended:?}");
    }
    // A line that is no JSON is named by line and column, and nothing is run.
    let list = home.run_with(&["batch", "-"], "echo ran\n{\"argv\": [\"true\"}\n");
    assert_eq!((list.code, list.out.as_str()), (125, ""), "{list:?}");
    assert!(list.err.starts_with("error: standard input, line 2, column 17: "), "{list:?}");
    // A link to elsewhere comes as the link it is; what it leads to is neither read nor written.
    let linked = script(&["--output", "d"], "mkdir d; ln -s /etc/hostname d/l; echo x >d/f");
    assert_eq!(linked.code, 0, "{linked:?}");
    let target = std::fs::read_link(home.work().join("d/l")).unwrap();
    assert_eq!((target.to_str(), home.read("d/f").as_str()), (Some("/etc/hostname"), "x\n"));
    assert_eq!(run(&["--", "true"]).code, 0);
}

#[test]
fn a_worker_without_descriptors_fails_actions_and_not_itself() {
    let home = Home::new();
    let socket = format!("unix:{}", home.work().join("hub.sock").display());
    let level = level(&home);
    let (hub, _) = Server::start(&home, &["hub", "--listen", &socket], "the hub serves");
    let mut command = home.program("sh");
    let script = "ulimit -n 256; exec \"$0\" worker \"$@\"";
    command.args([
        "-c",
        script,
        crate::home::HANDS,
        &socket,
        "--slots",
        "2",
        "--isolation",
        &level,
    ]);
    let (worker, _) = Server::spawn(command, "connected to the hub");
    let run = |rest: &[&str]| home.run(&[&["run", "--cluster", &socket], rest].concat());
    assert_eq!(run(&["--", "true"]).code, 0);
    let pid = rustix::process::Pid::from_child(&worker.0);
    // From now on it can open nothing.
    let limit = |current| rustix::process::Rlimit { current: Some(current), maximum: Some(256) };
    let nofile = rustix::process::Resource::Nofile;
    rustix::process::prlimit(Some(pid), nofile, limit(3)).unwrap();
    let starved = run(&["--queue-timeout", "20s", "--", "true"]);
    assert_eq!(starved.code, 125, "{starved:?}");
    let errors: Vec<&str> = starved.err.lines().filter(|l| l.starts_with("error:")).collect();
    assert!(errors.len() == 1 && errors[0].contains("open files"), "{starved:?}");
    rustix::process::prlimit(Some(pid), nofile, limit(256)).unwrap();
    let after = run(&["--", "echo", "works"]);
    assert_eq!((after.code, after.out.as_str()), (0, "works\n"), "{after:?}");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(hub.stop(), Some(0));
}
