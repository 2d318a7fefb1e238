//! Who may end an action, and when.

use std::time::Duration;

use hands_proto::reapi::execution_stage::Value as Stage;
use hands_types::limits::ORPHAN;
use tonic::Code;

use crate::clock::Clock;
use crate::support::{World, code, ours, soon, stage};

#[tokio::test]
async fn a_cancelled_stream_ends_the_action_unless_others_wait() {
    let world = World::new();
    let mut worker = world.worker("w").await;
    let (a, b) = (world.client(), world.client());
    let digest = world.action(|_, _| {});
    let first = a.execute(digest).await.unwrap();
    let second = b.execute(digest).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let id = first.id();
    // The connection stays: this is a cancel of one of two.
    drop(first);
    let mut activity = world.hub.activity();
    soon("one waiter", activity.wait_for(|activity| activity.clients == 1)).await.unwrap();
    assert_eq!(activity.borrow().running, 1);
    drop(second);
    worker.cancelled(&lease).await;
    let job = a.job_until(&id, |job| job.state() == hands_proto::v1::JobState::Done).await;
    assert_eq!(job.status.unwrap().code, i32::from(Code::Cancelled));
    assert!(world.hub.activity().borrow().is_idle());
}

#[tokio::test]
async fn a_lost_connection_leaves_the_action_a_while() {
    let world = World::new();
    let clock = Clock::stop();
    let mut worker = world.worker("w").await;
    let client = world.client();
    let following = client.execute(world.salted("lost")).await.unwrap();
    let name = following.name().to_owned();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    drop((following, client));
    let mut activity = world.hub.activity();
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();
    // It comes back in time, and the action still runs.
    clock.pass(ORPHAN - Duration::from_secs(1)).await;
    let client = world.client();
    let back = client.wait(&name).await.unwrap();
    assert_eq!(stage(&back.first), Stage::Executing);
    drop((back, client));
    // It does not come back.
    soon("nobody waiting", activity.wait_for(|activity| activity.clients == 0)).await.unwrap();
    clock.pass(ORPHAN).await;
    worker.cancelled(&lease).await;
    let gone = world.client().wait(&name).await.unwrap();
    assert_eq!(code(&gone.response().await), Code::Cancelled);
}

#[tokio::test]
async fn a_detached_action_needs_nobody() {
    let world = World::new();
    let clock = Clock::stop();
    let mut worker = world.worker("w").await;
    let mut options = ours();
    options.detach = true;
    let client = world.client();
    let following = client.execute_with(world.salted("kept"), |_| {}, Some(options)).await.unwrap();
    let name = following.name().to_owned();
    drop(following);
    let activity = world.hub.activity();
    clock.pass_until("a detached one", || activity.borrow().detached == 1).await;
    clock.pass(ORPHAN * 5).await;
    assert_eq!(activity.borrow().detached, 1);
    worker.run(0).await;
    assert_eq!(code(&client.wait(&name).await.unwrap().response().await), Code::Ok);
}

#[tokio::test]
async fn cancel_operation_ends_what_is_queued_and_what_runs() {
    let world = World::new();
    let (a, b) = (world.client(), world.client());
    let queued = a.execute(world.salted("queued")).await.unwrap();
    b.cancel(queued.name()).await.unwrap();
    let name = queued.name().to_owned();
    assert_eq!(code(&queued.response().await), Code::Cancelled);
    // Again is no error; what never was is one.
    b.cancel(&name).await.unwrap();
    let unknown = b.cancel("operations/00000000000000000000000000").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut worker = world.worker("w").await;
    let running = a.execute(world.salted("running")).await.unwrap();
    let lease = worker.lease().await;
    worker.started(&lease).await;
    a.cancel(running.name()).await.unwrap();
    worker.cancelled(&lease).await;
    assert_eq!(code(&running.response().await), Code::Cancelled);
    // Its result comes too late.
    worker.finish(&lease, 0, b"").await;
    worker.refused(&lease).await;

    // One of two who wait gives up for itself only.
    let digest = world.action(|_, _| {});
    let mine = a.execute(digest).await.unwrap();
    let others = b.execute(digest).await.unwrap();
    a.cancel(mine.name()).await.unwrap();
    worker.run(0).await;
    assert_eq!(code(&others.response().await), Code::Ok);
}

#[tokio::test]
async fn the_operations_service_shows_and_forgets() {
    let world = World::new();
    let client = world.client();
    let following = client.execute(world.salted("x")).await.unwrap();
    let name = following.name().to_owned();
    assert!(!client.get(&name).await.unwrap().done);
    let list = || async {
        let request = hands_proto::longrunning::ListOperationsRequest::default();
        soon("the list", client.operations().list_operations(request))
            .await
            .unwrap()
            .into_inner()
            .operations
    };
    assert_eq!(list().await.len(), 1);
    let delete = || async {
        let request = hands_proto::longrunning::DeleteOperationRequest { name: name.clone() };
        soon("the answer", client.operations().delete_operation(request)).await.map(drop)
    };
    assert_eq!(delete().await.unwrap_err().code(), Code::FailedPrecondition);
    // A poll that runs out ends nothing.
    let request = hands_proto::longrunning::WaitOperationRequest {
        name: name.clone(),
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
    };
    let waited =
        soon("the wait", client.operations().wait_operation(request)).await.unwrap().into_inner();
    assert!(!waited.done);
    let mut worker = world.worker("w").await;
    worker.run(0).await;
    following.response().await;
    assert!(list().await[0].done);
    delete().await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_given_up_at_any_moment_leaves_no_waiter() {
    let world = World::new();
    let clock = Clock::stop();
    let client = world.client();
    let digest = world.action(|_, _| {});
    let kept = client.execute(digest).await.unwrap();
    for steps in 0..60 {
        let given_up = async {
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            following = client.execute(digest) => drop(following),
            () = given_up => {}
        }
    }
    let activity = world.hub.activity();
    clock.pass_until("one waiter", || activity.borrow().clients == 1).await;
    drop(kept);
    clock.pass_until("nothing left", || activity.borrow().is_idle()).await;
}

#[tokio::test]
async fn operations_are_listed_in_pages_and_no_filter_is_ignored() {
    let world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let mut names = Vec::new();
    for salt in ["done 0", "done 1", "done 2"] {
        let following = client.execute_as(world.salted(salt), "the first").await.unwrap();
        names.push(following.name().to_owned());
        worker.run(0).await;
        following.response().await;
    }
    drop(worker);
    let mut active = Vec::new();
    for salt in ["active 0", "active 1"] {
        let change = |r: &mut hands_proto::reapi::ExecuteRequest| r.instance_name = "a/b".into();
        active.push(client.execute_with(world.salted(salt), change, None).await.unwrap());
        names.push(active[active.len() - 1].name().to_owned());
    }
    names.reverse();
    let list = |name: &str, filter: &str, page_size: i32, page_token: &str| {
        let request = hands_proto::longrunning::ListOperationsRequest {
            name: name.into(),
            filter: filter.into(),
            page_size,
            page_token: page_token.into(),
        };
        let mut operations = client.operations();
        async move {
            let page = soon("the list", operations.list_operations(request)).await?.into_inner();
            let names: Vec<String> = page.operations.into_iter().map(|o| o.name).collect();
            Ok::<_, tonic::Status>((names, page.next_page_token))
        }
    };
    for size in 1..=6 {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = list("", "", size, &token).await.unwrap();
            assert!(page.len() <= usize::try_from(size).unwrap());
            all.extend(page);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(all, names, "pages of {size}");
    }
    for (name, filter, range) in [
        ("operations", "", 0..5),
        ("", "done=true", 2..5),
        ("", "done = false", 0..2),
        ("a/b", "", 0..2),
        ("a/b/operations", "done=true", 0..0),
        ("", "instance=\"a/b\"", 0..2),
        ("", "invocation=\"the first\" AND done=true", 2..5),
        ("", "invocation=an-invocation AND done=false", 0..2),
        ("", "invocation=nobody", 0..0),
    ] {
        assert_eq!(list(name, filter, 0, "").await.unwrap().0, names[range], "{name} {filter}");
    }
    for filter in [
        "done",
        "done=maybe",
        "done:true",
        "done=true OR done=false",
        "done=true AND",
        "worker=w",
        "done=true AND done=false",
        "instance=\"a",
        "instance=",
        "done=true done=true",
        "NOT done=true",
    ] {
        let status = list("", filter, 0, "").await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{filter}");
        assert!(status.message().contains("known are done=true"), "{status:?}");
    }
    for (size, token) in [(-1, ""), (0, "x")] {
        assert_eq!(list("", "", size, token).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
