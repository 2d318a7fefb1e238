//! What people ask, and input for a running action.

use hands_proto::v1;
use hands_proto::v1::attach_message::Kind as Attach;
use hands_proto::v1::hub_message::Kind as FromHub;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{World, ours, soon};

#[tokio::test]
async fn lists_and_prefixes() {
    let world = World::new();
    let client = world.client();
    let mut options = ours();
    options.title = "make all".into();
    let waiting = client.execute_with(world.salted("a"), |_| {}, Some(options)).await.unwrap();
    let job = client.job(&waiting.id()).await;
    assert_eq!(job.title, "make all");
    assert_eq!(job.state(), v1::JobState::Queued);
    assert!(job.waiting.contains("no worker is connected"), "{}", job.waiting);
    assert_eq!((job.invocation.as_str(), job.mnemonic.as_str()), ("an-invocation", "Test"));
    let mut worker = world.worker("w").await;
    worker.run(4).await;
    let first = waiting.id();
    waiting.response().await;
    let second = client.execute(world.salted("b")).await.unwrap();

    let list = |active_only, invocation: &str| {
        let request =
            v1::ListRequest { active_only, invocation: invocation.into(), ..Default::default() };
        let mut jobs = client.jobs();
        async move { soon("the list", jobs.list(request)).await.unwrap().into_inner().jobs }
    };
    let jobs = list(false, "").await;
    assert_eq!(
        jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>(),
        [second.id(), first.clone()]
    );
    let done = &jobs[1];
    assert_eq!((done.state(), done.exit_code, done.worker.as_str()), (v1::JobState::Done, 4, "w"));
    assert!(done.finished.is_some() && done.started.is_some());
    assert_eq!(list(true, "").await.len(), 1);
    assert_eq!(list(false, "another").await.len(), 0);

    // Both ids begin alike, with the time.
    let get = |id: String| {
        let mut jobs = client.jobs();
        async move {
            soon("the job", jobs.get(v1::GetRequest { id })).await.map(tonic::Response::into_inner)
        }
    };
    assert_eq!(get(first[..25].to_uppercase()).await.unwrap().id, first);
    let status = get(first[..4].into()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().contains(&first) && status.message().contains(&second.id()),
        "{status:?}"
    );
    assert_eq!(get("abc".into()).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(get("zzzz".into()).await.unwrap_err().code(), Code::InvalidArgument);
    let unknown = get("7777".into()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("7777"));

    let info =
        soon("info", client.jobs().info(v1::InfoRequest::default())).await.unwrap().into_inner();
    assert_eq!((info.workers, info.queued + info.running), (1, 1));
    assert_eq!(info.host_roots, ["aa/1"]);
    assert_eq!(info.hub_id, world.hub.id());
}

#[tokio::test]
async fn an_overview_is_small_and_knows_what_ended() {
    let world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let mut ended = Vec::new();
    for (name, exit) in [("good", 0), ("bad", 7)] {
        let following = client.execute(world.salted(name)).await.unwrap();
        worker.run(exit).await;
        ended.push(following.id());
        following.response().await;
    }
    let running = client.execute(world.salted("running")).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let mut waiting = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        waiting.push(client.execute(world.salted(name)).await.unwrap());
    }
    let ask = |rows| {
        let mut jobs = client.jobs();
        async move {
            let request = v1::OverviewRequest { rows };
            soon("the overview", jobs.overview(request)).await.unwrap().into_inner()
        }
    };
    // That it was started may still be on its way.
    let overview = loop {
        let overview = ask(3).await;
        if !overview.running.is_empty() {
            break overview;
        }
    };
    let ids = |jobs: &[v1::Job]| jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&overview.running), [running.id()]);
    assert_eq!(ids(&overview.failures), [ended[1].clone()]);
    assert_eq!(overview.failures[0].exit_code, 7);
    let oldest: Vec<String> = waiting.iter().take(3).map(crate::support::Following::id).collect();
    assert_eq!(ids(&overview.queued), oldest);
    let [invocation] = &overview.invocations[..] else { panic!("{overview:?}") };
    assert_eq!((invocation.running, invocation.queued), (1, 5));
    assert_eq!((invocation.succeeded, invocation.failed), (1, 1));
    assert_eq!(overview.workers[0].name, "w");
    assert_eq!(overview.info.unwrap().hub_id, world.hub.id());
    assert!(ask(0).await.queued.len() == 5);
}

#[tokio::test]
async fn input_reaches_the_running_action() {
    let world = World::new();
    let client = world.client();
    let mut options = ours();
    options.stdin = true;
    let following = client.execute_with(world.salted("x"), |_| {}, Some(options)).await.unwrap();
    let (send, messages) = mpsc::channel(16);
    let say = |kind| async { send.send(v1::AttachMessage { kind: Some(kind) }).await.unwrap() };
    let mut jobs = client.jobs();
    let attached = tokio::spawn(async move { jobs.attach(ReceiverStream::new(messages)).await });
    say(Attach::Operation(following.name().to_owned())).await;
    // Before there is a worker.
    say(Attach::Data("hello".into())).await;
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    assert!(lease.options.as_ref().unwrap().stdin);
    worker.started(&lease).await;
    let hear = async |worker: &mut crate::worker::Worker| match worker.hear().await {
        Ok(Some(FromHub::Input(input))) => {
            assert_eq!(input.id, lease.id);
            input.kind.unwrap()
        }
        other => panic!("expected input, got {other:?}"),
    };
    assert_eq!(hear(&mut worker).await, v1::input::Kind::Data("hello".into()));
    say(Attach::Signal(2)).await;
    assert_eq!(hear(&mut worker).await, v1::input::Kind::Signal(2));
    say(Attach::Eof(true)).await;
    assert_eq!(hear(&mut worker).await, v1::input::Kind::Eof(true));
    worker.finish(&lease, 0, b"").await;
    worker.acknowledged(&lease).await;
    following.response().await;
    soon("the attach's end", attached).await.unwrap().unwrap();

    // One that takes none says so.
    let plain = client.execute(world.salted("plain")).await.unwrap();
    let (send, messages) = mpsc::channel(1);
    send.send(v1::AttachMessage { kind: Some(Attach::Operation(plain.id())) }).await.unwrap();
    let status =
        soon("the refusal", client.jobs().attach(ReceiverStream::new(messages))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_stream_is_closed_where_one_alone_reads_it() {
    let world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let following = client.execute_with(world.salted("x"), |_| {}, Some(ours())).await.unwrap();
    let id = following.id();
    let close = async |stdout, stderr| {
        let request = v1::CloseOutputRequest { operation: id.clone(), stdout, stderr };
        client.jobs().close_output(request).await.map(drop).map_err(|status| status.code())
    };
    // Before it runs there is nobody to tell.
    assert_eq!(close(true, false).await, Err(Code::FailedPrecondition));
    let lease = worker.lease().await;
    worker.started(&lease).await;
    client.job_until(&id, |job| job.state() == v1::JobState::Running).await;
    while close(true, true).await.is_err() {
        tokio::task::yield_now().await;
    }
    for closed in [v1::input::Kind::StdoutClosed(true), v1::input::Kind::StderrClosed(true)] {
        let Ok(Some(FromHub::Input(input))) = worker.hear().await else { panic!("no {closed:?}") };
        assert_eq!((input.id, input.kind), (lease.id.clone(), Some(closed)));
    }
    // Somebody else may want all of it.
    let other = client.wait(following.name()).await.unwrap();
    assert_eq!(close(true, false).await, Err(Code::FailedPrecondition));
    worker.finish(&lease, 141, b"").await;
    worker.acknowledged(&lease).await;
    following.response().await;
    other.response().await;
    assert_eq!(close(true, false).await, Err(Code::FailedPrecondition));
}

#[tokio::test]
async fn an_overview_has_the_newest_invocations_and_counts_all_of_theirs() {
    let world = World::new();
    let client = world.client();
    let mut waiting = Vec::new();
    // The newest has the first name, should two be of one moment.
    for (invocation, salts) in [("c", ["1", "2"]), ("b", ["3", "4"]), ("a", ["5", "6"])] {
        for salt in salts {
            waiting.push(client.execute_as(world.salted(salt), invocation).await.unwrap());
        }
    }
    let mut jobs = client.jobs();
    let overview = jobs.overview(v1::OverviewRequest { rows: 2 });
    let overview = soon("the overview", overview).await.unwrap().into_inner();
    let seen: Vec<_> = overview.invocations.iter().map(|it| (it.id.as_str(), it.queued)).collect();
    assert_eq!(seen, [("a", 2), ("b", 2)]);
}
