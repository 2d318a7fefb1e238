//! What workers and clients say is foreign input: what may be said counts, and it is bounded wherever it is shown.

use std::time::Duration;

use hands_proto::longrunning::ListOperationsRequest;
use hands_proto::{pack, reapi, rpc, v1};
use hands_types::DigestFunction;
use prost::Message;
use tonic::Code;

use crate::support::{World, code, ours, property, soon};
use crate::worker::{Worker, hello};

/// Each of these was acknowledged, and what names files elsewhere stood in the action cache then.
#[tokio::test]
async fn a_result_that_no_honest_worker_has_is_refused_and_the_action_done_again() {
    let world = World::with(|config| {
        config.scheduler.pause = Duration::from_millis(1);
        config.scheduler.max_lost = 100;
    });
    let mut worker = world.worker("w").await;
    let content = world.blob(b"content");
    let digest = world.action(|_, command| command.output_paths = vec!["out".into(), "*.o".into()]);
    let following = world.client().execute(digest).await.unwrap();
    let file = |path: &str| reapi::OutputFile {
        path: path.into(),
        digest: Some(content.into()),
        ..Default::default()
    };
    let with = |paths: &[&str]| reapi::ActionResult {
        output_files: paths.iter().map(|path| file(path)).collect(),
        ..Default::default()
    };
    let result = |result: reapi::ActionResult| v1::Finished {
        result: Some(result),
        status: Some(rpc::Status::default()),
        ..Default::default()
    };
    let ends = |code: i32| v1::Finished {
        status: Some(rpc::Status { code, message: "log in again".into(), details: Vec::new() }),
        ..Default::default()
    };
    let lies = [
        ("does not declare", result(with(&["../../x"]))),
        ("does not declare", result(with(&["/etc/x"]))),
        ("does not declare", result(with(&["other"]))),
        ("twice", result(with(&["out", "out"]))),
        ("declare", result(with(&[""; 1000]))),
        ("exit code 256", result(reapi::ActionResult { exit_code: 256, ..Default::default() })),
        ("gRPC code 16", ends(16)),
        ("gRPC code 99", ends(99)),
        ("gRPC code 14", ends(14)),
        ("success without a result", ends(0)),
    ];
    for (why, lie) in lies {
        let lease = worker.lease().await;
        worker.started(&lease).await;
        worker
            .say(v1::worker_message::Kind::Finished(v1::Finished { id: lease.id.clone(), ..lie }))
            .await;
        let refused = worker.refused(&lease).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
    // What counts is what the command asked for; of the rest only what our workers say.
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker
        .report(&lease, |finished| {
            finished.message = format!("\u{1b}[2J{}", "long ".repeat(10_000));
            let result = finished.result.get_or_insert_default();
            *result = with(&["out", "main.o"]);
            result.output_files[0].contents = "something else".into();
            let metadata = result.execution_metadata.get_or_insert_default();
            metadata.worker = "another".repeat(1000);
            metadata.execution_start_timestamp =
                Some(prost_types::Timestamp { seconds: i64::MIN, nanos: i32::MAX });
            metadata.execution_completed_timestamp =
                Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
            metadata.auxiliary_metadata = vec![pack(&v1::Job::default()); 1000];
            metadata.auxiliary_metadata.push(pack(&v1::Usage { signal: 7, ..Default::default() }));
        })
        .await;
    worker.acknowledged(&lease).await;
    let response = following.response().await;
    assert_eq!(code(&response), Code::Ok);
    assert!(response.message.starts_with(r"\u{1b}[2Jlong") && response.message.len() < 5000);
    let result = response.result.unwrap();
    assert!(result.output_files.iter().all(|file| file.contents.is_empty()));
    let told = result.execution_metadata.unwrap();
    assert_eq!(told.worker, "w");
    // Of the worker's own only its usage; the hub adds which attempts came before.
    let kinds = told.auxiliary_metadata.iter().map(|any| any.type_url.rsplit('.').next().unwrap());
    assert_eq!(kinds.collect::<Vec<_>>(), ["Usage", "LostAttempts"]);
    let (from, to) =
        (told.execution_start_timestamp.unwrap(), told.execution_completed_timestamp.unwrap());
    assert!(from.seconds > 1 << 30 && from.seconds == to.seconds, "{from:?} {to:?}");
}

/// A Command that is not in memory is read: here by a hub that was started since.
#[tokio::test]
async fn a_result_is_compared_with_its_command_after_a_restart_too() {
    let mut world = World::with(|config| config.scheduler.pause = Duration::from_millis(1));
    let content = world.blob(b"content");
    let digest = world.action(|_, command| command.output_files = vec!["out".into()]);
    let mut options = ours();
    options.detach = true;
    let name = {
        let client = world.client();
        client.execute_with(digest, |_| {}, Some(options)).await.unwrap().name().to_owned()
    };
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    worker.started(&lease).await;
    world.restart().await;
    let offer = v1::Hello { attempts: vec![lease.id.clone().unwrap()], ..hello("w") };
    let mut worker = Worker::with(&world.pipe, offer).await.unwrap();
    for (path, good) in [("/etc/out", false), ("out", true)] {
        let lease = if good { worker.lease().await } else { lease.clone() };
        worker
            .report(&lease, |finished| {
                finished.result.get_or_insert_default().output_files = vec![reapi::OutputFile {
                    path: path.into(),
                    digest: Some(content.into()),
                    ..Default::default()
                }];
            })
            .await;
        if good {
            worker.acknowledged(&lease).await;
        } else {
            assert!(worker.refused(&lease).await.contains("/etc/out"));
        }
    }
    assert_eq!(code(&world.client().wait(&name).await.unwrap().response().await), Code::Ok);
}

/// A name of 5 MiB broke every list of workers for everybody.
#[tokio::test]
async fn what_a_worker_is_called_is_bounded_and_its_own() {
    let world = World::new();
    let refused = async |change: fn(&mut v1::Hello)| {
        let mut offer = hello("w");
        change(&mut offer);
        let status = Worker::with(&world.pipe, offer).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().len() < 500, "{}", status.message().len());
    };
    refused(|h| h.name = "x".repeat(5 << 20)).await;
    refused(|h| h.name = "a\u{1b}[2J".into()).await;
    refused(|h| h.worker_id = "x".repeat(1 << 20)).await;
    refused(|h| h.protocol.as_mut().unwrap().version = "1\n".into()).await;
    refused(|h| h.properties[0].value = "x".repeat(257)).await;
    refused(|h| h.properties = vec![h.properties[0].clone(); 300]).await;
    refused(|h| h.custom = vec![v1::Counter { name: "\u{202e}".into(), count: 1 }]).await;

    // Two of one name, and one that is called as the second is shown.
    let named = |id: &str| v1::Hello { name: "box".into(), ..hello(id) };
    let _first = Worker::with(&world.pipe, named("a")).await.unwrap();
    let second = Worker::with(&world.pipe, named("b")).await.unwrap();
    let client = world.client();
    let list = async || -> Vec<String> {
        let request = v1::ListWorkersRequest::default();
        let reply = soon("the list", client.jobs().list_workers(request)).await.unwrap();
        reply.into_inner().workers.into_iter().map(|worker| worker.name).collect()
    };
    let names = list().await;
    let tail = hello("b").worker_id.split_at(18).1.to_owned();
    assert_eq!(names, ["box".to_owned(), format!("box~{tail}")]);
    let drain = async |worker: &str| {
        let request = v1::DrainWorkerRequest { worker: worker.into() };
        client.jobs().drain_worker(request).await.map(drop)
    };
    drain(&names[1]).await.unwrap();
    let following = client.execute(world.salted("x")).await.unwrap();
    let running = following;
    assert_eq!(running.first.name.len(), 37);
    drop(second);
}

/// An answer had 203 MB; 1,000 rows were read and held for it.
#[tokio::test]
async fn lists_are_cut_by_bytes_and_go_on() {
    let world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let content = world.blob(b"content");
    const N: usize = 12;
    let mut ids = Vec::new();
    for n in 0..N {
        let digest = world.action(|action, command| {
            command.output_paths = vec!["**".into()];
            action.do_not_cache = true;
            action.salt = vec![u8::try_from(n).unwrap()].into();
        });
        let following = client.execute_with(digest, |_| {}, Some(ours())).await.unwrap();
        ids.push(following.id());
        let lease = worker.lease().await;
        worker.started(&lease).await;
        worker
            .report(&lease, |finished| {
                finished.message = "words ".repeat(1000);
                // Half a megabyte.
                finished.result.get_or_insert_default().output_files = (0..4000)
                    .map(|n| reapi::OutputFile {
                        path: format!("{n:050}"),
                        digest: Some(content.into()),
                        ..Default::default()
                    })
                    .collect();
            })
            .await;
        worker.acknowledged(&lease).await;
        following.response().await;
    }
    ids.reverse();
    let mut request = ListOperationsRequest { page_size: 1000, ..Default::default() };
    let (mut listed, mut pages) = (Vec::new(), 0);
    loop {
        let reply = soon("a page", client.operations().list_operations(request.clone())).await;
        let reply = reply.unwrap().into_inner();
        assert!(reply.encoded_len() < 4 << 20, "{}", reply.encoded_len());
        listed.extend(reply.operations.into_iter().map(|it| it.name.replace("operations/", "")));
        pages += 1;
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    assert_eq!(listed, ids);
    assert!(pages >= 3, "{pages}");
    // Rows go on as well, with one that has not ended among them.
    let waits = client.execute(world.salted("waits")).await.unwrap();
    ids.insert(0, waits.id());
    let mut request = v1::ListRequest { limit: 5, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let reply = soon("a page", client.jobs().list(request.clone())).await.unwrap().into_inner();
        assert!(reply.jobs.iter().all(|job| job.message.len() < 5000));
        listed.extend(reply.jobs.into_iter().map(|job| job.id));
        if reply.next_page_token.is_empty() {
            break;
        }
        request.page_token = reply.next_page_token;
    }
    assert_eq!(listed, ids);
}

/// What stands in a header is short, whatever was sent.
#[tokio::test]
async fn a_long_text_costs_no_answer() {
    let world = World::new();
    let client = world.client();
    let long = "\u{fc}".repeat(30 << 10);
    let status = client.get(&format!("operations/{long}")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    let status = client.jobs().get(v1::GetRequest { id: long.clone() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let instance = |r: &mut reapi::ExecuteRequest| r.instance_name = "x".repeat(300);
    let digest = world.action(|_, _| {});
    let status = client.execute_with(digest, instance, None).await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let digest = world.action(|action, _| {
        let property = property("network", &"x".repeat(1 << 20));
        action.platform = Some(reapi::Platform { properties: vec![property] });
    });
    let status = client.execute(digest).await.err().unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    // So many missing blobs are no header, and all of them are named.
    let files = (0..1000_u32).map(|n| reapi::FileNode {
        name: format!("{n:04}"),
        digest: Some(hands_tree::hash(DigestFunction::Sha256, &n.to_be_bytes()).into()),
        ..Default::default()
    });
    let root = reapi::Directory { files: files.collect(), ..Default::default() };
    let root = world.blob(&root.encode_to_vec());
    let digest = world.action(|action, _| action.input_root_digest = Some(root.into()));
    let response = client.execute(digest).await.unwrap().response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    let details = response.status.unwrap().details;
    let failure: rpc::PreconditionFailure = hands_proto::unpack(&details[0]).unwrap();
    assert_eq!(failure.violations.len(), 1000);
}

/// They were written anew for each action: a `hub.db` of 1 GB.
#[tokio::test]
async fn what_many_actions_ask_for_is_kept_once_and_outlives_the_hub() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for n in 0..20_u8 {
        let digest = world.action(|action, _| {
            action.do_not_cache = true;
            action.salt = vec![n].into();
            let value = if n == 19 { "z".repeat(200) } else { "y".repeat(200) };
            let properties = vec![property("tag", &value)];
            action.platform = Some(reapi::Platform { properties });
        });
        let options = v1::ExecuteOptions { detach: true, ..ours() };
        let client = world.client();
        ids.push(client.execute_with(digest, |_| {}, Some(options)).await.unwrap().id());
    }
    let table = rusqlite::Connection::open(world.dir.path().join("hub/hub.db")).unwrap();
    let kept: (i64, i64) = table
        .query_row("SELECT count(*), sum(length(message)) FROM platforms", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!(kept.0 == 2 && kept.1 < 600, "{kept:?}");
    drop(table);
    world.restart().await;
    for (n, id) in ids.iter().enumerate() {
        let wanted = if n == 19 { "tag=zz" } else { "tag=yy" };
        let job = world.client().job(id).await;
        assert!(job.waiting.contains(wanted) || job.waiting.contains("no worker"), "{job:?}");
    }
    let mut offer = hello("y");
    offer.properties.push(v1::Property { name: "tag".into(), value: "y".repeat(200) });
    let mut worker = Worker::with(&world.pipe, offer).await.unwrap();
    for _ in 0..19 {
        worker.run(0).await;
    }
    let last = world.client().job(&ids[19]).await;
    assert_eq!(last.state(), v1::JobState::Queued, "it asks for another worker");
}
