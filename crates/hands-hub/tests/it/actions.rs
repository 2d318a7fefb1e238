//! Many actions over one stream.

use std::path::PathBuf;

use bytes::Bytes;
use hands_link::{Address, Listener};
use hands_proto::v1::actions_client::ActionsClient;
use hands_proto::v1::actions_reply::Kind as Said;
use hands_proto::v1::actions_request::Kind;
use hands_proto::{reapi, v1};
use hands_types::limits::ORPHAN;
use hands_types::{Digest, DigestFunction};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::clock::Clock;
use crate::support::{Client, World, messages, property, soon};

/// A client's end of a session.
struct Session {
    requests: mpsc::Sender<v1::ActionsRequest>,
    replies: Streaming<v1::ActionsReply>,
    welcome: v1::SessionWelcome,
    heard: v1::ActionEvents,
}

const MUCH: u64 = 1 << 30;

fn opening(epoch: u64, credit: u64) -> v1::OpenSession {
    v1::OpenSession { session: Bytes::from_static(&[7; 16]), epoch, credit, ..Default::default() }
}

impl Session {
    async fn open(client: &Client, open: v1::OpenSession) -> Result<Self, Status> {
        let (requests, queue) = mpsc::channel(64);
        requests.send(v1::ActionsRequest { kind: Some(Kind::Open(open)) }).await.unwrap();
        let mut actions = ActionsClient::new(client.channel.clone());
        let replies = soon("the session", actions.session(ReceiverStream::new(queue))).await?;
        let mut replies = replies.into_inner();
        let first = soon("the welcome", replies.message()).await?.unwrap();
        let Some(Said::Welcome(welcome)) = first.kind else { panic!("{first:?}") };
        Ok(Self { requests, replies, welcome, heard: v1::ActionEvents::default() })
    }

    async fn say(&self, kind: Kind) {
        self.requests.send(v1::ActionsRequest { kind: Some(kind) }).await.unwrap();
    }

    async fn submit(&self, actions: Vec<v1::SubmitAction>) {
        self.say(Kind::Submit(v1::Submissions { actions, ..Default::default() })).await;
    }

    /// Hears until all that was said so far is as it should be.
    async fn until(&mut self, what: &str, is: impl Fn(&v1::ActionEvents) -> bool) {
        while !is(&self.heard) {
            let reply = soon(what, self.replies.message()).await.unwrap().expect("a word");
            let Some(Said::Events(events)) = reply.kind else { panic!("{reply:?}") };
            self.heard.accepted.extend(events.accepted);
            self.heard.states.extend(events.states);
            self.heard.ended.extend(events.ended);
            self.heard.unknown.extend(events.unknown);
            self.heard.all_cancelled |= events.all_cancelled;
        }
    }

    fn ended(&self, id: u64) -> &v1::ActionEnded {
        self.heard.ended.iter().find(|ended| ended.id == id).unwrap()
    }

    fn code(&self, id: u64) -> Code {
        let response = self.ended(id).response.as_ref().unwrap();
        Code::from(response.status.as_ref().map_or(0, |status| status.code))
    }
}

/// An action that comes with its messages.
fn inline(id: u64, change: impl FnOnce(&mut reapi::Action)) -> v1::SubmitAction {
    let (action, command) = messages(|action, command| {
        command.arguments = vec!["/bin/echo".into(), id.to_string()];
        change(action);
    });
    let (action, command) = (action.encode_to_vec(), command.encode_to_vec());
    let digest = hands_tree::hash(DigestFunction::Sha256, &action);
    v1::SubmitAction {
        id,
        action_digest: Some(digest.into()),
        action: action.into(),
        command: command.into(),
        ..Default::default()
    }
}

fn salted(id: u64) -> v1::SubmitAction {
    inline(id, |action| {
        action.do_not_cache = true;
        action.salt = Bytes::from(id.to_be_bytes().to_vec());
    })
}

#[tokio::test]
async fn actions_come_with_their_messages_and_end_with_their_streams() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    session.submit((0..40).map(salted).collect()).await;
    session.until("acceptances", |heard| heard.accepted.len() == 40).await;
    // As their client sent them.
    let names: Vec<&str> = session.heard.accepted.iter().map(|it| it.operation.as_str()).collect();
    assert!(names.is_sorted() && names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    assert_eq!(world.hub.activity().borrow().queued, 40, "the scheduler has all of them");
    let mut worker = world.worker("w").await;
    for _ in 0..40 {
        let lease = worker.lease().await;
        worker.output(&lease, 1, 0, b"out\n").await;
        worker.finish(&lease, 0, b"out\n").await;
        worker.acknowledged(&lease).await;
    }
    session.until("ends", |heard| heard.ended.len() == 40).await;
    for id in 0..40 {
        let result = session.ended(id).response.as_ref().unwrap().result.as_ref().unwrap();
        assert_eq!((result.stdout_raw.as_ref(), session.ended(id).attempt), (&b"out\n"[..], 1));
    }
    assert!(world.hub.activity().borrow().is_idle());
}

#[tokio::test]
async fn a_recorded_result_is_an_answer_without_an_operation() {
    let world = World::new();
    let client = world.client();
    let mut session = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let mut worker = world.worker("w").await;
    session.submit(vec![inline(1, |_| ())]).await;
    let lease = worker.lease().await;
    worker.output(&lease, 1, 0, b"text").await;
    worker.finish(&lease, 0, b"text").await;
    worker.acknowledged(&lease).await;
    session.until("the first end", |heard| heard.ended.len() == 1).await;
    let again = v1::SubmitAction { id: 2, ..inline(1, |_| ()) };
    let afresh = v1::SubmitAction { id: 3, skip_cache_lookup: true, ..again.clone() };
    session.submit(vec![again, afresh]).await;
    let lease = worker.lease().await;
    worker.output(&lease, 1, 0, b"text").await;
    worker.finish(&lease, 0, b"text").await;
    worker.acknowledged(&lease).await;
    session.until("all ends", |heard| heard.ended.len() == 3).await;
    let hit = session.ended(2);
    let response = hit.response.as_ref().unwrap();
    assert!(hit.operation.is_empty() && response.cached_result);
    assert_eq!(response.result.as_ref().unwrap().stdout_raw.as_ref(), b"text");
    assert!(!session.ended(3).operation.is_empty());
    let list = client.jobs().list(v1::ListRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.jobs.len(), 2, "those that ran");
    let overview = client.jobs().overview(v1::OverviewRequest::default()).await.unwrap();
    let sums = &overview.into_inner().invocations[0];
    assert_eq!((sums.succeeded, sums.cached), (3, 1), "and the answer is counted");
}

#[tokio::test]
async fn one_that_is_alone_is_an_operation_whatever_answers_it() {
    let world = World::new();
    let client = world.client();
    let mut session = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let hit = recorded(&world, &session, 10).await;
    session.until("the first end", |heard| heard.ended.len() == 1).await;
    session.submit(vec![v1::SubmitAction { id: 1, alone: true, ..hit }]).await;
    session.until("the second end", |heard| heard.ended.len() == 2).await;
    let ended = session.ended(1);
    let response = ended.response.as_ref().unwrap();
    let stdout = response.result.as_ref().unwrap().stdout_raw.as_ref();
    assert_eq!((response.cached_result, stdout), (true, &b"xxxxxxxxxx"[..]));
    let get = v1::GetRequest { id: ended.operation.clone() };
    let job = soon("its row", async {
        loop {
            // It is not waited for.
            if let Ok(job) = client.jobs().get(get.clone()).await {
                return job.into_inner();
            }
        }
    });
    assert!(job.await.cached);
}

#[tokio::test]
async fn what_was_sent_ahead_of_a_welcome_that_never_came_is_one_action() {
    let world = World::new();
    let client = world.client();
    let mut first = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let action = v1::SubmitAction { alone: true, ..salted(1) };
    first.submit(vec![action.clone()]).await;
    first.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    let name = first.heard.accepted[0].operation.clone();
    // As if nothing had been heard: it does not know the epoch, by which the hub made that name.
    drop((first, client));
    let mut second = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    second.submit(vec![v1::SubmitAction { sent_before: true, ..action }]).await;
    second.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    assert_eq!(second.heard.accepted[0].operation, name);
    assert_eq!(world.hub.activity().borrow().queued, 1);
}

#[tokio::test]
async fn what_is_sent_twice_runs_once_whatever_was_lost_between() {
    let mut world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    let epoch = session.welcome.epoch;
    // One that fails and is cacheable, so that neither the cache nor a salt would know it.
    let first = inline(5, |_| ());
    session.submit(vec![first.clone(), salted(6), salted(7)]).await;
    session.until("acceptances", |heard| heard.accepted.len() == 3).await;
    let names: Vec<String> = session.heard.accepted.iter().map(|it| it.operation.clone()).collect();
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    worker.finish(&lease, 3, b"").await;
    session.until("the first end", |heard| heard.ended.len() == 1).await;
    drop((session, worker));
    world.kill().await;
    let mut back = Session::open(&world.client(), opening(epoch, MUCH)).await.unwrap();
    assert_eq!(back.welcome.epoch, epoch);
    // It heard nothing of the first two, and knows that the third was accepted.
    let sent = [first, salted(6)].map(|it| v1::SubmitAction { sent_before: true, ..it });
    let resume = v1::ResumeAction { id: 7, operation: names[2].clone(), follow: false };
    let unknown = v1::ResumeAction {
        id: 8,
        operation: names[2].replace(&names[2][..10], &"0".repeat(10)),
        follow: false,
    };
    let message = v1::Submissions {
        actions: sent.to_vec(),
        resume: vec![resume, unknown],
        ..Default::default()
    };
    back.say(Kind::Submit(message)).await;
    back.until("words of all", |heard| {
        heard.ended.len() == 1 && heard.accepted.len() == 2 && heard.unknown == [8]
    })
    .await;
    let exit = |session: &Session, id| {
        session.ended(id).response.as_ref().unwrap().result.as_ref().unwrap().exit_code
    };
    assert_eq!(exit(&back, 5), 3, "it is not run again");
    let mut again: Vec<String> =
        back.heard.accepted.iter().map(|it| it.operation.clone()).collect();
    again.sort();
    assert_eq!(again, names[1..], "the same operations");
    let mut worker = world.worker("w").await;
    for _ in 0..2 {
        worker.run(0).await;
    }
    back.until("ends", |heard| heard.ended.len() == 3).await;
    assert!(world.hub.activity().borrow().is_idle(), "nothing else was queued");
}

#[tokio::test]
async fn a_lost_session_leaves_its_actions_a_while_and_a_cancelled_one_does_not() {
    let world = World::new();
    let clock = Clock::stop();
    let client = world.client();
    let mut lost = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let kept = v1::ExecuteOptions { detach: true, ..Default::default() };
    let detached = v1::SubmitAction { options: Some(kept), ..salted(1) };
    lost.submit(vec![detached, salted(2)]).await;
    lost.until("acceptances", |heard| heard.accepted.len() == 2).await;
    let epoch = lost.welcome.epoch;
    let second = lost.heard.accepted.iter().find(|it| it.id == 2).unwrap().operation.clone();
    drop((lost, client));
    let mut activity = world.hub.activity();
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();
    clock.pass(ORPHAN - std::time::Duration::from_secs(1)).await;
    let client = world.client();
    let mut back = Session::open(&client, opening(epoch, MUCH)).await.unwrap();
    let resume = v1::ResumeAction { id: 2, operation: second, follow: false };
    back.say(Kind::Submit(v1::Submissions { resume: vec![resume], ..Default::default() })).await;
    back.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    // Its connection stays: this is a cancel.
    drop(back);
    soon("one left", activity.wait_for(|activity| activity.queued == 1)).await.unwrap();
    assert_eq!(activity.borrow().detached, 1);
}

#[tokio::test]
async fn a_session_that_is_opened_once_more_has_one_stream() {
    let world = World::new();
    // Its connection has died, and nobody has noticed.
    let mut first = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    first.submit(vec![salted(1), salted(2)]).await;
    first.until("acceptances", |heard| heard.accepted.len() == 2).await;
    let epoch = first.welcome.epoch;
    let mut back = Session::open(&world.client(), opening(epoch, MUCH)).await.unwrap();
    let accepted = first.heard.accepted.iter();
    let resume = accepted
        .map(|it| v1::ResumeAction { id: it.id, operation: it.operation.clone(), follow: false })
        .collect();
    back.say(Kind::Submit(v1::Submissions { resume, ..Default::default() })).await;
    back.until("both", |heard| heard.accepted.len() == 2).await;
    let end = soon("the end of the first", first.replies.message()).await;
    assert!(matches!(end, Ok(None)), "{end:?}");
    back.say(Kind::Cancel(v1::CancelActions { ids: vec![1], all: false })).await;
    back.until("its end", |heard| heard.ended.len() == 1).await;
    assert_eq!(world.hub.activity().borrow().queued, 1, "nobody else waits for it");
    back.say(Kind::Cancel(v1::CancelActions { ids: Vec::new(), all: true })).await;
    back.until("the answer", |heard| heard.all_cancelled).await;
    assert!(world.hub.activity().borrow().is_idle());
}

#[tokio::test]
async fn a_session_that_is_back_before_its_end_was_noticed_waits_alone() {
    let world = World::new();
    let client = world.client();
    let mut first = Session::open(&client, opening(0, MUCH)).await.unwrap();
    first.submit(vec![salted(1), salted(2)]).await;
    first.until("acceptances", |heard| heard.accepted.len() == 2).await;
    let epoch = first.welcome.epoch;
    let accepted = first.heard.accepted.iter();
    let resume = accepted
        .map(|it| v1::ResumeAction { id: it.id, operation: it.operation.clone(), follow: false })
        .collect();
    // For a while the hub does not know whether its connection ends, too.
    drop(first);
    let mut back = Session::open(&client, opening(epoch, MUCH)).await.unwrap();
    back.say(Kind::Submit(v1::Submissions { resume, ..Default::default() })).await;
    back.until("both", |heard| heard.accepted.len() == 2).await;
    back.say(Kind::Cancel(v1::CancelActions { ids: Vec::new(), all: true })).await;
    back.until("the answer", |heard| heard.all_cancelled).await;
    assert!(world.hub.activity().borrow().is_idle(), "nobody else waits for them");
}

/// Says the same as a client whose last frame of data comes together with the connection's end.
async fn says_last(kind: Kind) {
    let world = World::new();
    let socket = world.dir.path().join("socket/hub.sock");
    world.hub.serve(Listener::bind(&Address::Unix(socket.clone())).unwrap());
    let (last, lasts) = oneshot::channel();
    let (leaving, leaves) = oneshot::channel();
    let client = Client { channel: leaving_after_data(socket, lasts, leaving) };
    let mut session = Session::open(&client, opening(0, MUCH)).await.unwrap();
    session.submit((0..3).map(salted).collect()).await;
    session.until("acceptances", |heard| heard.accepted.len() == 3).await;
    last.send(()).unwrap();
    soon("the relay's end", async {
        session.say(kind).await;
        leaves.await.unwrap();
    })
    .await;
    let mut activity = world.hub.activity();
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();
    assert!(activity.borrow().is_idle(), "{:?}", *activity.borrow());
}

#[tokio::test]
async fn a_cancel_that_comes_with_its_connections_end_is_heard() {
    says_last(Kind::Cancel(v1::CancelActions { ids: Vec::new(), all: true })).await;
    says_last(Kind::Cancel(v1::CancelActions { ids: vec![0, 1, 2], all: false })).await;
}

/// A connection that ends with the first frame of data that its client says after `last`.
fn leaving_after_data(
    socket: PathBuf,
    last: oneshot::Receiver<()>,
    leaving: oneshot::Sender<()>,
) -> Channel {
    let mut relay = Some((last, leaving));
    let connect = tower::service_fn(move |_: http::Uri| {
        let (socket, relay) = (socket.clone(), relay.take());
        async move {
            let (mut last, leaving) = relay.ok_or(std::io::ErrorKind::ConnectionRefused)?;
            let mut hub = UnixStream::connect(socket).await?;
            let (ours, mut theirs) = duplex(1 << 20);
            tokio::spawn(async move {
                tokio::select! {
                    _ended = copy_bidirectional(&mut theirs, &mut hub) => return,
                    said = &mut last => said.unwrap(),
                }
                let mut said = Vec::new();
                while !ends_with_data(&said) {
                    assert!(theirs.read_buf(&mut said).await.unwrap() > 0, "{said:?}");
                }
                hub.write_all(&said).await.unwrap();
                drop(hub);
                leaving.send(()).unwrap();
            });
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    Endpoint::from_static("http://hub").connect_with_connector_lazy(connect)
}

/// Whether frames that begin at the first byte have a whole one of data.
fn ends_with_data(mut frames: &[u8]) -> bool {
    while let Some((head, rest)) = frames.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let Some((_, rest)) = rest.split_at_checked(length as usize) else { return false };
        if head[3] == 0 {
            return true;
        }
        frames = rest;
    }
    false
}

#[tokio::test]
async fn actions_are_given_up_one_by_one_or_all_at_once() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    let mut other = Session::open(
        &world.client(),
        v1::OpenSession { session: Bytes::from_static(&[9; 16]), ..opening(0, MUCH) },
    )
    .await
    .unwrap();
    // The same action twice is one operation, which others' giving up does not end.
    session.submit((0..100).map(salted).collect()).await;
    session.until("acceptances", |heard| heard.accepted.len() == 100).await;
    other.submit(vec![salted(0)]).await;
    other.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    session.say(Kind::Cancel(v1::CancelActions { ids: vec![0, 1], all: false })).await;
    session.until("two ends", |heard| heard.ended.len() == 2).await;
    assert_eq!((session.code(0), session.code(1)), (Code::Cancelled, Code::Cancelled));
    let mut activity = world.hub.activity();
    assert_eq!(activity.borrow().queued, 99);
    session.submit(vec![salted(200)]).await;
    session.say(Kind::Cancel(v1::CancelActions { ids: Vec::new(), all: true })).await;
    session.until("the answer", |heard| heard.all_cancelled).await;
    soon("one left", activity.wait_for(|activity| activity.queued == 1)).await.unwrap();
    assert_eq!(session.heard.ended.len(), 2, "nothing more is said of them");
    let mut worker = world.worker("w").await;
    worker.run(0).await;
    other.until("its end", |heard| heard.ended.len() == 1).await;
    assert_eq!(other.code(0), Code::Ok);
}

#[tokio::test]
async fn events_wait_for_credit_and_refusals_name_what_is_wrong() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, 0)).await.unwrap();
    let absent = Digest { size: 4, ..hands_tree::hash(DigestFunction::Sha256, b"gone") };
    let lacking = inline(2, |action| action.input_root_digest = Some(absent.into()));
    let wrong = v1::SubmitAction { action: Bytes::from_static(b"\x10\x01"), ..salted(3) };
    session.submit(vec![salted(1), lacking, wrong]).await;
    session.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    assert!(session.heard.ended.is_empty());
    session.say(Kind::Credit(MUCH)).await;
    session.until("refusals", |heard| heard.ended.len() == 2).await;
    assert_eq!(
        (session.code(2), session.code(3)),
        (Code::FailedPrecondition, Code::InvalidArgument)
    );
    let status = session.ended(2).response.as_ref().unwrap().status.as_ref().unwrap();
    assert!(!status.details.is_empty(), "what is missing is named: {status:?}");
    // One number is one action, also of another session and once it has ended.
    let epoch = session.welcome.epoch;
    let other = v1::SubmitAction { id: 1, ..salted(8) };
    session.say(Kind::Cancel(v1::CancelActions { ids: vec![1], all: false })).await;
    session.until("its end", |heard| heard.ended.len() == 3).await;
    session.submit(vec![v1::SubmitAction { id: 1 << 36, ..salted(4) }]).await;
    session.until("a refusal", |heard| heard.ended.len() == 4).await;
    assert_eq!(session.code(1 << 36), Code::InvalidArgument);
    let mut again = Session::open(&world.client(), opening(epoch, MUCH)).await.unwrap();
    let at_ms = 0;
    again.submit(vec![v1::SubmitAction { at_ms, ..other }]).await;
    again.until("a refusal", |heard| heard.ended.len() == 1).await;
    assert_eq!(again.code(1), Code::InvalidArgument);
    let unnamed = v1::OpenSession { session: Bytes::new(), ..opening(0, 0) };
    let refused = Session::open(&world.client(), unnamed).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Runs an action that prints so much, so that the cache has it from then on.
async fn recorded(world: &World, session: &Session, bytes: usize) -> v1::SubmitAction {
    let mut worker = world.worker("w").await;
    let action = inline(0, |_| ());
    session.submit(vec![action.clone()]).await;
    let lease = worker.lease().await;
    let text = vec![b'x'; bytes];
    worker.output(&lease, 1, 0, &text).await;
    worker.finish(&lease, 0, &text).await;
    worker.acknowledged(&lease).await;
    action
}

#[tokio::test]
async fn a_client_that_reads_late_can_still_grant_credit_and_cancel() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, 0)).await.unwrap();
    let hit = recorded(&world, &session, 32 << 10).await;
    let hits = |ids: std::ops::Range<u64>| ids.map(|id| v1::SubmitAction { id, ..hit.clone() });
    // More than a megabyte of answers that no table has, and then another message.
    session.submit(hits(1..100).collect()).await;
    session.submit(hits(100..110).chain([salted(110), salted(111)]).collect()).await;
    session.say(Kind::Cancel(v1::CancelActions { ids: vec![111], all: false })).await;
    session.say(Kind::Credit(MUCH)).await;
    session.until("all ends", |heard| heard.ended.len() == 111).await;
    assert_eq!((session.code(109), session.code(111)), (Code::Ok, Code::Cancelled));
    session
        .until("the one that is left", |heard| heard.accepted.iter().any(|it| it.id == 110))
        .await;
}

#[tokio::test]
async fn a_session_that_the_hub_ends_leaves_its_actions_to_be_taken_up() {
    let world = World::new();
    let client = world.client();
    let mut session = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let epoch = session.welcome.epoch;
    session.submit(vec![salted(1)]).await;
    session.until("the acceptance", |heard| heard.accepted.len() == 1).await;
    let operation = session.heard.accepted[0].operation.clone();
    session.submit((2..200).map(salted).collect()).await;
    let ended = loop {
        match soon("the session's end", session.replies.message()).await {
            Ok(reply) => assert!(reply.is_some(), "it ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended:?}");
    let mut activity = world.hub.activity();
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();
    assert_eq!(activity.borrow().queued, 1, "nobody gave it up");
    let mut back = Session::open(&client, opening(epoch, MUCH)).await.unwrap();
    let resume = v1::ResumeAction { id: 1, operation, follow: false };
    back.say(Kind::Submit(v1::Submissions { resume: vec![resume], ..Default::default() })).await;
    back.until("the acceptance", |heard| heard.accepted.len() == 1).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_can_send_no_more_than_the_window() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, 0)).await.unwrap();
    let hit = recorded(&world, &session, 32 << 10).await;
    let mut sent = 1;
    while sent < 200 * 100 {
        let hits = (sent..sent + 100).map(|id| v1::SubmitAction { id, ..hit.clone() }).collect();
        let message = v1::Submissions { actions: hits, ..Default::default() };
        let message = v1::ActionsRequest { kind: Some(Kind::Submit(message)) };
        if soon("a place for it", session.requests.send(message)).await.is_err() {
            break;
        }
        sent += 100;
    }
    let ended = loop {
        match soon("the session's end", session.replies.message()).await {
            Ok(reply) => assert!(reply.is_some(), "it ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended:?}");
    assert!(ended.message().contains("window"), "{ended:?}");
}

#[tokio::test]
async fn many_large_ends_come_one_by_one() {
    let world = World::new();
    let content = world.blob(b"content");
    let mut session = Session::open(&world.client(), opening(0, 0)).await.unwrap();
    let mut worker = world.worker("w").await;
    let paths: Vec<String> = (0..10_000).map(|n| format!("{n:08}")).collect();
    const N: u64 = 24;
    for id in 0..N {
        let (mut action, command) = messages(|action, command| {
            action.do_not_cache = true;
            action.salt = Bytes::from(id.to_be_bytes().to_vec());
            command.output_paths.clone_from(&paths);
        });
        let command = command.encode_to_vec();
        action.command_digest = Some(hands_tree::hash(DigestFunction::Sha256, &command).into());
        let action = action.encode_to_vec();
        let digest = hands_tree::hash(DigestFunction::Sha256, &action);
        let (action, command) = (action.into(), command.into());
        let action_digest = Some(digest.into());
        let it = v1::SubmitAction { id, action_digest, action, command, ..Default::default() };
        session.submit(vec![it]).await;
        let lease = worker.lease().await;
        worker.started(&lease).await;
        let file = |path: &String| reapi::OutputFile {
            path: path.clone(),
            digest: Some(content.into()),
            ..Default::default()
        };
        worker
            .report(&lease, |finished| {
                finished.result.get_or_insert_default().output_files =
                    paths.iter().map(file).collect();
            })
            .await;
        worker.acknowledged(&lease).await;
    }
    // All but the first is in the table only, and all of them together are more than a message takes.
    session.say(Kind::Credit(MUCH)).await;
    session.until("all ends", |heard| heard.ended.len() as u64 == N).await;
    for id in 0..N {
        let result = session.ended(id).response.as_ref().unwrap().result.as_ref();
        assert_eq!(result.map(|result| result.output_files.len()), Some(paths.len()));
    }
}

#[tokio::test]
async fn what_no_worker_could_take_and_clocks_that_are_ahead_are_refused() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    let large = inline(1, |action| action.salt = vec![7; 130 << 10].into());
    session.submit(vec![large]).await;
    session.until("a refusal", |heard| heard.ended.len() == 1).await;
    assert_eq!(session.code(1), Code::InvalidArgument);
    // No id is ahead of the hub's clock.
    session.submit(vec![v1::SubmitAction { at_ms: 3_600_000, ..salted(2) }]).await;
    session.until("a refusal", |heard| heard.ended.len() + heard.accepted.len() == 2).await;
    assert_eq!(session.heard.ended.len(), 2, "{:?}", session.heard.accepted);
    assert_eq!(session.code(2), Code::InvalidArgument);
    // A session that began before is another matter: the clock may have been set back since.
    let ahead = session.welcome.epoch + 3_600_000;
    let mut back = Session::open(&world.client(), opening(ahead, MUCH)).await.unwrap();
    let sent = v1::SubmitAction { sent_before: true, ..salted(3) };
    let operation = hands_types::OperationId::from_parts(ahead + 5, 0).to_string();
    let resume = v1::ResumeAction { id: 4, operation, follow: false };
    let message = v1::Submissions {
        actions: vec![sent, salted(5)],
        resume: vec![resume],
        ..Default::default()
    };
    back.say(Kind::Submit(message)).await;
    back.until("words of all", |heard| heard.accepted.len() == 2 && heard.unknown == [4]).await;
}

#[tokio::test]
async fn what_was_begun_over_an_earlier_stream_is_given_up_also_where_it_waits_in_line() {
    let world = World::new();
    let client = world.client();
    let mut first = Session::open(&client, opening(0, MUCH)).await.unwrap();
    let hit = recorded(&world, &first, 32 << 10).await;
    let hits = |ids: std::ops::Range<u64>| -> Vec<v1::SubmitAction> {
        ids.map(|id| v1::SubmitAction { id, ..hit.clone() }).collect()
    };
    let epoch = first.welcome.epoch;
    first.submit((1000..1006).map(salted).collect()).await;
    first.until("acceptances", |heard| heard.accepted.len() == 7).await;
    let resume = |id| {
        let accepted = first.heard.accepted.iter().find(|it| it.id == id).unwrap();
        v1::ResumeAction { id, operation: accepted.operation.clone(), follow: false }
    };
    let resumed = [1000, 1001, 1004].map(resume);
    drop((first, client));
    let mut activity = world.hub.activity();
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();

    let sent = |id| v1::SubmitAction { sent_before: true, ..salted(id) };
    let mut back = Session::open(&world.client(), opening(epoch, 0)).await.unwrap();
    back.submit(hits(1..100)).await;
    let message = v1::Submissions {
        actions: [1002, 1003, 2000].map(sent).to_vec(),
        resume: resumed[..2].to_vec(),
        ..Default::default()
    };
    back.say(Kind::Submit(message)).await;
    let cancel = v1::CancelActions { ids: vec![1000, 1002, 2000], all: false };
    back.say(Kind::Cancel(cancel)).await;
    back.say(Kind::Credit(MUCH)).await;
    back.until("all ends", |heard| heard.ended.len() == 99 + 3).await;
    for id in [1000, 1002, 2000] {
        assert_eq!(back.code(id), Code::Cancelled);
    }
    soon("four left", activity.wait_for(|activity| activity.queued == 4)).await.unwrap();
    let mut other = Session::open(&world.client(), opening(epoch, 0)).await.unwrap();
    other.submit(hits(3000..3100)).await;
    let message = v1::Submissions {
        actions: vec![sent(1005)],
        resume: vec![resumed[2].clone()],
        ..Default::default()
    };
    other.say(Kind::Submit(message)).await;
    other.say(Kind::Cancel(v1::CancelActions { ids: Vec::new(), all: true })).await;
    other.until("the answer", |heard| heard.all_cancelled).await;
    assert_eq!(activity.borrow().queued, 2, "those that the session waits for");
}

#[tokio::test]
async fn a_cancel_is_heard_between_the_pieces_of_a_message() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    // Each takes more memory than a first look has, so that it is a piece by itself.
    let large = |id: u64| {
        let digest = world.action(|action, command| {
            action.do_not_cache = true;
            action.salt = Bytes::from(id.to_be_bytes().to_vec());
            command.arguments = vec!["x".repeat(100 << 10); 10];
        });
        v1::SubmitAction { id, action_digest: Some(digest.into()), ..Default::default() }
    };
    session.submit((0..50).map(large).collect()).await;
    session.say(Kind::Cancel(v1::CancelActions { ids: vec![49], all: false })).await;
    session.until("an end", |heard| heard.ended.iter().any(|it| it.id == 49)).await;
    assert_eq!(session.code(49), Code::Cancelled);
    assert_eq!(session.ended(49).operation, "", "it was not begun");
    session.until("the others", |heard| heard.accepted.len() == 49).await;
}

#[tokio::test]
async fn a_terminal_has_a_name() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    for (id, term) in [(1, "x".repeat(300)), (2, "a\u{1b}[31m".to_owned()), (3, "xterm".to_owned())]
    {
        let terminal = Some(v1::Terminal { term, ..Default::default() });
        let options = Some(v1::ExecuteOptions { terminal, ..Default::default() });
        session.submit(vec![v1::SubmitAction { options, ..salted(id) }]).await;
    }
    session.until("answers", |heard| heard.ended.len() + heard.accepted.len() == 3).await;
    assert_eq!((session.code(1), session.code(2)), (Code::InvalidArgument, Code::InvalidArgument));
    assert_eq!(session.heard.accepted[0].id, 3);
}

#[tokio::test]
async fn what_could_run_nowhere_is_refused_over_a_session_too() {
    let world = World::new();
    let mut session = Session::open(&world.client(), opening(0, MUCH)).await.unwrap();
    let of = |id: u64, arguments: usize, properties: Vec<reapi::platform::Property>| {
        let digest = world.action(|action, command| {
            action.salt = Bytes::from(id.to_be_bytes().to_vec());
            action.platform = Some(reapi::Platform { properties });
            command.arguments.extend(vec!["x".repeat(100 << 10); arguments]);
        });
        v1::SubmitAction { id, action_digest: Some(digest.into()), ..Default::default() }
    };
    let many = (0..129).map(|n| property("tag", &n.to_string())).collect();
    let submitted = [
        of(1, 60, Vec::new()),
        of(2, 0, vec![property("memory", "4")]),
        of(3, 0, many),
        of(4, 30, vec![property("tag", "fine")]),
    ];
    session.submit(submitted.to_vec()).await;
    session.until("answers", |heard| heard.ended.len() + heard.accepted.len() == 4).await;
    for (id, why) in [(1, "bytes"), (2, "at least 4M"), (3, "properties")] {
        assert_eq!(session.code(id), Code::InvalidArgument);
        let response = session.ended(id).response.clone().unwrap();
        let said = response.status.unwrap().message;
        assert!(said.contains(why), "{said}");
    }
}
