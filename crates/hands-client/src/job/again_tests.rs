//! How often an engine is sent one action, and when that is told.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hands_proto::longrunning::Operation;
use hands_proto::longrunning::operation::Result as OperationResult;
use hands_proto::reapi::{ExecuteOperationMetadata, ExecuteResponse};
use tokio::time::timeout;

use crate::fake::{Engine, Script, these};
use crate::{ClientError, Event, JobSpec};

const LONG: Duration = Duration::from_secs(20);

fn spec() -> JobSpec {
    JobSpec { logs: crate::Logs::No, ..JobSpec::new(vec!["true".to_owned()]) }
}

/// The times that it was told to be sent again, and what it came to.
async fn run(engine: &Engine, spec: JobSpec) -> (usize, ClientError) {
    let running = async {
        let mut told = 0;
        let mut job = match engine.cluster.submit(spec).await {
            Ok(job) => job,
            Err(error) => return (told, error),
        };
        loop {
            match job.next().await {
                Ok(Some(Event::Again { .. })) => told += 1,
                Ok(Some(Event::Queued { .. })) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => return (told, error),
            }
        }
    };
    timeout(LONG, running).await.expect("for ever")
}

#[tokio::test]
async fn an_engine_that_never_answers_gets_an_action_three_times_and_each_is_told() {
    let engine = Engine::start(Script::default()).await;
    let (told, error) = run(&engine, spec()).await;
    assert!(matches!(error, ClientError::Unanswered { times: 3, .. }), "{error:?}");
    assert_eq!((engine.asked.executes(), told), (3, 2));
    // Once where it may have had effects outside.
    let engine = Engine::start(Script::default()).await;
    let (told, error) = run(&engine, JobSpec { stdin: true, ..spec() }).await;
    assert!(matches!(error, ClientError::Unanswered { times: 1, .. }), "{error:?}");
    assert_eq!((engine.asked.executes(), told), (1, 0));
}

/// Held for longer than the longest pause, which begins the patience anew.
#[tokio::test]
async fn an_engine_that_ends_each_stream_after_a_while_gets_an_action_three_times() {
    let held = Duration::from_millis(1100);
    let execute = Box::new(move |_, _| {
        let end = async move {
            tokio::time::sleep(held).await;
            stream::empty()
        };
        Ok(stream::once(end).flatten().boxed())
    });
    let engine = Engine::start(Script { execute, ..Script::default() }).await;
    let (told, _) = run(&engine, spec()).await;
    assert_eq!((engine.asked.executes(), told), (3, 2));
}

#[tokio::test]
async fn an_engine_that_forgets_what_it_accepted_gets_it_three_times() {
    let execute = Box::new(|n, _| {
        let named = Operation { name: format!("operation-{n}"), ..Operation::default() };
        Ok(these([Ok(named)]))
    });
    let engine = Engine::start(Script { execute, ..Script::default() }).await;
    let (_, error) = run(&engine, spec()).await;
    assert!(matches!(error, ClientError::Forgotten { .. }), "{error:?}");
    assert_eq!(engine.asked.executes(), 3);
}

/// It is the caller's to hear of it while the next answer is still to come.
#[tokio::test]
async fn a_second_submission_is_told_when_it_is_made() {
    let execute = Box::new(|n, _| match n {
        0 => Ok(stream::empty().boxed()),
        _ => Ok(stream::pending().boxed()),
    });
    let engine = Engine::start(Script { execute, ..Script::default() }).await;
    let mut job = engine.cluster.submit(spec()).await.unwrap();
    let told = timeout(LONG, job.next()).await.expect("it is not told").unwrap();
    assert!(matches!(told, Some(Event::Again { .. })), "{told:?}");
}

/// It says each time that the action is queued, and hangs up.
#[tokio::test]
async fn an_engine_that_answers_and_hangs_up_is_asked_less_and_less_often() {
    let named = || Ok(these([Ok(Operation { name: "x".to_owned(), ..Operation::default() })]));
    let (execute, wait) = (Box::new(move |_, _| named()), Box::new(move |_, _| named()));
    let engine = Engine::start(Script { execute, wait, ..Script::default() }).await;
    let ended = timeout(Duration::from_secs(2), run(&engine, spec())).await;
    assert!(ended.is_err(), "it is followed no longer: {ended:?}");
    let waits = engine.asked.waits();
    assert!((3..=10).contains(&waits), "asked {waits} times in 2 s");
}

/// What it says is new each time.
#[tokio::test]
async fn an_engine_that_tells_news_and_hangs_up_is_asked_at_once() {
    let answer = |n: usize| {
        let stage = i32::try_from(n % 3).unwrap();
        let metadata = ExecuteOperationMetadata { stage, ..ExecuteOperationMetadata::default() };
        let metadata = Some(hands_proto::pack(&metadata));
        let mut operation = Operation { name: "x".to_owned(), metadata, ..Operation::default() };
        if n == 40 {
            operation.done = true;
            let response = hands_proto::pack(&ExecuteResponse::default());
            operation.result = Some(OperationResult::Response(response));
        }
        Ok(these([Ok(operation)]))
    };
    let (execute, wait) = (Box::new(move |_, _| answer(100)), Box::new(move |n, _| answer(n)));
    let engine = Engine::start(Script { execute, wait, ..Script::default() }).await;
    let mut job = engine.cluster.submit(spec()).await.unwrap();
    let following =
        async { while !matches!(job.next().await, Ok(Some(Event::Done(_)) | None) | Err(_)) {} };
    timeout(Duration::from_secs(5), following).await.expect("forty pauses of 20 ms");
    assert_eq!(engine.asked.waits(), 41);
}
