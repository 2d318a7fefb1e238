//! Output streams while an action runs, and after.

use hands_proto::bytestream::ReadResponse;
use tonic::{Code, Streaming};

use crate::clock::Clock;
use crate::support::{World, code, metadata, soon};

/// Reads until so much has come.
async fn read_to(stream: &mut Streaming<ReadResponse>, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        let piece = soon("a piece", stream.message()).await.unwrap().expect("more");
        all.extend_from_slice(&piece.data);
    }
    all
}

async fn read_end(stream: &mut Streaming<ReadResponse>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = soon("a piece or the end", stream.message()).await.unwrap() {
        all.extend_from_slice(&piece.data);
    }
    all
}

#[tokio::test]
async fn two_readers_follow_a_stream_and_it_stays_readable() {
    let world = World::with(|config| config.stream_memory = 8);
    let client = world.client();
    let following = client.execute(world.salted("x")).await.unwrap();
    let names = metadata(&following.first);
    let name = names.stdout_stream_name.clone();
    // One waits before there is a worker.
    let mut early = client.read(&name, 0).await.unwrap();
    let mut errors = client.read(&names.stderr_stream_name, 0).await.unwrap();
    let mut worker = world.worker("w").await;
    let lease = worker.lease().await;
    worker.started(&lease).await;
    worker.output(&lease, 1, 0, b"one ").await;
    assert_eq!(read_to(&mut early, 4).await, b"one ");
    worker.output(&lease, 2, 0, b"err").await;
    assert_eq!(read_to(&mut errors, 3).await, b"err");
    // Longer than what is kept in memory; sent again in part.
    worker.output(&lease, 1, 4, b"two three ").await;
    worker.output(&lease, 1, 8, b"three four").await;
    let mut late = client.read(&name, 4).await.unwrap();
    assert_eq!(read_to(&mut late, 14).await, b"two three four");
    worker
        .report(&lease, |finished| {
            finished.stdout_size = 18;
            finished.stderr_size = 3;
        })
        .await;
    worker.acknowledged(&lease).await;
    assert_eq!(read_end(&mut early).await, b"two three four");
    assert!(read_end(&mut late).await.is_empty());
    assert!(read_end(&mut errors).await.is_empty());
    let response = following.response().await;
    assert_eq!(code(&response), Code::Ok);
    assert_eq!(response.result.unwrap().stderr_raw, "err");
    // From the blob, from anywhere.
    let mut after = client.read(&name, 14).await.unwrap();
    assert_eq!(read_end(&mut after).await, b"four");
    let unknown = async {
        let mut stream = client.read("logs/00000000000000000000000000/stdout", 0).await?;
        stream.message().await
    };
    assert_eq!(soon("the refusal", unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_reader_belongs_to_the_attempt_that_it_was_given_something_of() {
    let world = World::new();
    let clock = Clock::stop();
    let client = world.client();
    let following = client.execute(world.salted("x")).await.unwrap();
    let names = metadata(&following.first);
    // Without an attempt: there is none yet.
    let mut out = client.read(&names.stdout_stream_name, 0).await.unwrap();
    let mut errors = client.read(&names.stderr_stream_name, 0).await.unwrap();
    let mut first = world.worker("first").await;
    let lease = first.lease().await;
    first.started(&lease).await;
    first.output(&lease, 1, 0, b"4f21").await;
    assert_eq!(read_to(&mut out, 4).await, b"4f21");
    drop(first);
    let mut activity = world.hub.activity();
    clock.pass(hands_types::limits::LEASE).await;
    soon("the lease's end", activity.wait_for(|activity| activity.running == 0)).await.unwrap();
    // It was given something, so that it can't go on; and not with an end either that looks like the action's.
    assert_eq!(soon("its end", out.message()).await.unwrap_err().code(), Code::Aborted);
    let mut second = world.worker("second").await;
    let lease = second.lease().await;
    second.started(&lease).await;
    second.output(&lease, 1, 0, b"90ab and more").await;
    second.output(&lease, 2, 0, b"err").await;
    assert_eq!(read_to(&mut errors, 3).await, b"err", "it was given nothing of the first");
    let refused = async |name: &str, offset| match client.read(name, offset).await {
        Ok(mut stream) => soon("the refusal", stream.message()).await.unwrap_err().code(),
        Err(status) => status.code(),
    };
    let id = names.stdout_stream_name.split('/').rev().nth(1).unwrap().to_owned();
    let of = |attempt: u32| names.stdout_stream_name.replace(&id, &format!("{id}/{attempt}"));
    assert_eq!(refused(&names.stdout_stream_name, 4).await, Code::FailedPrecondition);
    assert_eq!(refused(&of(1), 4).await, Code::Aborted);
    let mut named = client.read(&of(2), 4).await.unwrap();
    second
        .report(&lease, |finished| {
            finished.stdout_size = 13;
            finished.stderr_size = 3;
        })
        .await;
    second.acknowledged(&lease).await;
    assert_eq!(read_end(&mut named).await, b" and more");
    let response = following.response().await;
    assert_eq!(response.result.unwrap().stdout_raw, "90ab and more");
    // The same from the blob.
    assert_eq!(refused(&of(1), 0).await, Code::Aborted);
    assert_eq!(read_end(&mut client.read(&of(2), 9).await.unwrap()).await, b"more");
}

/// Cancelled while it was queued again after a loss, cancelled while it ran, failed by its worker without a result: what was
/// written last can be read, at once and for as long as the action is known.
#[tokio::test]
async fn what_was_written_by_an_action_without_a_result_stays_readable() {
    // One stream is in memory when it ends, the other in a file.
    let mut world = World::with(|config| config.stream_memory = 8);
    let client = world.client();
    let mut worker = world.worker("w").await;
    let mut names = Vec::new();
    for fails in [false, true] {
        let salt = if fails { "fails" } else { "cancelled" };
        let following = client.execute(world.salted(salt)).await.unwrap();
        names.push(metadata(&following.first));
        let lease = worker.lease().await;
        worker.started(&lease).await;
        worker.output(&lease, 1, 0, b"longer than is kept in memory").await;
        worker.output(&lease, 2, 0, b"short").await;
        // Both have come.
        let mut errors = client.read(&names.last().unwrap().stderr_stream_name, 0).await.unwrap();
        assert_eq!(read_to(&mut errors, 5).await, b"short");
        if fails {
            worker
                .report(&lease, |finished| {
                    finished.result = None;
                    finished.status = Some(hands_proto::rpc::Status {
                        code: Code::ResourceExhausted.into(),
                        message: "too much".to_owned(),
                        ..Default::default()
                    });
                })
                .await;
            worker.acknowledged(&lease).await;
        } else {
            client.cancel(following.name()).await.unwrap();
            worker.cancelled(&lease).await;
        }
        assert_ne!(code(&following.response().await), Code::Ok);
        assert!(read_end(&mut errors).await.is_empty(), "who followed it is told of the end");
    }
    let all_is_there = async |world: &World| {
        let client = world.client();
        for names in &names {
            let mut out = client.read(&names.stdout_stream_name, 7).await.unwrap();
            assert_eq!(read_end(&mut out).await, b"than is kept in memory");
            let mut errors = client.read(&names.stderr_stream_name, 0).await.unwrap();
            assert_eq!(read_end(&mut errors).await, b"short");
        }
    };
    all_is_there(&world).await;
    // A stream's file goes when its blob is named by a durable row.
    let streams = world.dir.path().join("hub/streams");
    soon("no files", async {
        while std::fs::read_dir(&streams).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    all_is_there(&world).await;
    world.kill().await;
    all_is_there(&world).await;
}

/// Of a long stream its end is kept; a hub that ends right after the cancel has kept it.
#[tokio::test]
async fn of_a_long_stream_without_a_result_the_end_is_kept() {
    let mut world = World::new();
    let client = world.client();
    let mut worker = world.worker("w").await;
    let following = client.execute(world.salted("long")).await.unwrap();
    let name = metadata(&following.first).stdout_stream_name;
    let lease = worker.lease().await;
    worker.started(&lease).await;
    let piece = vec![b'x'; 1 << 20];
    for n in 0..9 {
        worker.output(&lease, 1, n << 20, &piece).await;
    }
    worker.output(&lease, 1, 9 << 20, b"the end").await;
    let mut reader = client.read(&name, 9 << 20).await.unwrap();
    assert_eq!(read_to(&mut reader, 7).await, b"the end");
    client.cancel(following.name()).await.unwrap();
    worker.cancelled(&lease).await;
    drop((client, following, reader, worker));
    world.restart().await;
    let mut kept = world.client().read(&name, 0).await.unwrap();
    let kept = read_end(&mut kept).await;
    let line = format!("[hands: the first {} bytes are not kept]\n", (1 << 20) + 7);
    assert_eq!(kept.len(), line.len() + (8 << 20));
    assert!(kept.starts_with(line.as_bytes()) && kept.ends_with(b"xthe end"));
}
