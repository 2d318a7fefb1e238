//! Execute and WaitExecution as REAPI's clients use them.

use std::time::Duration;

use bytes::Bytes;
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_proto::rpc::PreconditionFailure;
use hands_proto::{reapi, rpc, unpack};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::Code;

use crate::clock::Clock;
use crate::support::{World, code, messages, metadata, ours, property, soon};

pub(crate) fn missing(status: &tonic::Status) -> Vec<String> {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let whole = rpc::Status::decode(status.details()).unwrap();
    let [detail] = &whole.details[..] else { panic!("exactly one detail: {whole:?}") };
    let failure: PreconditionFailure = unpack(detail).unwrap();
    let mut subjects = Vec::new();
    for violation in failure.violations {
        assert_eq!(violation.r#type, "MISSING");
        subjects.push(violation.subject);
    }
    subjects.sort();
    subjects
}

#[tokio::test]
async fn a_result_is_computed_once_and_then_cached() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let digest = world.action(|_, command| command.environment_variables = Vec::new());
    let client = world.client();
    let following =
        client.execute_with(digest, |r| r.instance_name = "main/x".into(), None).await.unwrap();
    assert_eq!(metadata(&following.first).stage(), Stage::Queued);
    let id = following.id();
    let names = metadata(&following.first);
    assert_eq!(names.stdout_stream_name, format!("main/x/logs/{id}/stdout"));
    assert_eq!(names.stderr_stream_name, format!("main/x/logs/{id}/stderr"));
    assert_eq!(names.action_digest, Some(digest.into()));

    let lease = worker.lease().await;
    assert_eq!(lease.instance_name, "main/x");
    assert_eq!(hands_tree::hash(DigestFunction::Sha256, &lease.action), digest);
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"hello\n").await;
    worker.finish(&lease, 0, b"hello\n").await;
    worker.acknowledged(&lease).await;
    let (stages, response) = following.finish().await;
    assert_eq!(stages, [Stage::Queued, Stage::Executing, Stage::Completed]);
    assert_eq!(code(&response), Code::Ok);
    assert!(!response.cached_result);
    assert!(response.message.contains(&format!("hands status {id}")), "{}", response.message);
    let result = response.result.unwrap();
    assert_eq!(result.stdout_raw, "hello\n");
    let stdout = result.stdout_digest.unwrap().to_digest(DigestFunction::Sha256).unwrap();
    assert_eq!(world.store.read(&stdout).unwrap().unwrap(), "hello\n");
    // Buck2 wants the metadata, and Bazel all of its times.
    let times = result.execution_metadata.unwrap();
    assert_eq!(times.worker, "w");
    assert!(times.queued_timestamp.is_some() && times.worker_completed_timestamp.is_some());

    // Another instance has another cache; the same one answers without a worker.
    let again =
        client.execute_with(digest, |r| r.instance_name = "main/x".into(), None).await.unwrap();
    assert!(again.first.done);
    let response = again.response().await;
    assert!(response.cached_result);
    assert_eq!(code(&response), Code::Ok);
    let other = client.execute(digest).await.unwrap();
    assert!(!other.first.done);
    worker.run(0).await;

    // skip_cache_lookup runs it again.
    let skipped = client.execute_with(digest, |r| r.skip_cache_lookup = true, None).await.unwrap();
    worker.run(0).await;
    assert!(!skipped.response().await.cached_result);
}

#[tokio::test]
async fn a_failure_is_an_ok_status_and_is_not_cached() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let digest = world.action(|_, _| {});
    let client = world.client();
    for _ in 0..2 {
        let following = client.execute(digest).await.unwrap();
        worker.run(3).await;
        let response = following.response().await;
        assert_eq!(code(&response), Code::Ok);
        assert!(!response.cached_result);
        assert_eq!(response.result.unwrap().exit_code, 3);
    }
}

#[tokio::test]
async fn equal_cacheable_actions_in_flight_are_one() {
    let world = World::new();
    let digest = world.action(|_, _| {});
    let (a, b) = (world.client(), world.client());
    let first = a.execute(digest).await.unwrap();
    let second = b.execute(digest).await.unwrap();
    assert_eq!(first.name(), second.name());
    let third = b.wait(first.name()).await.unwrap();
    // REAPI forbids this for actions that are not cached.
    let plain = world.action(|action, _| action.do_not_cache = true);
    let one = a.execute(plain).await.unwrap();
    let two = a.execute(plain).await.unwrap();
    assert_ne!(one.name(), two.name());

    let mut worker = world.worker("w").await;
    for _ in 0..3 {
        worker.run(0).await;
    }
    for following in [first, second, third, one, two] {
        assert_eq!(code(&following.response().await), Code::Ok);
    }
}

#[tokio::test]
async fn a_salted_action_that_is_sent_again_is_the_same_submission() {
    let mut world = World::new();
    let digest = world.salted("one");
    let client = world.client();
    let first = client.execute(digest).await.unwrap();
    let name = first.name().to_owned();
    assert_eq!(client.execute(digest).await.unwrap().name(), name);
    let mut worker = world.worker("w").await;
    worker.run(7).await;
    assert_eq!(first.response().await.result.unwrap().exit_code, 7);
    // Not cached for others, but the answer of this submission for an hour, over a restart too.
    let again = client.execute(digest).await.unwrap();
    assert_eq!(again.name(), name);
    assert_eq!(again.response().await.result.unwrap().exit_code, 7);
    world.restart().await;
    let client = world.client();
    let after = client.execute(digest).await.unwrap();
    assert_eq!(after.name(), name);
    assert_eq!(after.response().await.result.unwrap().exit_code, 7);
    assert!(client.wait(&name).await.unwrap().first.done);
    let other = client.execute(world.salted("two")).await.unwrap();
    assert_ne!(other.name(), name);
}

#[tokio::test]
async fn all_that_is_missing_is_named_at_once() {
    let world = World::new();
    let client = world.client();
    let absent = |text: &str| hands_tree::hash(DigestFunction::Sha256, text.as_bytes());
    let node = |name: &str, digest: Digest| reapi::FileNode {
        name: name.into(),
        digest: Some(digest.into()),
        ..Default::default()
    };
    let there = world.blob(b"there");
    let below = reapi::Directory { files: vec![node("x", absent("x"))], ..Default::default() };
    let below = world.blob(&below.encode_to_vec());
    let gone = absent("a directory");
    let root = reapi::Directory {
        files: vec![node("a", absent("a")), node("b", there)],
        directories: vec![
            reapi::DirectoryNode { name: "below".into(), digest: Some(below.into()) },
            reapi::DirectoryNode { name: "gone".into(), digest: Some(gone.into()) },
        ],
        ..Default::default()
    };
    let root = world.blob(&root.encode_to_vec());
    let [layer, above, below_it] = ["a layer", "the root's upper", "the root's lower"].map(absent);
    let (action, command) = messages(|action, _| {
        action.input_root_digest = Some(root.into());
        action.platform = Some(reapi::Platform {
            properties: vec![
                property("layer", &format!("/=sha256/{above},{below_it}")),
                property("layer", &format!("/opt/x={layer}")),
            ],
        });
    });
    let digest = hands_tree::hash(DigestFunction::Sha256, &action.encode_to_vec());
    let status = client.execute(digest).await.err().unwrap();
    assert_eq!(missing(&status), [format!("blobs/{digest}")]);

    world.blob(&action.encode_to_vec());
    let command_digest = hands_tree::hash(DigestFunction::Sha256, &command.encode_to_vec());
    let mut expected: Vec<String> =
        [command_digest, absent("a"), absent("x"), gone, layer, above, below_it]
            .iter()
            .map(|digest| format!("blobs/{digest}"))
            .collect();
    expected.sort();
    let status = client.execute(digest).await.err().unwrap();
    assert_eq!(missing(&status), expected);

    // Uploaded, it is queued.
    world.blob(&command.encode_to_vec());
    for text in ["a", "x"] {
        world.blob(text.as_bytes());
    }
    let status = client.execute(digest).await.err().unwrap();
    assert_eq!(missing(&status).len(), 4);
}

#[tokio::test]
async fn what_can_not_be_run_is_refused_with_its_name() {
    let world = World::with(|config| config.max_timeout = std::time::Duration::from_secs(60));
    let client = world.client();
    let platform =
        |name: &str, value: &str| Some(reapi::Platform { properties: vec![property(name, value)] });
    type Change = Box<dyn FnOnce(&mut reapi::Action, &mut reapi::Command)>;
    let cases: Vec<(&str, Change)> = vec![
        ("60", Box::new(|a, _| a.timeout = Some(prost_types::Duration { seconds: 61, nanos: 0 }))),
        (
            "timeout",
            Box::new(|a, _| {
                a.timeout = Some(prost_types::Duration { seconds: i64::MIN, nanos: 0 });
            }),
        ),
        (
            "timeout",
            Box::new(|a, _| a.timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 })),
        ),
        ("cpu=many", Box::new(move |a, _| a.platform = platform("cpu", "many"))),
        ("memory=2Q", Box::new(move |_, c| c.platform = platform("memory", "2Q"))),
        ("network=lan", Box::new(move |a, _| a.platform = platform("network", "lan"))),
        ("topmost layer first", Box::new(move |a, _| a.platform = platform("layer", "/=x/1"))),
        ("absolute path", Box::new(move |a, _| a.platform = platform("layer", "/a/../b=x/1"))),
        ("scratch=tape", Box::new(move |a, _| a.platform = platform("scratch", "tape"))),
        ("layer=x", Box::new(move |a, _| a.platform = platform("layer", "x"))),
        ("no arguments", Box::new(|_, c| c.arguments.clear())),
        ("leaves the input root", Box::new(|_, c| c.output_files.push("../x".into()))),
        ("absolute", Box::new(|_, c| c.output_paths.push("/etc".into()))),
        ("leaves the input root", Box::new(|_, c| c.working_directory = "a/../..".into())),
    ];
    for (text, change) in cases {
        let digest = world.action(change);
        let status = client.execute(digest).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(text), "{text} is not in {status:?}");
    }
    let status = client.wait("operations/00000000000000000000000000").await.err().unwrap();
    assert_eq!(status.code(), Code::NotFound);
    let not_ours = client.wait("something").await.err().unwrap();
    assert_eq!(not_ours.code(), Code::NotFound);
}

#[tokio::test]
async fn api_2_0_and_buck2_are_understood() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    // The platform stands in the command only, in upper case; outputs beside the working directory.
    let digest = world.action(|_, command| {
        command.platform =
            Some(reapi::Platform { properties: vec![property("OSFamily", "Linux")] });
        command.working_directory = "out/x".into();
        command.output_files = vec!["../y".into(), "z".into()];
        command.output_directories = vec!["z".into()];
    });
    let following = client.execute(digest).await.unwrap();
    worker.run(0).await;
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn a_timeout_keeps_its_result() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let digest = world.action(|_, _| {});
    let following = client.execute(digest).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"so far").await;
    worker
        .report(&lease, |finished| {
            finished.stdout_size = 6;
            finished.status = Some(rpc::Status {
                code: rpc::Code::DeadlineExceeded.into(),
                message: "it ran for 1 s".into(),
                details: Vec::new(),
            });
        })
        .await;
    worker.acknowledged(&lease).await;
    let response = following.response().await;
    assert_eq!(code(&response), Code::DeadlineExceeded);
    assert_eq!(response.result.unwrap().stdout_raw, "so far");
    // And is not recorded.
    let again = client.execute(digest).await.unwrap();
    assert!(!again.first.done);
}

#[tokio::test]
async fn outputs_come_inside_the_answer_where_asked_for() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let content = world.blob(b"content");
    let digest =
        world.action(|_, command| command.output_paths = vec!["out".into(), "other".into()]);
    let client = world.client();
    let wants =
        |request: &mut reapi::ExecuteRequest| request.inline_output_files = vec!["out".into()];
    let following = client.execute_with(digest, wants, Some(ours())).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker
        .report(&lease, |finished| {
            finished.message = "a hint".into();
            let result = finished.result.get_or_insert_default();
            result.output_files = ["out", "other"]
                .map(|path| reapi::OutputFile {
                    path: path.into(),
                    digest: Some(content.into()),
                    ..Default::default()
                })
                .into();
        })
        .await;
    worker.acknowledged(&lease).await;
    let response = following.response().await;
    assert_eq!(response.message, "a hint");
    let files = response.result.unwrap().output_files;
    assert_eq!(files[0].contents, "content");
    assert_eq!(files[1].contents, Bytes::new());
}

#[tokio::test]
async fn a_silent_operation_says_that_it_is_alive() {
    let world = World::new();
    let clock = Clock::stop();
    let digest = world.action(|_, _| {});
    let mut following = world.client().execute_with(digest, |_| {}, Some(ours())).await.unwrap();
    for _ in 0..3 {
        // Proxies cut what is silent for longer.
        clock.pass(Duration::from_secs(60)).await;
        let operation = following.next().await;
        assert!(!operation.done);
    }
}

#[tokio::test]
async fn an_action_that_no_worker_can_take_says_why_and_then_fails() {
    // What the client asks for, what ours wait without asking, and those that can't show why they wait.
    let mut asked = ours();
    asked.queue_timeout_ms = 90_000;
    for (options, waits) in [(Some(asked), 90), (Some(ours()), 600), (None, 30)] {
        no_worker_can_take_it(options, Duration::from_secs(waits)).await;
    }
}

async fn no_worker_can_take_it(options: Option<hands_proto::v1::ExecuteOptions>, waits: Duration) {
    let world = World::new();
    let clock = Clock::stop();
    let _worker = world.worker("w").await;
    let digest = world.action(|action, _| {
        action.platform = Some(reapi::Platform { properties: vec![property("ISA", "riscv64")] });
    });
    let following = world.client().execute_with(digest, |_| {}, options).await.unwrap();
    let job = world.client().job(&following.id()).await;
    assert!(job.waiting.contains("riscv64") && job.waiting.contains("x86_64"), "{}", job.waiting);
    let mut following = following;
    let told = soon("the reason", async {
        let mut operation = following.first.clone();
        loop {
            let partial = metadata(&operation).partial_execution_metadata.unwrap();
            if let Some(any) = partial.auxiliary_metadata.first() {
                return unpack::<hands_proto::v1::Job>(any).unwrap().waiting;
            }
            operation = following.next().await;
        }
    })
    .await;
    assert!(told.contains("riscv64"), "{told}");
    clock.pass(waits - Duration::from_secs(1)).await;
    assert!(world.client().job(&following.id()).await.finished.is_none());
    clock.pass(Duration::from_secs(1)).await;
    let response = following.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    assert!(response.status.unwrap().message.contains("riscv64"));
}
