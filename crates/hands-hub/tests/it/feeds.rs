//! Numbered standard input: what a client repeats is handed on once, also to a worker that comes back, and after a restart.

use std::time::Duration;

use hands_proto::v1::hub_message::Kind as FromHub;
use hands_proto::v1::input::Kind as Input;
use hands_proto::v1::worker_message::Kind as ToHub;
use hands_proto::v1::{self, FeedMessage, FeedReply};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::support::{Client, Following, World, ours, soon};
use crate::worker::{Worker, hello};

struct Feed {
    to_hub: mpsc::Sender<FeedMessage>,
    replies: Streaming<FeedReply>,
}

impl Feed {
    async fn open(client: &Client, id: &str, source: &str) -> Result<Self, Status> {
        let (to_hub, messages) = mpsc::channel(16);
        let (operation, source) = (id.to_owned(), source.to_owned());
        to_hub.send(FeedMessage { operation, source, ..Default::default() }).await.unwrap();
        let call = client.jobs().feed(ReceiverStream::new(messages)).await?;
        Ok(Self { to_hub, replies: call.into_inner() })
    }

    async fn say(&self, offset: u64, data: &'static str, eof: bool) {
        let message = FeedMessage { offset, data: data.into(), eof, ..Default::default() };
        self.to_hub.send(message).await.unwrap();
    }

    async fn hear(&mut self) -> Result<FeedReply, Status> {
        Ok(soon("a reply", self.replies.message()).await?.expect("the call goes on"))
    }

    /// Waits until the worker has so much.
    async fn until(&mut self, taken: u64) {
        while self.hear().await.unwrap().taken < taken {}
    }
}

async fn submitted(client: &Client, world: &World) -> Following {
    let mut options = ours();
    options.stdin = true;
    client.execute_with(world.salted("x"), |_| {}, Some(options)).await.unwrap()
}

async fn input(worker: &mut Worker) -> (u64, Input) {
    match worker.hear().await {
        Ok(Some(FromHub::Input(input))) => (input.offset, input.kind.unwrap()),
        other => panic!("expected input, got {other:?}"),
    }
}

fn data(text: &'static str) -> Input {
    Input::Data(text.into())
}

/// The worker's first message, with so much input of one attempt.
fn holding(lease: &v1::Lease, bytes: u64, ended: bool) -> v1::Hello {
    let id = lease.id.clone();
    v1::Hello {
        attempts: id.clone().into_iter().collect(),
        resumes: true,
        inputs: vec![v1::InputTaken { id, bytes, ended }],
        ..telling()
    }
}

fn telling() -> v1::Hello {
    v1::Hello { tells_input: true, ..hello("w") }
}

#[tokio::test]
async fn what_is_repeated_is_handed_on_once() {
    let world = World::new();
    let client = world.client();
    let following = submitted(&client, &world).await;
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    let mut worker = Worker::with(&world.pipe, telling()).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    assert_eq!(feed.hear().await.unwrap(), FeedReply::default());
    feed.say(0, "abc", false).await;
    assert_eq!(input(&mut worker).await, (0, data("abc")));
    // The same, more that begins in it, and the end twice.
    feed.say(0, "abc", false).await;
    feed.say(1, "bcde", false).await;
    assert_eq!(input(&mut worker).await, (3, data("de")));
    feed.say(5, "", true).await;
    feed.say(0, "abcde", true).await;
    assert_eq!(input(&mut worker).await, (5, Input::Eof(true)));
    // A worker has no more than it was given.
    let taken = v1::InputTaken { id: lease.id.clone(), bytes: 99, ended: true };
    worker.say(ToHub::InputTaken(taken)).await;
    assert_eq!(feed.hear().await.unwrap(), FeedReply { taken: 5, ended: true, closed: false });
    worker.finish(&lease, 0, b"").await;
    worker.acknowledged(&lease).await;
    following.response().await;
    assert!(feed.hear().await.unwrap().closed);
    assert_eq!(soon("the end", feed.replies.message()).await.unwrap(), None);
}

#[tokio::test]
async fn holes_and_strangers_are_refused() {
    let world = World::new();
    let client = world.client();
    let following = submitted(&client, &world).await;
    let mut worker = Worker::with(&world.pipe, telling()).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    feed.hear().await.unwrap();
    feed.say(1, "b", false).await;
    assert_eq!(feed.hear().await.unwrap_err().code(), Code::InvalidArgument);
    let mut other = Feed::open(&client, &following.id(), "another").await.unwrap();
    assert_eq!(other.hear().await.unwrap_err().code(), Code::FailedPrecondition);
    for source in [String::new(), "x".repeat(65)] {
        let refused = Feed::open(&client, &following.id(), &source).await;
        assert_eq!(refused.err().unwrap().code(), Code::InvalidArgument);
    }
    // Nor does one that counts nothing come between.
    let (send, messages) = mpsc::channel(2);
    for kind in [
        v1::attach_message::Kind::Operation(following.id()),
        v1::attach_message::Kind::Data("x".into()),
    ] {
        send.send(v1::AttachMessage { kind: Some(kind) }).await.unwrap();
    }
    let refused = soon("the refusal", client.jobs().attach(ReceiverStream::new(messages))).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    // An action without standard input has none to take.
    let plain = client.execute(world.salted("plain")).await.unwrap();
    let refused = Feed::open(&client, &plain.id(), "me").await;
    assert_eq!(refused.err().unwrap().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_worker_that_comes_back_says_where_to_go_on() {
    let world = World::new();
    let client = world.client();
    let following = submitted(&client, &world).await;
    let mut worker = Worker::with(&world.pipe, telling()).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    feed.hear().await.unwrap();
    feed.say(0, "abcdef", true).await;
    assert_eq!(input(&mut worker).await, (0, data("abcdef")));
    drop(worker);
    let mut worker = Worker::with(&world.pipe, holding(&lease, 2, false)).await.unwrap();
    worker.started(&lease).await;
    // It has what it says, and is told nothing else.
    assert_eq!(input(&mut worker).await, (2, Input::Data(Default::default())));
    let again = loop {
        match feed.hear().await {
            Ok(reply) => assert!(reply.taken <= 2 && !reply.ended),
            Err(status) => break status,
        }
    };
    assert_eq!(again.code(), Code::Unavailable);
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    assert_eq!(feed.hear().await.unwrap().taken, 2);
    feed.say(2, "cdef", true).await;
    assert_eq!(input(&mut worker).await, (2, data("cdef")));
    assert_eq!(input(&mut worker).await, (6, Input::Eof(true)));
}

#[tokio::test]
async fn a_hub_that_was_killed_learns_from_the_worker_where_to_go_on() {
    let mut world = World::new();
    let client = world.client();
    let following = submitted(&client, &world).await;
    let id = following.id();
    let mut worker = Worker::with(&world.pipe, telling()).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &id, "me").await.unwrap();
    feed.hear().await.unwrap();
    feed.say(0, "abc", false).await;
    input(&mut worker).await;
    worker
        .say(ToHub::InputTaken(v1::InputTaken { id: lease.id.clone(), bytes: 3, ended: false }))
        .await;
    feed.until(3).await;
    drop((feed, worker));
    world.kill().await;
    drop(following);
    let client = world.client();
    // Before its worker is back nobody knows.
    let mut feed = Feed::open(&client, &id, "me").await.unwrap();
    let mut worker = Worker::with(&world.pipe, holding(&lease, 3, false)).await.unwrap();
    worker.started(&lease).await;
    assert_eq!(feed.hear().await.unwrap(), FeedReply { taken: 3, ..Default::default() });
    feed.say(0, "abcd", true).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&(4, Input::Eof(true))) {
        seen.push(input(&mut worker).await);
    }
    assert!(seen.contains(&(3, data("d"))), "{seen:?}");
}

#[tokio::test]
async fn what_a_worker_of_an_older_version_has_after_a_restart_nobody_knows() {
    let mut world = World::new();
    let client = world.client();
    let following = submitted(&client, &world).await;
    let id = following.id();
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &id, "me").await.unwrap();
    feed.hear().await.unwrap();
    feed.say(0, "abc", false).await;
    input(&mut worker).await;
    // It does not say so itself.
    feed.until(3).await;
    drop((feed, worker));
    world.kill().await;
    drop(following);
    let client = world.client();
    let old = v1::Hello { tells_input: false, inputs: Vec::new(), ..holding(&lease, 3, false) };
    let worker = Worker::with(&world.pipe, old).await.unwrap();
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &id, "me").await.unwrap();
    let refused = feed.hear().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("older version"), "{refused:?}");
}

/// The same of an action that may run again.
async fn retried(client: &Client, world: &World) -> Following {
    let options = v1::ExecuteOptions { stdin: true, retry: Some(3), ..ours() };
    client.execute_with(world.salted("x"), |_| {}, Some(options)).await.unwrap()
}

/// Which attempt a lease is.
fn of(lease: &v1::Lease) -> (String, u32) {
    let id = lease.id.clone().unwrap();
    (id.operation, id.attempt)
}

#[tokio::test]
async fn a_lease_that_came_back_unstarted_takes_no_input_along() {
    let world = World::new();
    let client = world.client();
    let one_slot = || v1::Hello { slots: 1, ahead: Some(1), ..telling() };
    let mut busy = Worker::with(&world.pipe, one_slot()).await.unwrap();
    let _runs = client.execute(world.salted("runs")).await.unwrap();
    let first = busy.lease().await;
    busy.started(&first).await;
    let following = retried(&client, &world).await;
    let ahead = busy.lease().await;
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    feed.say(0, "abc", true).await;
    // Its link is cut, and it comes back with both.
    drop(busy);
    let attempts = [&first, &ahead].into_iter().filter_map(|lease| lease.id.clone()).collect();
    let back = v1::Hello { attempts, resumes: true, ..one_slot() };
    let mut busy = Worker::with(&world.pipe, back).await.unwrap();
    busy.started(&first).await;
    let idle = v1::Hello { tells_input: true, slots: 1, ..hello("idle") };
    let mut idle = Worker::with(&world.pipe, idle).await.unwrap();
    busy.recalled(&ahead).await;
    busy.hand_back(&ahead, v1::HandBackCause::LeaseRecalled).await;
    let moved = idle.lease().await;
    assert_eq!(of(&moved), (of(&ahead).0, 2));
    idle.started(&moved).await;
    assert_eq!(input(&mut idle).await, (0, data("abc")));
    assert_eq!(input(&mut idle).await, (3, Input::Eof(true)));
    assert_eq!(feed.hear().await.unwrap(), FeedReply::default());
}

#[tokio::test]
async fn an_attempt_that_was_handed_back_is_fed_no_more() {
    let world = World::with(|config| config.scheduler.pause = Duration::from_millis(1));
    let client = world.client();
    let following = retried(&client, &world).await;
    let mut worker = Worker::with(&world.pipe, telling()).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    feed.hear().await.unwrap();
    // Nothing was sent yet, so it may run again; its session goes on.
    worker.hand_back(&lease, v1::HandBackCause::Unable).await;
    assert_eq!(feed.hear().await.unwrap_err().code(), Code::Unavailable);
    let mut feed = Feed::open(&client, &following.id(), "me").await.unwrap();
    feed.say(0, "abc", true).await;
    let again = worker.lease().await;
    assert_eq!(of(&again), (of(&lease).0, 2));
    worker.started(&again).await;
    assert_eq!(input(&mut worker).await, (0, data("abc")));
    assert_eq!(input(&mut worker).await, (3, Input::Eof(true)));
    feed.hear().await.unwrap();
}
