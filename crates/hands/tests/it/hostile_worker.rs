//! A worker that never means well, against the real hub, while a batch of others runs: it takes leases and answers them
//! wrongly, and answers what it was never asked.

use hands_link::{Address, Identity};
use hands_proto::longrunning::operations_client::OperationsClient;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::v1::worker_message::Kind;
use hands_proto::v1::workers_client::WorkersClient;
use hands_proto::{longrunning, reapi, rpc, v1};
use hands_types::{DigestFunction, OperationId, Role, WorkerId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::doors::Doors;
use crate::home::{json, ran};

const SHA256: DigestFunction = DigestFunction::Sha256;

/// A session of such a worker.
struct Session {
    out: mpsc::Sender<v1::WorkerMessage>,
    from_hub: Streaming<v1::HubMessage>,
}

impl Session {
    async fn open(way: &Address, hello: v1::Hello) -> Self {
        let channel = hands_link::connect(way);
        let (out, messages) = mpsc::channel(16);
        let mut client = WorkersClient::new(channel)
            .max_encoding_message_size(usize::MAX)
            .max_decoding_message_size(usize::MAX);
        let first = v1::WorkerMessage { kind: Some(Kind::Hello(hello)) };
        out.send(first).await.unwrap();
        let answer = client.session(ReceiverStream::new(messages)).await.unwrap();
        Self { out, from_hub: answer.into_inner() }
    }

    /// Waits while the hub takes nothing more; the hub may have ended the session.
    async fn say(&self, kind: Kind) {
        drop(self.out.send(v1::WorkerMessage { kind: Some(kind) }).await);
    }

    /// The next message but for those that do not matter here; an error when the session has ended.
    async fn next(&mut self) -> Result<v1::hub_message::Kind, Status> {
        loop {
            let message = self.from_hub.message().await?;
            match message.ok_or_else(|| Status::cancelled("ended"))?.kind {
                Some(v1::hub_message::Kind::Welcome(_)) | None => {}
                Some(kind) => return Ok(kind),
            }
        }
    }

    /// How the hub ended the session.
    async fn ended(mut self) -> Code {
        loop {
            if let Err(status) = self.next().await {
                return status.code();
            }
        }
    }

    async fn lease(&mut self) -> v1::Lease {
        loop {
            if let v1::hub_message::Kind::Lease(lease) = self.next().await.unwrap() {
                return lease;
            }
        }
    }

    async fn refused(&mut self, id: &v1::AttemptId) -> bool {
        match self.next().await.unwrap() {
            v1::hub_message::Kind::Refused(refused) => refused.id.as_ref() == Some(id),
            other => panic!("{other:?}"),
        }
    }
}

/// How a session ends whose message is refused by its length: while it is still being sent, the reason may not arrive.
fn is_too_large(code: Code) -> bool {
    matches!(code, Code::OutOfRange | Code::Cancelled)
}

/// A Hello of a worker with this number, or of the one that it has to be.
fn hello(evil: Option<&Identity>, number: u128) -> v1::Hello {
    let id = evil.map_or(WorkerId::from_parts(1, number), |evil| WorkerId(evil.member.0));
    let property =
        |name: &str, value: &str| v1::Property { name: name.into(), value: value.into() };
    v1::Hello {
        protocol: Some(v1::Protocol { low: 1, high: 1, ..Default::default() }),
        worker_id: id.to_string(),
        name: "evil".to_owned(),
        properties: vec![
            property("OSFamily", "linux"),
            property("ISA", std::env::consts::ARCH),
            property("tag", "trap"),
            property("tag", "pit"),
        ],
        slots: 1,
        memory: 1 << 40,
        ahead: Some(0),
        ..Default::default()
    }
}

fn finished(id: Option<v1::AttemptId>, result: reapi::ActionResult) -> Kind {
    let status = Some(rpc::Status::default());
    Kind::Finished(v1::Finished { id, result: Some(result), status, ..Default::default() })
}

fn output(id: Option<v1::AttemptId>, offset: u64, data: Vec<u8>) -> Kind {
    Kind::Output(v1::Output { id, stream: 1, offset, data: data.into() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_reaches_no_invocation_but_those_it_was_given() {
    does_its_worst(false).await;
}

/// The same by one that joined as everybody does, and can be no other than itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_reaches_no_invocation_with_a_certificate_over_tls() {
    does_its_worst(true).await;
}

async fn does_its_worst(secured: bool) {
    let doors = Doors::new(secured);
    let evil_one = doors.enrol("evil", Role::Worker).await;
    let evil_one = evil_one.as_ref();
    let way = doors.way(evil_one);
    let hello = |number| hello(evil_one, number);
    let (home, cluster) = (&doors.home, &doors.cluster);
    let worker = doors.worker("good", &["--tag", "safe"]);
    if secured {
        // Whose it says to be stands in its certificate.
        let good = json(&home.run(&["workers", "--cluster", cluster, "--json"]).out).remove(0);
        let posing = v1::Hello { worker_id: good["id"].as_str().unwrap().into(), ..hello(66) };
        let ended = Session::open(&way, posing).await.ended().await;
        assert!(matches!(ended, Code::PermissionDenied | Code::Unauthenticated), "{ended:?}");
    }
    let numbers: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let mut arguments =
        vec!["batch", "--cluster", cluster, "--tag", "safe", "--", "echo {}", ":::"];
    arguments.extend(numbers.iter().map(String::as_str));
    let batch = home.start(&arguments);
    let held = ["run", "--cluster", cluster, "--tag", "safe", "-d", "--", "sh", "-c", "sleep 600"];
    let held = home.run(&held);
    assert_eq!(held.code, 0, "{held:?}");
    let held = held.out.trim();

    // Results, output and signs of life for what it does not have: unknown, made up, and another worker's.
    let mut evil = Session::open(&way, hello(66)).await;
    let unknown = OperationId::from_parts(7, 7).to_string();
    for operation in [unknown.as_str(), held] {
        for attempt in [0, 1, 2, u32::MAX] {
            let id = v1::AttemptId { operation: operation.to_owned(), attempt };
            evil.say(Kind::Started(v1::Started { id: Some(id.clone()) })).await;
            evil.say(output(Some(id.clone()), 0, b"forged\n".to_vec())).await;
            assert!(evil.refused(&id).await);
            evil.say(finished(Some(id.clone()), reapi::ActionResult::default())).await;
            assert!(evil.refused(&id).await);
            let back = v1::HandBack { id: Some(id), ..Default::default() };
            evil.say(Kind::HandBack(back)).await;
        }
    }
    let state = json(&home.run(&["status", "--cluster", cluster, "--json", held]).out);
    assert_eq!((&state[0]["state"], &state[0]["worker"]), (&"running".into(), &"good".into()));

    // Content that is not what its digest says is no blob, whoever brings it.
    let channel = hands_link::connect(&way);
    let mut blobs = ContentAddressableStorageClient::new(channel.clone());
    let claimed = hands_tree::hash(SHA256, b"an honest tool");
    let forged = reapi::batch_update_blobs_request::Request {
        digest: Some(claimed.into()),
        data: (&b"a hostile tool"[..]).into(),
        compressor: 0,
    };
    let forged = reapi::BatchUpdateBlobsRequest { requests: vec![forged], ..Default::default() };
    let answer = blobs.batch_update_blobs(forged).await.unwrap().into_inner();
    let code = Code::from(answer.responses[0].status.clone().unwrap_or_default().code);
    assert_eq!(code, Code::InvalidArgument);
    let asked =
        reapi::FindMissingBlobsRequest { blob_digests: vec![claimed.into()], ..Default::default() };
    let missing = blobs.find_missing_blobs(asked).await.unwrap().into_inner();
    assert_eq!(missing.missing_blob_digests, [claimed.into()]);
    if secured {
        // A worker's certificate neither ends others' actions nor writes down results.
        let name = held.to_owned();
        let cancel = longrunning::CancelOperationRequest { name };
        let ended = OperationsClient::new(channel.clone()).cancel_operation(cancel).await;
        assert_eq!(ended.unwrap_err().code(), Code::PermissionDenied);
        let update = reapi::UpdateActionResultRequest {
            action_digest: Some(claimed.into()),
            action_result: Some(reapi::ActionResult::default()),
            ..Default::default()
        };
        let written = ActionCacheClient::new(channel).update_action_result(update).await;
        assert_eq!(written.unwrap_err().code(), Code::PermissionDenied);
    }

    // What it was given: outputs that nobody has, a wrong digest of the output, a size that is not true, and each result
    // twice. None counts, and each is a lost start: the third ends the action. Who means well and comes later does the
    // one that was started less often.
    let trap = ["run", "--cluster", cluster, "--tag", "trap", "--", "echo", "honest"];
    let mut trapped = home.start(&trap);
    let ghost = hands_tree::hash(SHA256, b"nobody has this");
    let file =
        reapi::OutputFile { path: "out".into(), digest: Some(ghost.into()), ..Default::default() };
    let of = |result: reapi::ActionResult| v1::Finished {
        result: Some(result),
        status: Some(rpc::Status::default()),
        ..Default::default()
    };
    // The empty blob is always there.
    let elsewhere = reapi::OutputFile {
        path: "../../x".into(),
        digest: Some(hands_tree::hash(SHA256, b"").into()),
        ..Default::default()
    };
    let logged_out = rpc::Status { code: Code::Unauthenticated as i32, ..Default::default() };
    let lies = [
        of(reapi::ActionResult { output_files: vec![file], ..Default::default() }),
        of(reapi::ActionResult { output_files: vec![elsewhere], ..Default::default() }),
        v1::Finished { status: Some(logged_out), ..Default::default() },
        of(reapi::ActionResult { stdout_digest: Some(ghost.into()), ..Default::default() }),
        v1::Finished { stdout_size: 1 << 40, ..of(reapi::ActionResult::default()) },
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        if n == 3 {
            let doomed = std::mem::replace(&mut trapped, home.start(&trap));
            let ended = tokio::task::spawn_blocking(|| ran(doomed.wait_with_output().unwrap()));
            let ended = ended.await.unwrap();
            assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
            let why = "the action was started 3 times and brought no result";
            assert!(ended.err.contains(why), "{ended:?}");
            assert!(!ended.err.contains("lost with"), "{ended:?}");
        }
        let lease = evil.lease().await;
        let id = lease.id.clone().unwrap();
        evil.say(Kind::Started(v1::Started { id: lease.id.clone() })).await;
        let lie = v1::Finished { id: lease.id, ..lie };
        evil.say(Kind::Finished(lie.clone())).await;
        evil.say(Kind::Finished(lie)).await;
        assert!(evil.refused(&id).await && evil.refused(&id).await);
    }
    drop(evil);
    let late = doors.worker("late", &["--tag", "trap"]);
    let ended =
        ran(tokio::task::spawn_blocking(|| trapped.wait_with_output().unwrap()).await.unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (0, "honest\n"), "{ended:?}");
    assert_eq!(late.stop(), Some(0));

    // Output with a hole ends the session; so do a second Hello and a stream that there is not.
    let mut evil = Session::open(&way, hello(66)).await;
    let mut next = home.start(&["run", "--cluster", cluster, "--tag", "pit", "--", "true"]);
    let lease = evil.lease().await;
    evil.say(output(lease.id.clone(), 1 << 40, vec![0; 10])).await;
    assert_eq!(evil.ended().await, Code::InvalidArgument);
    let second = Session::open(&way, hello(67)).await;
    second.say(Kind::Hello(hello(67))).await;
    assert_eq!(second.ended().await, Code::InvalidArgument);

    // Too large a Hello, and too large a piece; a flood of output beyond the window, acknowledged or not.
    let giant = v1::Hello { name: "x".repeat(40 << 20), ..hello(68) };
    let ended = Session::open(&way, giant).await.ended().await;
    assert!(is_too_large(ended), "{ended:?}");
    // A name that is not refused by its message's length.
    let long = v1::Hello { name: "x".repeat(5 << 20), ..hello(68) };
    assert_eq!(Session::open(&way, long).await.ended().await, Code::InvalidArgument);
    let many = v1::Hello { attempts: vec![v1::AttemptId::default(); 20_000], ..hello(69) };
    assert_eq!(Session::open(&way, many).await.ended().await, Code::InvalidArgument);
    let mut evil = Session::open(&way, hello(66)).await;
    let lease = evil.lease().await;
    let piece = vec![b'x'; 1 << 20];
    for n in 0..64_u64 {
        evil.say(output(lease.id.clone(), n << 20, piece.clone())).await;
    }
    evil.say(output(lease.id.clone(), 64 << 20, vec![0; 20 << 20])).await;
    assert!(is_too_large(evil.ended().await));
    // It claims all the slots that there can be and reads nothing of what it is answered, to no end.
    let deaf = Session::open(&way, v1::Hello { slots: u32::MAX, ..hello(70) }).await;
    let id = Some(v1::AttemptId { operation: unknown, attempt: 1 });
    while !deaf.out.is_closed() {
        deaf.say(output(id.clone(), 0, Vec::new())).await;
    }
    next.kill().unwrap();
    next.wait().unwrap();

    let ended =
        ran(tokio::task::spawn_blocking(|| batch.wait_with_output().unwrap()).await.unwrap());
    assert_eq!((ended.code, ended.out.lines().count()), (0, 60), "{ended:?}");
    assert!(!ended.out.contains("forged"), "{ended:?}");
    assert_eq!(home.run(&["cancel", "--cluster", cluster, held]).code, 0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", doors.hub.0.id())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 300 << 10, "the hub had {peak} KiB");
    assert_eq!(worker.stop(), Some(0));
    assert_eq!(doors.hub.stop(), Some(0));
}
