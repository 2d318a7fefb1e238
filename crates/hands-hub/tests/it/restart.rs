//! A hub that ends and begins again on the same state.

use std::time::Duration;

use hands_hub::{Hub, HubError};
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_types::limits::LEASE;
use tonic::Code;

use crate::clock::Clock;
use crate::support::{World, code, ours, soon, stage};
use crate::worker::{Worker, hello};

/// Else a hub that is killed in between forgets an action that runs, and its client has it run again.
#[tokio::test]
async fn a_lease_is_told_when_its_row_is_durable() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let (client, digest) = (world.client(), world.salted("one"));
    // Who holds the table's lock keeps the hub from writing.
    let table = rusqlite::Connection::open(world.dir.path().join("hub/hub.db")).unwrap();
    table.execute_batch("BEGIN IMMEDIATE").unwrap();
    let submitted = tokio::spawn(async move { client.execute(digest).await });
    let early = tokio::time::timeout(Duration::from_millis(500), worker.lease()).await;
    assert!(early.is_err(), "the worker has a lease that the table does not have");
    assert!(!submitted.is_finished(), "the client has an operation that the table does not have");
    table.execute_batch("COMMIT").unwrap();
    worker.run(0).await;
    let following = soon("the answer", submitted).await.unwrap().unwrap();
    assert_eq!(code(&following.response().await), Code::Ok);
}

#[tokio::test]
async fn queued_and_running_actions_outlive_the_hub() {
    outlive(false).await;
}

#[tokio::test]
async fn queued_and_running_actions_outlive_a_killed_hub() {
    outlive(true).await;
}

async fn outlive(killed: bool) {
    let mut world = World::with(|config| config.stream_memory = 4);
    let id = world.hub.id().to_owned();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let running = client.execute(world.salted("running")).await.unwrap();
    let running_name = running.name().to_owned();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"before ").await;
    drop(worker);
    let digest = world.action(|_, command| command.arguments = vec!["/bin/false".into()]);
    let queued = client.execute(digest).await.unwrap();
    let queued_name = queued.name().to_owned();
    let mut options = ours();
    options.detach = true;
    let kept = client
        .execute_with(world.salted("kept"), |_| {}, Some(options))
        .await
        .unwrap()
        .name()
        .to_owned();

    if killed {
        world.kill().await;
    } else {
        world.restart().await;
    }
    assert_eq!(world.hub.id(), id);
    // The streams of the old hub ended without an end of the operations.
    for mut following in [running, queued] {
        let end = soon("the old stream's end", async {
            loop {
                match following.stream.message().await {
                    Ok(Some(operation)) => assert!(!operation.done),
                    end => return end,
                }
            }
        })
        .await;
        assert!(matches!(end, Ok(None) | Err(_)));
    }
    let client = world.client();
    assert_eq!(world.hub.activity().borrow().queued + world.hub.activity().borrow().running, 3);
    let running = client.wait(&running_name).await.unwrap();
    let queued = client.wait(&queued_name).await.unwrap();
    // An equal action still joins.
    assert_eq!(client.execute(digest).await.unwrap().name(), queued_name);

    // The worker comes back with its attempt, which is not run twice.
    let mut again = hello("w");
    again.attempts = vec![lease.id.clone().unwrap()];
    let mut worker = Worker::with(&world.pipe, again).await.unwrap();
    let [resume] = &worker.welcome.resume[..] else { panic!("{:?}", worker.welcome) };
    assert_eq!(resume.stdout_offset, 7, "the spool was on disk");
    let mut fresh = vec![worker.lease().await, worker.lease().await];
    worker.output(&lease, 1, 7, b"after").await;
    worker.finish(&lease, 0, b"before after").await;
    worker.acknowledged(&lease).await;
    let response = running.response().await;
    assert_eq!(response.result.unwrap().stdout_raw, "before after");
    fresh.sort_by_key(|lease| lease.id.clone().unwrap().operation);
    for lease in &fresh {
        assert_ne!(lease.action_digest, None);
        assert!(!lease.action.is_empty() && !lease.command.is_empty());
        worker.started(lease).await;
        worker.finish(lease, 0, b"").await;
        worker.acknowledged(lease).await;
    }
    assert_eq!(code(&queued.response().await), Code::Ok);
    assert_eq!(code(&client.wait(&kept).await.unwrap().response().await), Code::Ok);
    assert!(world.hub.activity().borrow().is_idle());
}

#[tokio::test]
async fn a_killed_hub_asks_for_the_output_that_it_held_in_memory() {
    let mut world = World::new();
    let mut worker = world.worker("w").await;
    let name = world.client().execute(world.salted("x")).await.unwrap().name().to_owned();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"all of it").await;
    drop(worker);
    world.kill().await;
    let mut again = hello("w");
    again.attempts = vec![lease.id.clone().unwrap()];
    let mut worker = Worker::with(&world.pipe, again).await.unwrap();
    assert_eq!(worker.welcome.resume[0].stdout_offset, 0);
    worker.output(&lease, 1, 0, b"all of it").await;
    worker.finish(&lease, 0, b"all of it").await;
    worker.acknowledged(&lease).await;
    // What was answered is there after the next kill.
    world.kill().await;
    let after = world.client().wait(&name).await.unwrap();
    assert!(after.first.done);
    assert_eq!(after.response().await.result.unwrap().stdout_raw, "all of it");
}

#[tokio::test]
async fn a_worker_that_does_not_come_back_is_waited_for() {
    let mut world = World::new();
    let clock = Clock::stop();
    let mut worker = world.worker("w").await;
    let following = world.client().execute(world.salted("x")).await.unwrap();
    let name = following.name().to_owned();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    drop(worker);
    world.restart().await;
    let mut other = world.worker("other").await;
    let waiting = world.client().wait(&name).await.unwrap();
    assert!(matches!(stage(&waiting.first), Stage::Queued | Stage::Executing));
    // Its lease begins anew with the hub: the time without one does not count.
    clock.pass(LEASE - Duration::from_secs(1)).await;
    let job = world.client().job(&waiting.id()).await;
    assert_eq!((job.attempt, job.finished), (1, None), "it is waited for");
    clock.pass(Duration::from_secs(1)).await;
    let again = other.lease().await;
    assert_eq!(again.id.as_ref().unwrap().attempt, 2);
    other.started(&again).await;
    other.finish(&again, 0, b"").await;
    other.acknowledged(&again).await;
    assert_eq!(code(&waiting.response().await), Code::Ok);
}

#[tokio::test]
async fn a_state_in_use_or_of_a_newer_version_is_refused() {
    let world = World::new();
    assert!(matches!(Hub::open(world.config()), Err(HubError::InUse { .. })));
    soon("the hub's end", world.hub.close()).await;
    let mut config = world.config();
    config.state_dir = config.state_dir.join("newer");
    std::fs::create_dir_all(&config.state_dir).unwrap();
    let table = rusqlite::Connection::open(config.state_dir.join("hub.db")).unwrap();
    table.pragma_update(None, "user_version", 99).unwrap();
    drop(table);
    let error = Hub::open(config).err().unwrap();
    assert!(matches!(error, HubError::Newer { found: 99, .. }));
    assert!(error.to_string().contains("format 99"), "{error}");
}

#[tokio::test]
async fn a_table_that_is_garbage_names_a_way_out_that_works() {
    let world = World::new();
    soon("the hub's end", world.hub.close()).await;
    let mut config = world.config();
    config.state_dir = config.state_dir.join("damaged");
    std::fs::create_dir_all(&config.state_dir).unwrap();
    let table = config.state_dir.join("hub.db");
    std::fs::write(&table, "no table ".repeat(10_000)).unwrap();
    let error = Hub::open(config.clone()).err().unwrap();
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move hub.db, hub.db-wal and hub.db-shm away"), "{error}");
    std::fs::rename(&table, table.with_extension("aside")).unwrap();
    let hub = Hub::open(config).unwrap();
    soon("the hub's end", hub.close()).await;
}

#[tokio::test]
async fn a_table_that_is_deleted_under_a_hub_ends_it() {
    let world = World::new();
    let client = world.client();
    let digest = world.salted("one");
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        std::fs::remove_file(world.dir.path().join("hub").join(name)).unwrap();
    }
    // It would be lost with the table.
    let refused = soon("an answer", client.execute(digest)).await;
    assert!(refused.is_err(), "an action was accepted into a table that is not there");
    soon("the hub's end", world.hub.close()).await;
}

/// Longer than what is read before the hub serves.
#[tokio::test]
async fn a_long_queue_is_read_while_the_hub_serves() {
    const QUEUED: u32 = 2_500;
    let mut world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let mut options = ours();
    options.detach = true;
    let mut submit = Vec::new();
    for n in 0..QUEUED {
        let digest = world.action(|action, _| {
            action.do_not_cache = true;
            action.salt = n.to_le_bytes().to_vec().into();
        });
        let following = client.execute_with(digest, |_| {}, Some(options.clone())).await.unwrap();
        submit.push((digest, following.name().to_owned()));
    }
    let held = worker.lease().await;
    worker.started(&held).await;
    drop(worker);
    world.kill().await;
    // At once, while most of them are not known yet: what is asked for waits, and nothing is new.
    let client = world.client();
    for (digest, name) in [&submit[2_400], &submit[0], &submit[1_500]] {
        assert_eq!(client.execute(*digest).await.unwrap().name(), name);
        assert_eq!(client.wait(name).await.unwrap().name(), name);
    }
    let activity = *world.hub.activity().borrow();
    assert_eq!(activity.queued + activity.running, QUEUED as usize);
    // Each runs once, and what was held is not given out again.
    let mut again = hello("w");
    again.attempts = vec![held.id.clone().unwrap()];
    let mut worker = Worker::with(&world.pipe, again).await.unwrap();
    assert_eq!(worker.welcome.resume.len(), 1);
    worker.finish(&held, 0, b"").await;
    worker.acknowledged(&held).await;
    let mut seen = std::collections::BTreeSet::from([held.id.unwrap().operation]);
    while seen.len() < QUEUED as usize {
        let lease = worker.lease().await;
        assert!(seen.insert(lease.id.clone().unwrap().operation), "{lease:?}");
        worker.started(&lease).await;
        worker.finish(&lease, 0, b"").await;
        worker.acknowledged(&lease).await;
    }
    let (_, last) = submit.last().unwrap();
    assert_eq!(code(&client.wait(last).await.unwrap().response().await), Code::Ok);
}
