//! What trips servers of the Remote Execution API up, as far as no other file has it: `docs/checklists.md` has the list.

use bytes::Bytes;
use hands_proto::reapi::action_cache_client::ActionCacheClient;
use hands_proto::reapi::digest_function::Value as Function;
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_proto::{pack, reapi, rpc, v1};
use hands_types::limits::INLINE_STREAM;
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::Code;

use crate::execute::missing;
use crate::support::{World, code, messages, property, soon, stage};

fn platform(pairs: &[(&str, &str)]) -> Option<reapi::Platform> {
    Some(reapi::Platform { properties: pairs.iter().map(|(n, v)| property(n, v)).collect() })
}

#[tokio::test]
async fn a_failure_that_a_client_recorded_is_no_answer_to_execute() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let digest = world.action(|_, _| {});
    let mut cache = ActionCacheClient::new(client.channel.clone());
    let update = reapi::UpdateActionResultRequest {
        action_digest: Some(digest.into()),
        action_result: Some(reapi::ActionResult { exit_code: 3, ..Default::default() }),
        ..Default::default()
    };
    soon("the update", cache.update_action_result(update)).await.unwrap();
    let get = || {
        let mut cache = cache.clone();
        let request = reapi::GetActionResultRequest {
            action_digest: Some(digest.into()),
            ..Default::default()
        };
        async move { soon("the result", cache.get_action_result(request)).await.unwrap().into_inner() }
    };
    let kept = get().await;
    assert_eq!(kept.exit_code, 3);
    assert!(kept.execution_metadata.is_some(), "Buck2 wants it in every result");
    let following = client.execute(digest).await.unwrap();
    worker.run(0).await;
    let response = following.response().await;
    assert!(!response.cached_result);
    assert_eq!(get().await.exit_code, 0, "the hub's own result has taken its place");
}

#[tokio::test]
async fn what_the_worker_misses_is_named_to_the_client() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.action(|_, _| {})).await.unwrap();
    let lease = worker.lease().await;
    let gone = hands_tree::hash(DigestFunction::Sha256, b"gone");
    let status = hands_reapi::missing_blobs(Code::FailedPrecondition, &[gone]);
    worker
        .report(&lease, |finished| {
            finished.result = None;
            finished.status = Some(rpc::Status::decode(status.details()).unwrap());
        })
        .await;
    worker.acknowledged(&lease).await;
    let response = following.response().await;
    let status = response.status.unwrap();
    assert_eq!(status.code, i32::from(Code::FailedPrecondition));
    let expected = pack(&rpc::PreconditionFailure {
        violations: vec![rpc::precondition_failure::Violation {
            r#type: "MISSING".into(),
            subject: format!("blobs/{gone}"),
            description: String::new(),
        }],
    });
    assert_eq!(status.details, [expected]);
}

#[tokio::test]
async fn a_stage_goes_back_when_the_worker_is_lost() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut following = following;
    while stage(&following.next().await) != Stage::Executing {}
    // The same worker, as a new process that knows nothing: its lease is void at once.
    drop(worker);
    let mut worker = world.worker("w").await;
    while stage(&following.next().await) != Stage::Queued {}
    worker.run(0).await;
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn what_is_merged_and_what_is_not() {
    let world = World::new();
    let client = world.client();
    let digest = world.action(|_, _| {});
    let first = client.execute(digest).await.unwrap();
    let skips = client.execute_with(digest, |r| r.skip_cache_lookup = true, None).await.unwrap();
    assert_eq!(first.name(), skips.name());
    let instance = "another/instance with spaces";
    let elsewhere =
        client.execute_with(digest, |r| r.instance_name = instance.into(), None).await.unwrap();
    assert_ne!(first.name(), elsewhere.name());
    let mut worker = world.worker("w").await;
    let mut instances = vec![worker.run(0).await.instance_name, worker.run(0).await.instance_name];
    instances.sort();
    assert_eq!(instances, ["", instance]);
    for following in [first, skips, elsewhere] {
        assert_eq!(code(&following.response().await), Code::Ok);
    }
    // It runs although there is a result, and its result replaces the old one.
    let skips = client.execute_with(digest, |r| r.skip_cache_lookup = true, None).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"anew").await;
    worker.finish(&lease, 0, b"anew").await;
    worker.acknowledged(&lease).await;
    skips.response().await;
    let cached = client
        .execute_with(digest, |request| request.inline_stdout = true, None)
        .await
        .unwrap()
        .response()
        .await;
    assert!(cached.cached_result);
    assert_eq!(cached.result.unwrap().stdout_raw, "anew");
}

#[tokio::test]
async fn lower_values_of_priority_come_first() {
    let world = World::new();
    let client = world.client();
    let mut queued = Vec::new();
    let salts = [("last", i32::MAX), ("middle", 0), ("first", i32::MIN), ("second", -5)];
    for (salt, priority) in salts {
        let digest = world.salted(salt);
        let policy = Some(reapi::ExecutionPolicy { priority });
        let change = |request: &mut reapi::ExecuteRequest| request.execution_policy = policy;
        queued.push((digest, client.execute_with(digest, change, None).await.unwrap()));
    }
    let mut worker = world.worker("w").await;
    let mut order = Vec::new();
    for _ in 0..queued.len() {
        let lease = worker.run(0).await;
        order.push(lease.action_digest.unwrap());
    }
    let expected: Vec<reapi::Digest> = [2, 3, 1, 0].map(|i: usize| queued[i].0.into()).into();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn functions_are_told_apart_by_the_field() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let blake3 = |bytes: &[u8]| world.store.put_bytes(DigestFunction::Blake3, bytes).unwrap();
    let (mut action, command) = messages(|_, _| {});
    let command = blake3(&command.encode_to_vec());
    action.command_digest = Some(command.into());
    action.input_root_digest = Some(hands_tree::empty(DigestFunction::Blake3).into());
    let digest = blake3(&action.encode_to_vec());
    let named = |request: &mut reapi::ExecuteRequest| {
        request.digest_function = Function::Blake3.into();
    };
    // The same hash without the field is another blob, which nobody has.
    let status = client.execute(digest).await.err().unwrap();
    assert_eq!(missing(&status), [format!("blobs/{}/{}", digest.hex(), digest.size)]);
    let following = client.execute_with(digest, named, None).await.unwrap();
    let lease = worker.lease().await;
    assert_eq!(lease.digest_function(), Function::Blake3);
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"text").await;
    worker.report(&lease, |finished| finished.stdout_size = 4).await;
    worker.acknowledged(&lease).await;
    let result = following.response().await.result.unwrap();
    assert_eq!(
        result.stdout_digest,
        Some(hands_tree::hash(DigestFunction::Blake3, b"text").into())
    );
    let cached = client.execute_with(digest, named, None).await.unwrap().response().await;
    assert!(cached.cached_result);

    // A command that is there under the other function only is missing, and named with its function.
    let command = world.blob(&messages(|_, c| c.arguments.push("x".into())).1.encode_to_vec());
    action.command_digest = Some(command.into());
    let digest = blake3(&action.encode_to_vec());
    let status = client.execute_with(digest, named, None).await.err().unwrap();
    assert_eq!(missing(&status), [format!("blobs/blake3/{}/{}", command.hex(), command.size)]);
}

#[tokio::test]
async fn directories_are_canonical_and_empty_ones_need_no_upload() {
    let world = World::new();
    let client = world.client();
    let empty = hands_tree::empty(DigestFunction::Sha256);
    let file = |name: &str| reapi::FileNode {
        name: name.into(),
        digest: Some(empty.into()),
        ..Default::default()
    };
    let below = |name: &str| reapi::DirectoryNode { name: name.into(), digest: Some(empty.into()) };
    let link = |name: &str| reapi::SymlinkNode {
        name: name.into(),
        target: "/abs".into(),
        ..Default::default()
    };
    let with = |root: reapi::Directory| {
        let root: Digest = world.blob(&root.encode_to_vec());
        let digest = world.action(|action, _| {
            action.input_root_digest = Some(root.into());
        });
        client.execute(digest)
    };
    // Sorted by bytes, not by the alphabet.
    let good = reapi::Directory {
        files: vec![file("B"), file("a"), file("\u{e9}")],
        directories: vec![below("dir")],
        symlinks: vec![link("link")],
        ..Default::default()
    };
    with(good).await.unwrap();
    let bad = [
        reapi::Directory { files: vec![file("a"), file("B")], ..Default::default() },
        reapi::Directory { files: vec![file("a"), file("a")], ..Default::default() },
        reapi::Directory {
            files: vec![file("a")],
            directories: vec![below("a")],
            ..Default::default()
        },
        reapi::Directory { files: vec![file("..")], ..Default::default() },
        reapi::Directory { files: vec![file("a/b")], ..Default::default() },
        reapi::Directory { directories: vec![below("")], ..Default::default() },
    ];
    for directory in bad {
        let text = format!("{directory:?}");
        let status = with(directory).await.err().unwrap_or_else(|| panic!("taken: {text}"));
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status:?}");
        assert!(status.message().contains("the directory"), "{status:?}");
    }
}

/// What a client of a later version of the API sends: its digests are those of its own bytes.
#[tokio::test]
async fn fields_of_later_versions_are_kept_and_digests_with_them() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    // Field 1000, which no version has, of four bytes.
    let later = |mut bytes: Vec<u8>| {
        bytes.extend([0xc2, 0x3e, 4]);
        bytes.extend(b"more");
        bytes
    };
    let (mut action, command) = messages(|_, _| {});
    let file = reapi::FileNode {
        name: "f".into(),
        digest: Some(world.blob(b"content").into()),
        ..Default::default()
    };
    let root = reapi::Directory { files: vec![file], ..Default::default() };
    let command = later(command.encode_to_vec());
    action.input_root_digest = Some(world.blob(&later(root.encode_to_vec())).into());
    action.command_digest = Some(world.blob(&command).into());
    let action = later(action.encode_to_vec());
    let digest = world.blob(&action);
    let following = world.client().execute(digest).await.unwrap();
    let lease = worker.run(0).await;
    assert_eq!((&lease.action[..], &lease.command[..]), (&action[..], &command[..]));
    assert_eq!(lease.action_digest, Some(digest.into()));
    assert_eq!(code(&following.response().await), Code::Ok);
    assert!(world.client().execute(digest).await.unwrap().response().await.cached_result);
}

#[tokio::test]
async fn streams_have_digests_always_and_travel_inside_when_small() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let large = vec![b'x'; INLINE_STREAM + 1];
    for (salt, text) in [("none", &b""[..]), ("small", b"small"), ("large", &large)] {
        let following = world.client().execute(world.salted(salt)).await.unwrap();
        let lease = worker.lease().await;
        worker.started(&lease).await;
        if !text.is_empty() {
            worker.output(&lease, 1, 0, text).await;
        }
        worker.finish(&lease, 0, text).await;
        worker.acknowledged(&lease).await;
        let result = following.response().await.result.unwrap();
        let digest = hands_tree::hash(DigestFunction::Sha256, text);
        assert_eq!(result.stdout_digest, Some(digest.into()), "{salt}");
        let inside = if text.len() > INLINE_STREAM { Bytes::new() } else { text.to_vec().into() };
        assert_eq!(result.stdout_raw, inside, "{salt}");
        assert_eq!(result.stderr_digest, Some(hands_tree::empty(DigestFunction::Sha256).into()));
        if !text.is_empty() {
            assert_eq!(world.store.read(&digest).unwrap().unwrap(), text);
        }
    }
}

#[tokio::test]
async fn an_invocation_of_one_does_not_wait_behind_a_crowd() {
    let world = World::new();
    let client = world.client();
    let mut crowd = Vec::new();
    for salt in ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"] {
        crowd.push(client.execute(world.salted(salt)).await.unwrap());
    }
    let single = world.salted("single");
    let _single = client.execute_as(single, "another invocation").await.unwrap();
    let mut offer = crate::worker::hello("w");
    offer.slots = 1;
    offer.ahead = Some(0);
    let mut worker = crate::worker::Worker::with(&world.pipe, offer).await.unwrap();
    let mut place = 0;
    while worker.run(0).await.action_digest != Some(single.into()) {
        place += 1;
    }
    assert!(place <= 1, "{place} of the crowd went before it");
}

#[tokio::test]
async fn the_platform_is_the_action_s_and_hints_are_ignored() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let digest = world.action(|action, command| {
        action.platform = platform(&[
            ("EstimatedCPU", "1"),
            ("EstimatedComputeUnits", "2"),
            ("ISA", "X86-64"),
            ("OSFamily", "Linux"),
            ("dockerNetwork", "off"),
            ("dockerRunAsRoot", "false"),
            ("no-cache", "true"),
            ("persistentWorkerKey", "k"),
            ("recycle-runner", "true"),
            ("requires-network", "false"),
            ("supports-workers", "1"),
            ("workload-isolation-type", "podman"),
        ]);
        // Would fit no worker; the action's counts.
        command.platform = platform(&[("OSFamily", "windows")]);
    });
    let following = client.execute(digest).await.unwrap();
    worker.run(0).await;
    assert_eq!(code(&following.response().await), Code::Ok);

    // Of a name that is there twice a worker must offer both values.
    let mut offer = crate::worker::hello("avx");
    let isa = |value: &str| v1::Property { name: "ISA".into(), value: value.into() };
    offer.properties.retain(|property| property.name != "ISA");
    offer.properties.extend([isa("x86-64"), isa("x86-avx2")]);
    let mut avx = crate::worker::Worker::with(&world.pipe, offer).await.unwrap();
    let wide =
        world.action(|a, _| a.platform = platform(&[("ISA", "x86-64"), ("ISA", "x86-avx2")]));
    let following = client.execute(wide).await.unwrap();
    assert_eq!(avx.run(0).await.action_digest, Some(wide.into()));
    assert_eq!(code(&following.response().await), Code::Ok);
    let wider =
        world.action(|a, _| a.platform = platform(&[("ISA", "x86-avx2"), ("ISA", "x86-avx512")]));
    let following = client.execute(wider).await.unwrap();
    let job = client.job(&following.id()).await;
    assert!(job.waiting.contains("x86-avx512"), "{}", job.waiting);

    // What nobody offers is no hint.
    for (name, value) in [("container-image", "docker://x"), ("Pool", "gpu"), ("unheard-of", "1a")]
    {
        let digest = world.action(|action, _| action.platform = platform(&[(name, value)]));
        let following = client.execute(digest).await.unwrap();
        let job = client.job(&following.id()).await;
        assert!(job.waiting.contains(name), "{name}: {}", job.waiting);
    }
}

#[tokio::test]
async fn what_a_client_recorded_of_an_execution_breaks_no_list() {
    let world = World::new();
    let client = world.client();
    let digest = world.action(|_, _| {});
    let usage = v1::Usage { isolation: "\u{1b}x".repeat(1 << 20), ..Default::default() };
    let metadata = reapi::ExecutedActionMetadata {
        worker: "\u{1b}[2J".repeat(1000),
        auxiliary_metadata: vec![pack(&usage)],
        ..Default::default()
    };
    let result = reapi::ActionResult { execution_metadata: Some(metadata), ..Default::default() };
    let update = reapi::UpdateActionResultRequest {
        action_digest: Some(digest.into()),
        action_result: Some(result),
        ..Default::default()
    };
    let mut cache = ActionCacheClient::new(client.channel.clone());
    soon("the update", cache.update_action_result(update)).await.unwrap();
    let response = client.execute(digest).await.unwrap().response().await;
    assert!(response.cached_result);
    let mut jobs = client.jobs();
    let list = soon("the list", jobs.list(v1::ListRequest::default())).await.unwrap().into_inner();
    let [job] = &list.jobs[..] else { panic!("{} jobs", list.jobs.len()) };
    assert!(job.encoded_len() < 4096, "{} bytes", job.encoded_len());
    assert!(job.usage.is_none() && !job.worker.contains('\u{1b}'), "{job:?}");
}
