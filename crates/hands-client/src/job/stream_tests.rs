//! Streams of which a read is refused, or ends too early.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hands_proto::bytestream::ReadResponse;
use hands_proto::longrunning::Operation;
use hands_proto::reapi::execution_stage::Value as Stage;
use hands_proto::reapi::{ActionResult, ExecuteOperationMetadata, ExecuteResponse, OutputFile};
use hands_types::DigestFunction;
use tokio::time::timeout;
use tonic::Status;

use crate::fake::{Engine, Script, done, these};
use crate::{ClientError, Event, JobResult, JobSpec};

const LONG: Duration = Duration::from_secs(20);

/// What was shown, and the result.
async fn run(engine: &Engine) -> Result<(Vec<u8>, JobResult), ClientError> {
    let running = async {
        let mut shown = Vec::new();
        let mut job = engine.cluster.submit(JobSpec::new(vec!["true".to_owned()])).await?;
        loop {
            match job.next().await? {
                Some(Event::Output { data, .. }) => shown.extend(data),
                Some(Event::Done(result)) => return Ok((shown, *result)),
                Some(_) => {}
                None => panic!("no result"),
            }
        }
    };
    timeout(LONG, running).await.expect("for ever")
}

fn whole() -> Bytes {
    Bytes::from_iter((0..100_000_u32).map(|n| n.to_le_bytes()[0]))
}

/// A result whose stdout is in the store, and that has an output.
fn ended() -> Operation {
    let digest = hands_tree::hash(DigestFunction::Sha256, &whole());
    let output = OutputFile { path: "out".to_owned(), ..OutputFile::default() };
    let result = ActionResult {
        stdout_digest: Some(digest.into()),
        output_files: vec![output],
        ..ActionResult::default()
    };
    done("operation", &ExecuteResponse { result: Some(result), ..ExecuteResponse::default() })
}

fn piece(bytes: Bytes) -> Result<ReadResponse, Status> {
    Ok(ReadResponse { data: bytes })
}

#[tokio::test]
async fn output_that_is_read_after_the_end_is_asked_for_again() {
    let execute = Box::new(|_, _| Ok(these([Ok(ended())])));
    let read = Box::new(|n, request: hands_proto::bytestream::ReadRequest| {
        let from = usize::try_from(request.read_offset).unwrap();
        let lost = || Status::unavailable("it is about to be started again");
        match n {
            0 => Err(lost()),
            1 => Ok(these([piece(whole().slice(from..from + 1000)), Err(lost())])),
            _ => Ok(these([piece(whole().slice(from..))])),
        }
    });
    let engine = Engine::start(Script { execute, read, ..Script::default() }).await;
    let (shown, result) = run(&engine).await.unwrap();
    assert!(shown == whole(), "{} bytes of {}", shown.len(), whole().len());
    assert_eq!(result.unread, None);
}

#[tokio::test]
async fn output_that_can_not_be_read_leaves_the_result_with_its_outputs() {
    let short = || Ok(these([piece(whole().slice(..10))]));
    let gone: fn() -> _ = || Err(Status::not_found("it was evicted"));
    for (read, why) in [(gone, "was evicted"), (short, "ended after 10 bytes")] {
        let execute = Box::new(|_, _| Ok(these([Ok(ended())])));
        let read = Box::new(move |n, _| if n == 0 { read() } else { Ok(these([])) });
        let engine = Engine::start(Script { execute, read, ..Script::default() }).await;
        let (_, result) = run(&engine).await.unwrap();
        assert_eq!(result.output_paths().collect::<Vec<_>>(), ["out"]);
        let unread = result.unread.unwrap();
        assert!(unread.contains("standard output") && unread.contains(why), "{unread}");
    }
}

/// The operation has nothing more to say for hours.
#[tokio::test]
async fn a_live_stream_that_is_refused_once_is_read_a_moment_later() {
    let execute = Box::new(|_, _| {
        let metadata = ExecuteOperationMetadata {
            stage: Stage::Executing.into(),
            stdout_stream_name: "stdout".to_owned(),
            ..ExecuteOperationMetadata::default()
        };
        let metadata = Some(hands_proto::pack(&metadata));
        let runs = Operation { name: "operation".to_owned(), metadata, ..Operation::default() };
        Ok(these([Ok(runs)]).chain(stream::pending()).boxed())
    });
    let read = Box::new(|n, _| match n {
        0 => Err(hands_proto::Charge::crowded()),
        _ => Ok(these([piece(whole())]).chain(stream::pending()).boxed()),
    });
    let engine = Engine::start(Script { execute, read, ..Script::default() }).await;
    let mut job = engine.cluster.submit(JobSpec::new(vec!["true".to_owned()])).await.unwrap();
    let shown = async {
        loop {
            if let Some(Event::Output { data, .. }) = job.next().await.unwrap() {
                return data;
            }
        }
    };
    let shown = timeout(LONG, shown).await.expect("it stays silent");
    assert_eq!(shown, whole());
}
