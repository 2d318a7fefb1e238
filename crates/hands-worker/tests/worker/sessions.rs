//! Sessions that are lost, refused and drained.

use hands_proto::v1::worker_message::Kind;
use hands_proto::v1::{self, hub_message};

use crate::hub::{Hub, Job};
use crate::place::{Tally, running};

pub(crate) async fn run(tally: &mut Tally) {
    resume(tally).await;
    recall(tally).await;
    drain(tally).await;
    versions(tally).await;
}

/// A hub that was killed: attempts are kept, output comes again from its offset, what it does not want is dropped.
async fn resume(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let (worker, mut session) = hub.worker(&place, false).await;
    let gate = "read line; echo second; echo third >&2; exit 9";
    let mut job = Job::sh(&format!("echo first; {gate}"));
    job.options.stdin = true;
    let kept = job.lease();
    let dropped = Job::new(&["/bin/sleep", "987.0617"]).lease();
    let (kept_id, dropped_id) =
        (kept.id.clone().expect("an id"), dropped.id.clone().expect("an id"));
    session.send(hub_message::Kind::Lease(kept));
    session.send(hub_message::Kind::Lease(dropped));
    session.started(&dropped_id).await;
    while session.seen(&kept_id)[0] < "first\n".len() {
        session.next().await;
    }
    session.break_off();

    let mut session = hub.session().await;
    let mut named: Vec<&v1::AttemptId> = session.hello.attempts.iter().collect();
    named.sort_by_key(|id| id.operation.clone());
    tally.check("both attempts are named", named == [&kept_id, &dropped_id], &session.hello);
    // The hub has "fir" only, and does not want the other.
    session.welcome(vec![(kept_id.clone(), [3, 0])]);
    let data = v1::input::Kind::Data("go\n".into());
    session.send(hub_message::Kind::Input(v1::Input {
        id: Some(kept_id.clone()),
        kind: Some(data),
        ..Default::default()
    }));
    let ended = session.finish(&kept_id).await;
    let good = ended.out == "st\nsecond\n" && ended.err == "third\n" && ended.exit() == Some(9);
    tally.check("output from the hub's offset on", good, ended.note());
    let whole = hands_tree::hash(crate::hub::SHA256, b"first\nsecond\n");
    tally.check(
        "the digest is of the whole",
        ended.result().stdout_digest == Some(whole.into()),
        ended.note(),
    );
    // Needs both slots, so that the dropped one has ended.
    let (a, b) = (Job::sh("sleep 0.2").lease(), Job::sh("sleep 0.2").lease());
    let ids = [a.id.clone().expect("an id"), b.id.clone().expect("an id")];
    session.send(hub_message::Kind::Lease(a));
    session.send(hub_message::Kind::Lease(b));
    session.finish(&ids[0]).await;
    session.finish(&ids[1]).await;
    tally.check("what the hub does not want is killed", !running("987.0617"), "");

    // A result that was not acknowledged is told again.
    let lease = Job::sh("echo again").lease();
    let id = lease.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(lease));
    loop {
        if let Kind::Finished(finished) = session.next().await {
            assert_eq!(finished.id.as_ref(), Some(&id), "the only one");
            break;
        }
    }
    session.break_off();
    let mut session = hub.session().await;
    tally.check("a result is held", session.hello.attempts == [id.clone()], &session.hello);
    session.welcome(vec![(id.clone(), [6, 0])]);
    let ended = session.finish(&id).await;
    tally.check(
        "and told again, without its output",
        ended.out.is_empty() && ended.exit() == Some(0),
        ended.note(),
    );
    session.break_off();
    let session = hub.session().await;
    tally.check("until it is acknowledged", session.hello.attempts.is_empty(), &session.hello);
    worker.stop().await;
}

/// What waits for a slot goes back when the hub asks for it; what runs does not.
async fn recall(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let mut config = hub.config(&place, false);
    config.slots = 1;
    config.ahead = Some(3);
    let (worker, mut session) = tokio::join!(hands_worker::Worker::start(config), hub.session());
    session.welcome(Vec::new());
    let worker = worker.expect("a worker");
    tally.check("it says how far ahead", session.hello.ahead == Some(3), &session.hello);
    tally.check("a new process remembers nothing", !session.hello.resumes, &session.hello);
    let mut job = Job::sh("read line; echo done");
    job.options.stdin = true;
    let (runs, waits) = (job.lease(), Job::sh("echo here").lease());
    let (runs_id, waits_id) = (runs.id.clone().expect("an id"), waits.id.clone().expect("an id"));
    session.send(hub_message::Kind::Lease(runs));
    session.started(&runs_id).await;
    session.send(hub_message::Kind::Lease(waits));
    for id in [&runs_id, &waits_id] {
        session.send(hub_message::Kind::Recall(v1::Recall { id: Some(id.clone()) }));
    }
    let back = match session.next().await {
        Kind::HandBack(back) => back,
        other => panic!("{other:?}"),
    };
    let good =
        back.id.as_ref() == Some(&waits_id) && back.cause() == v1::HandBackCause::LeaseRecalled;
    tally.check("what waits comes back as recalled", good, &back);
    let data = v1::input::Kind::Data("go\n".into());
    session.send(hub_message::Kind::Input(v1::Input {
        id: Some(runs_id.clone()),
        kind: Some(data),
        ..Default::default()
    }));
    let ended = session.finish(&runs_id).await;
    tally.check("what runs is finished", ended.out == "done\n", ended.note());
    session.break_off();
    let session = hub.session().await;
    tally.check("a worker that was welcomed remembers", session.hello.resumes, &session.hello);
    worker.stop().await;
}

async fn drain(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let (worker, mut session) = hub.worker(&place, false).await;
    let mut job = Job::sh("read line; echo done");
    job.options.stdin = true;
    let first = job.lease();
    let first_id = first.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(first));
    session.started(&first_id).await;
    // Both slots are taken by these: the third was not started.
    let mut job = Job::sh("read line; echo done");
    job.options.stdin = true;
    let second = job.lease();
    let second_id = second.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(second));
    session.started(&second_id).await;
    let third = Job::sh("true").lease();
    let third_id = third.id.clone().expect("an id");
    session.send(hub_message::Kind::Lease(third));
    session.send(hub_message::Kind::Drain(v1::Drain { reason: "a test".to_owned() }));
    let (mut draining, mut back) = (false, None);
    while !draining || back.is_none() {
        match session.next().await {
            Kind::Draining(_) => draining = true,
            Kind::HandBack(hand_back) => {
                tally.check(
                    "it says that it drains",
                    hand_back.cause() == v1::HandBackCause::WorkerDrains,
                    &hand_back,
                );
                back = hand_back.id;
            }
            _ => {}
        }
    }
    tally.check("what was not started comes back", back == Some(third_id), &back);
    for id in [&first_id, &second_id] {
        let data = v1::input::Kind::Data("go\n".into());
        session.send(hub_message::Kind::Input(v1::Input {
            id: Some(id.clone()),
            kind: Some(data),
            ..Default::default()
        }));
        let ended = session.finish(id).await;
        tally.check("what runs is finished", ended.out == "done\n", ended.note());
    }
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), worker.drain()).await;
    tally.check("then the worker has ended", ended.is_ok(), "");
}

async fn versions(tally: &mut Tally) {
    let place = tally.directory();
    let mut hub = Hub::new(&place);
    let config = hub.config(&place, false);
    let (worker, session) = tokio::join!(hands_worker::Worker::start(config), hub.session());
    let worker = worker.expect("a worker");
    let protocol =
        v1::Protocol { low: 7, high: 9, version: "9.0".to_owned(), ..Default::default() };
    session.send(hub_message::Kind::Welcome(v1::Welcome {
        protocol: Some(protocol),
        ..Default::default()
    }));
    // It leaves, and comes again in case the hub has changed.
    let mut session = hub.session().await;
    session.welcome(Vec::new());
    let ended = session.run(Job::sh("echo fine").lease()).await;
    tally.check(
        "a hub of another version is left, and tried again",
        ended.out == "fine\n",
        ended.note(),
    );
    worker.stop().await;
}
