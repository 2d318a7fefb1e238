//! Workers that break the protocol, get lost, come back, or bring what does not count.

use std::time::Duration;

use bytes::Bytes;
use hands_proto::v1::worker_message::Kind as ToHub;
use hands_proto::{reapi, rpc, v1};
use hands_types::limits::LEASE;
use hands_types::{Digest, DigestFunction};
use prost::Message as _;
use tonic::Code;

use crate::clock::Clock;
use crate::support::{World, code, ours, property, soon};
use crate::worker::{Worker, hello};

async fn no_workers(world: &World) {
    let client = world.client();
    soon("the sessions' end", async {
        let request = v1::ListWorkersRequest::default();
        while !client
            .jobs()
            .list_workers(request.clone())
            .await
            .unwrap()
            .into_inner()
            .workers
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Drops a worker that has one lease, and lets the lease run out.
async fn lose(world: &World, clock: &Clock, worker: Worker) {
    drop(worker);
    no_workers(world).await;
    let mut activity = world.hub.activity();
    assert_eq!(activity.borrow().running, 1, "the lease outlives its session");
    clock.pass(LEASE).await;
    soon("the lease's end", activity.wait_for(|activity| activity.running == 0)).await.unwrap();
}

#[tokio::test]
async fn a_worker_of_another_protocol_is_told_what_to_do() {
    let world = World::new();
    let refused = |change: fn(&mut v1::Hello)| {
        let mut hello = hello("w");
        change(&mut hello);
        let pipe = world.pipe.clone();
        async move { Worker::with(&pipe, hello).await.err().unwrap() }
    };
    let newer = refused(|h| {
        h.protocol =
            Some(v1::Protocol { low: 2, high: 3, version: "9".into(), ..Default::default() });
    });
    let status = newer.await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("2 to 3") && status.message().contains("update the hub"),
        "{status:?}"
    );
    let status = refused(|h| h.protocol = None).await;
    assert!(status.message().contains("update the worker"), "{status:?}");
    assert_eq!(refused(|h| h.worker_id = "me".into()).await.code(), Code::InvalidArgument);
    assert_eq!(refused(|h| h.slots = 0).await.code(), Code::InvalidArgument);
}

/// Has a worker make a result that is cached; what the worker says when it takes that back.
async fn made(world: &World, worker: &mut Worker, argument: &str) -> (Digest, v1::Doubted) {
    let digest = world.action(|_, command| command.arguments.push(argument.into()));
    let following = world.client().execute(digest).await.unwrap();
    let operation = following.id();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.report(&lease, |_| {}).await;
    worker.acknowledged(&lease).await;
    assert!(following.response().await.result.is_some());
    assert!(is_cached(world, digest));
    let result = v1::DoubtedResult { operation, action: digest.to_string(), ..Default::default() };
    (digest, v1::Doubted { reason: "its disk".into(), results: vec![result], number: 7 })
}

fn is_cached(world: &World, digest: Digest) -> bool {
    world.store.action("", &digest).unwrap().is_some()
}

/// Says that results are doubted, and waits until that has been heard.
async fn doubt(worker: &mut Worker, doubted: &v1::Doubted) {
    worker.say(ToHub::Doubted(doubted.clone())).await;
    let ack = v1::hub_message::Kind::DoubtedAck(v1::DoubtedAck { number: 7 });
    assert_eq!(worker.hear().await.unwrap(), Some(ack));
}

#[tokio::test]
async fn a_worker_takes_back_its_own_results_and_nobody_else_s() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let (digest, doubted) = made(&world, &mut worker, "1").await;
    let mut other = world.worker("other").await;
    doubt(&mut other, &doubted).await;
    assert!(is_cached(&world, digest), "another worker's word");
    doubt(&mut worker, &doubted).await;
    assert!(!is_cached(&world, digest));
}

/// It would be read again each time, which would take minutes.
#[tokio::test]
async fn a_large_result_that_is_doubted_many_times_is_looked_at_once() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let (digest, mut doubted) = made(&world, &mut worker, "1").await;
    let other = reapi::ActionResult {
        output_files: vec![reapi::OutputFile::default(); 200_000],
        ..Default::default()
    };
    let large = world.action(|_, command| command.arguments.push("2".into()));
    world.store.action_put("", large, other.encode_to_vec().into()).unwrap();
    let again = v1::DoubtedResult { action: large.to_string(), ..Default::default() };
    doubted.results.splice(0..0, std::iter::repeat_n(again, 50_000));
    doubt(&mut worker, &doubted).await;
    assert!(!is_cached(&world, digest) && is_cached(&world, large));
}

/// A worker has another name in lists while one of its name is connected.
#[tokio::test]
async fn a_worker_takes_back_its_own_results_whatever_it_is_called() {
    let world = World::new();
    let boxed = |id: &str| v1::Hello { name: "box".into(), ..hello(id) };
    let mut first = Worker::with(&world.pipe, boxed("first")).await.unwrap();
    let (of_first, doubted_of_first) = made(&world, &mut first, "1").await;
    // The next lease is the second one's.
    first.say(ToHub::Draining(v1::Draining::default())).await;
    let mut second = Worker::with(&world.pipe, boxed("second")).await.unwrap();
    let (of_second, doubted_of_second) = made(&world, &mut second, "2").await;
    drop((first, second));
    no_workers(&world).await;
    let mut second = Worker::with(&world.pipe, boxed("second")).await.unwrap();
    doubt(&mut second, &doubted_of_first).await;
    assert!(is_cached(&world, of_first), "the word of another that is called the same");
    // More than one message of ours has.
    let mut many = doubted_of_second.clone();
    let nothing = v1::DoubtedResult { action: "0".repeat(64) + "/1", ..Default::default() };
    many.results.splice(0..0, std::iter::repeat_n(nothing, 10_000));
    doubt(&mut second, &many).await;
    assert!(!is_cached(&world, of_second));
}

#[tokio::test]
async fn a_tree_that_no_worker_would_stage_is_refused_at_once() {
    let world = World::new();
    let chain = |depth: u32, width: usize| {
        let mut digest = world.blob(&reapi::Directory::default().encode_to_vec());
        for _ in 0..depth {
            let node = |n: usize| reapi::DirectoryNode {
                name: format!("d{n:02}"),
                digest: Some(digest.into()),
            };
            let directories = (0..width).map(node).collect();
            let directory = reapi::Directory { directories, ..Default::default() };
            digest = world.blob(&directory.encode_to_vec());
        }
        digest
    };
    for (depth, width, word) in [(201, 1, "201 directories deep"), (30, 2, "entries")] {
        let root = chain(depth, width);
        let action = world.action(|action, _| action.input_root_digest = Some(root.into()));
        let response = match world.client().execute(action).await {
            Ok(following) => following.response().await,
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument);
                assert!(status.message().contains(word), "{status:?}");
                continue;
            }
        };
        assert_eq!(code(&response), Code::InvalidArgument);
        assert!(response.status.as_ref().unwrap().message.contains(word), "{response:?}");
    }
    let root = chain(200, 1);
    let mut worker = world.worker("w").await;
    let action = world.action(|action, _| action.input_root_digest = Some(root.into()));
    let _following = world.client().execute(action).await.unwrap();
    worker.lease().await;
}

#[tokio::test]
async fn a_result_for_a_lease_of_another_is_refused() {
    let world = World::new();
    let mut honest = world.worker("honest").await;
    let digest = world.action(|_, _| {});
    let following = world.client().execute(digest).await.unwrap();
    let lease = honest.lease().await;
    let mut forger = world.worker("forger").await;
    forger.finish(&lease, 0, b"").await;
    forger.refused(&lease).await;
    let piece = v1::Output { id: lease.id.clone(), stream: 1, offset: 0, data: "lies".into() };
    forger.say(ToHub::Output(piece)).await;
    forger.refused(&lease).await;
    honest.started(&lease).await;
    honest.finish(&lease, 5, b"").await;
    honest.acknowledged(&lease).await;
    assert_eq!(following.response().await.result.unwrap().exit_code, 5);
}

#[tokio::test]
async fn what_is_not_as_the_worker_says_is_done_again() {
    let world = World::with(|config| {
        config.scheduler.pause = Duration::from_millis(1);
        config.scheduler.max_lost = 100;
    });
    let mut worker = world.worker("w").await;
    let digest = world.action(|_, command| command.output_paths = vec!["x".into()]);
    let following = world.client().execute(digest).await.unwrap();
    let absent = hands_tree::hash(DigestFunction::Sha256, b"never uploaded");

    // An output that is not in the store.
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker
        .report(&lease, |finished| {
            finished.result.get_or_insert_default().output_files = vec![reapi::OutputFile {
                path: "x".into(),
                digest: Some(absent.into()),
                ..Default::default()
            }];
        })
        .await;
    assert!(worker.refused(&lease).await.contains("not in the store"));

    // A stream that is shorter than said, and one that is another.
    let lease = worker.lease().await;
    assert_eq!(lease.id.as_ref().unwrap().attempt, 2);
    worker.finish(&lease, 0, b"never sent").await;
    assert!(worker.refused(&lease).await.contains("0 of 10 bytes"));
    let lease = worker.lease().await;
    worker.output(&lease, 1, 0, b"one").await;
    worker.finish(&lease, 0, b"two").await;
    assert!(worker.refused(&lease).await.contains("stdout"));

    // The worker itself asks for another one.
    let lease = worker.lease().await;
    worker
        .report(&lease, |finished| {
            finished.result = None;
            finished.try_elsewhere = true;
            finished.status =
                Some(rpc::Status { code: 8, message: "disk full".into(), details: Vec::new() });
        })
        .await;
    assert_eq!(worker.refused(&lease).await, "disk full");
    let lease = worker.run(0).await;
    assert_eq!(lease.id.unwrap().attempt, 5);
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn a_result_for_which_the_hub_had_no_room_is_no_lost_start() {
    let world = World::with(|config| config.scheduler.pause = Duration::from_millis(1));
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    for n in 1..=5 {
        let lease = worker.lease().await;
        assert_eq!(lease.id.as_ref().unwrap().attempt, n);
        worker.started(&lease).await;
        worker
            .report(&lease, |finished| {
                (finished.try_elsewhere, finished.hub_full) = (true, true);
                finished.status.get_or_insert_default().message = "no room".into();
                finished.status.get_or_insert_default().code = Code::ResourceExhausted.into();
            })
            .await;
        assert_eq!(worker.refused(&lease).await, "no room");
    }
    let lease = worker.run(0).await;
    assert_eq!(lease.id.unwrap().attempt, 6);
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn a_result_that_is_refused_is_a_lost_start_and_the_third_ends_the_action() {
    let world = World::with(|config| config.scheduler.pause = Duration::from_millis(1));
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    for n in 1..=3 {
        let lease = worker.lease().await;
        assert_eq!(lease.id.as_ref().unwrap().attempt, n);
        // One that does not say that it started has a result all the same.
        if n > 1 {
            worker.started(&lease).await;
        }
        worker.report(&lease, |finished| finished.result.as_mut().unwrap().exit_code = -1).await;
        assert!(worker.refused(&lease).await.contains("exit code -1"));
    }
    let response = following.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    let said = response.status.unwrap().message;
    let expected = "the action was started 3 times and brought no result, the last time because: no command ends with the exit code -1";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_lost_worker_s_action_is_run_again_and_a_third_loss_is_poison() {
    let world = World::new();
    let clock = Clock::stop();
    let following = world.client().execute(world.salted("x")).await.unwrap();
    for n in 1..=3 {
        let mut worker = world.worker(&format!("w{n}")).await;
        let lease = worker.lease().await;
        assert_eq!(lease.id.as_ref().unwrap().attempt, n);
        worker.started(&lease).await;
        lose(&world, &clock, worker).await;
    }
    let response = following.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    assert!(response.status.unwrap().message.contains("poisonous"));
}

#[tokio::test]
async fn an_action_with_effects_is_run_again_only_if_asked_for() {
    let world = World::new();
    let clock = Clock::stop();
    let digest = |salt: &'static str| {
        world.action(|action, _| {
            action.do_not_cache = true;
            action.salt = salt.into();
            action.platform =
                Some(reapi::Platform { properties: vec![property("network", "host")] });
        })
    };
    let lose = async |name: &str| {
        let mut worker = world.worker(name).await;
        let lease = worker.lease().await;
        worker.started(&lease).await;
        lose(&world, &clock, worker).await;
        lease.id.unwrap().attempt
    };
    let client = world.client();
    let once = client.execute(digest("once")).await.unwrap();
    assert_eq!(lose("a").await, 1);
    let response = once.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    assert!(response.status.unwrap().message.contains("effects"));

    let mut options = ours();
    options.retry = Some(1);
    let twice = client.execute_with(digest("twice"), |_| {}, Some(options)).await.unwrap();
    assert_eq!(lose("b").await, 1);
    assert_eq!(lose("c").await, 2);
    let response = twice.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    assert!(response.status.unwrap().message.contains("no retries are left"));
}

#[tokio::test]
async fn a_worker_that_comes_back_in_time_keeps_its_attempt() {
    let world = World::new();
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"half").await;
    drop(worker);
    let mut hello = hello("w");
    hello.attempts = vec![lease.id.clone().unwrap()];
    let mut worker = Worker::with(&world.pipe, hello).await.unwrap();
    let [resume] = &worker.welcome.resume[..] else { panic!("{:?}", worker.welcome) };
    assert_eq!((resume.stdout_offset, resume.stderr_offset), (4, 0));
    worker.output(&lease, 1, 4, b" whole").await;
    worker.finish(&lease, 0, b"half whole").await;
    worker.acknowledged(&lease).await;
    assert_eq!(following.response().await.result.unwrap().stdout_raw, "half whole");
}

#[tokio::test]
async fn a_late_result_of_an_uncached_action_is_refused() {
    let world = World::new();
    let clock = Clock::stop();
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let mut first = world.worker("first").await;
    let lease = first.lease().await;
    first.started(&lease).await;
    lose(&world, &clock, first).await;
    let mut second = world.worker("second").await;
    let again = second.lease().await;
    assert_eq!(again.id.as_ref().unwrap().attempt, 2);
    // The first one is back, too late, with a result.
    let mut hello = hello("first");
    hello.attempts = vec![lease.id.clone().unwrap()];
    let mut first = Worker::with(&world.pipe, hello).await.unwrap();
    assert!(first.welcome.resume.is_empty());
    first.cancelled(&lease).await;
    first.finish(&lease, 1, b"").await;
    first.refused(&lease).await;
    second.started(&again).await;
    second.finish(&again, 2, b"").await;
    second.acknowledged(&again).await;
    assert_eq!(following.response().await.result.unwrap().exit_code, 2);
}

#[tokio::test]
async fn a_stream_beyond_its_bound_fails_the_action_and_says_so() {
    let world = World::with(|config| {
        config.stream_limit = 100_000;
        config.stream_memory = 1000;
    });
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 2, 0, &[b'x'; 60_000]).await;
    let piece = v1::Output {
        id: lease.id.clone(),
        stream: 2,
        offset: 60_000,
        data: vec![b'x'; 60_000].into(),
    };
    worker.say(ToHub::Output(piece)).await;
    worker.cancelled(&lease).await;
    let response = following.response().await;
    assert_eq!(code(&response), Code::ResourceExhausted);
    assert!(response.status.unwrap().message.contains("100000 bytes to stderr"));
}

/// A later worker has a cause that this hub has no word for.
#[tokio::test]
async fn a_lease_that_comes_back_for_an_unknown_cause_goes_elsewhere() {
    let world = World::new();
    let mut worker = world.worker("later").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let lease = worker.lease().await;
    let back = v1::HandBack { id: lease.id.clone(), reason: "later".into(), cause: 99 };
    worker.say(ToHub::HandBack(back)).await;
    let mut other = world.worker("other").await;
    assert_eq!(other.run(0).await.action_digest, lease.action_digest);
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn a_drained_worker_gets_nothing_new() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let drain = |worker: &str| {
        let request = v1::DrainWorkerRequest { worker: worker.into() };
        let mut jobs = client.jobs();
        async move { jobs.drain_worker(request).await.map(drop) }
    };
    assert_eq!(drain("nobody").await.unwrap_err().code(), Code::NotFound);
    drain("w").await.unwrap();
    assert!(matches!(worker.hear().await, Ok(Some(v1::hub_message::Kind::Drain(_)))));
    let following = client.execute(world.salted("x")).await.unwrap();
    let workers = client
        .jobs()
        .list_workers(v1::ListWorkersRequest::default())
        .await
        .unwrap()
        .into_inner()
        .workers;
    assert!(workers[0].draining);
    let mut other = world.worker("other").await;
    other.run(0).await;
    assert_eq!(code(&following.response().await), Code::Ok);
}

/// What one worker was given ahead goes to another that is idle, and comes back to nobody twice.
#[tokio::test]
async fn an_idle_worker_gets_what_another_was_given_ahead() {
    let world = World::new();
    let mut offer = hello("busy");
    offer.slots = 1;
    offer.ahead = Some(2);
    let mut busy = Worker::with(&world.pipe, offer).await.unwrap();
    let client = world.client();
    let mut following = Vec::new();
    let mut held = Vec::new();
    for salt in ["runs", "second", "third"] {
        following.push(client.execute(world.salted(salt)).await.unwrap());
        held.push(busy.lease().await);
    }
    busy.started(&held[0]).await;
    let mut offer = hello("idle");
    offer.slots = 1;
    let mut idle = Worker::with(&world.pipe, offer).await.unwrap();
    // One slot is idle, so one lease is asked for: the one that would have started next.
    busy.recalled(&held[1]).await;
    busy.hand_back(&held[1], v1::HandBackCause::LeaseRecalled).await;
    let moved = idle.lease().await;
    let id = |lease: &v1::Lease| lease.id.clone().unwrap();
    assert_eq!((id(&moved).operation, id(&moved).attempt), (id(&held[1]).operation, 2));
    idle.started(&moved).await;
    idle.finish(&moved, 4, b"").await;
    idle.acknowledged(&moved).await;
    let second = following.remove(1).response().await;
    assert_eq!(second.result.unwrap().exit_code, 4);
    // One that was started meanwhile is not handed back; its result counts and the recall is forgotten.
    busy.recalled(&held[2]).await;
    busy.finish(&held[0], 0, b"").await;
    busy.acknowledged(&held[0]).await;
    busy.started(&held[2]).await;
    busy.finish(&held[2], 5, b"").await;
    busy.acknowledged(&held[2]).await;
    let third = following.remove(1).response().await;
    assert_eq!(third.result.unwrap().exit_code, 5);
    // Whoever hands back what it was asked for is not taken for one that can't work.
    let again = client.execute(world.salted("again")).await.unwrap();
    drop(idle);
    busy.run(6).await;
    assert_eq!(again.response().await.result.unwrap().exit_code, 6);
}

/// The worker says how far ahead it works.
#[tokio::test]
async fn as_many_leases_go_ahead_as_the_worker_takes() {
    for (ahead, leased) in [(Some(0), 1), (None, 3), (Some(4), 5), (Some(u32::MAX), 6)] {
        let world = World::new();
        let client = world.client();
        let mut following = Vec::new();
        for salt in ["a", "b", "c", "d", "e", "f"] {
            following.push(client.execute(world.salted(salt)).await.unwrap());
        }
        let mut offer = hello("w");
        offer.slots = 1;
        offer.ahead = ahead;
        let _worker = Worker::with(&world.pipe, offer).await.unwrap();
        let mut activity = world.hub.activity();
        let activity = *soon("leases", activity.wait_for(|a| a.running > 0)).await.unwrap();
        assert_eq!((activity.running, activity.queued), (leased, 6 - leased), "{ahead:?}");
    }
}

/// A lease of an action with effects that never reached its worker is no lost attempt, if the worker can say so.
#[tokio::test]
async fn a_worker_that_remembers_all_says_what_it_never_had() {
    let world = World::new();
    let digest = |salt: &'static str| {
        world.action(|action, _| {
            action.do_not_cache = true;
            action.salt = salt.into();
            action.platform =
                Some(reapi::Platform { properties: vec![property("network", "host")] });
        })
    };
    let client = world.client();
    let following = client.execute(digest("never received")).await.unwrap();
    let mut worker = world.worker("w").await;
    assert_eq!(worker.lease().await.id.unwrap().attempt, 1);
    drop(worker);
    let mut offer = hello("w");
    offer.resumes = true;
    let mut worker = Worker::with(&world.pipe, offer).await.unwrap();
    let lease = worker.run(3).await;
    assert_eq!(lease.id.unwrap().attempt, 2);
    assert_eq!(following.response().await.result.unwrap().exit_code, 3);

    // One that was just started can't know what ran before it.
    let following = client.execute(digest("perhaps started")).await.unwrap();
    worker.lease().await;
    drop(worker);
    let _new = world.worker("w").await;
    let response = following.response().await;
    assert_eq!(code(&response), Code::FailedPrecondition);
    assert!(response.status.unwrap().message.contains("effects"));
}

/// A large Command is fetched by the worker, so that a lease stays small; a worker of an older version has no other way to it.
#[tokio::test]
async fn a_lease_carries_a_small_command_and_names_a_large_one() {
    let mut world = World::new();
    let client = world.client();
    let large = |salt: &'static [u8]| {
        world.action(|action, command| {
            action.do_not_cache = true;
            action.salt = Bytes::from_static(salt);
            command.arguments = vec!["x".repeat(1000); 2000];
            // Only the Command says what it takes.
            let properties = vec![property("memory_kb", "1000000"), property("cpu", "2")];
            command.platform = Some(reapi::Platform { properties });
        })
    };
    let (first, second, third) = (large(b"1"), large(b"2"), large(b"3"));
    let small = world.salted("small");

    let mut old = world.worker("old").await;
    let ran = client.execute(first).await.unwrap();
    let lease = old.run(0).await;
    assert!(lease.command.len() > 2_000_000 && lease.takes.is_none());
    assert_eq!(code(&ran.response().await), Code::Ok);
    drop(old);

    let new = || v1::Hello { fetches_commands: true, ..hello("new") };
    let mut worker = Worker::with(&world.pipe, new()).await.unwrap();
    let ran = client.execute(second).await.unwrap();
    let lease = worker.run(0).await;
    assert!(lease.encoded_len() < 1000, "{}", lease.encoded_len());
    let takes = lease.takes.unwrap();
    assert_eq!((takes.cpu_millis, takes.custom.len()), (2000, 0), "{takes:?}");
    assert!(takes.memory > 900 << 20, "{takes:?}");
    assert_eq!(code(&ran.response().await), Code::Ok);
    let ran = client.execute(small).await.unwrap();
    let lease = worker.run(0).await;
    assert!(!lease.command.is_empty() && lease.takes.is_none(), "{lease:?}");
    assert_eq!(code(&ran.response().await), Code::Ok);
    drop(worker);

    // The same after a restart, when the hub has no message in memory.
    let options = v1::ExecuteOptions { detach: true, ..ours() };
    let waits = client.execute_with(third, |_| {}, Some(options)).await.unwrap();
    drop(waits);
    world.restart().await;
    let mut worker = Worker::with(&world.pipe, new()).await.unwrap();
    let lease = worker.run(0).await;
    assert!(lease.encoded_len() < 1000 && lease.takes.is_some(), "{}", lease.encoded_len());
}
