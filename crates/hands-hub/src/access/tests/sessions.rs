//! Streams that stay open for days end with the right by which they were opened, in the midst of their talk.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hands_proto::v1;
use hands_proto::v1::actions_client::ActionsClient;
use hands_proto::v1::workers_client::WorkersClient;
use hands_types::{Role, Roles, WorkerId};
use tonic::{Code, Request, Streaming};

use super::door::{Gate, certified};

/// How long the rights of these tests last.
const LIFE: Duration = Duration::from_secs(3);

/// Hears what is said on an open stream until it ends, which is when the right does and no sooner.
async fn ends_with_its_right<T>(mut said: Streaming<T>, began: Instant) {
    let first = said.message().await.unwrap();
    assert!(first.is_some(), "it is not open");
    let opened = began.elapsed();
    assert!(opened < LIFE, "{opened:?}: too late to see anything");
    let rest = async { while let Ok(Some(_)) = said.message().await {} };
    // Sooner than a worker's silence counts.
    let ended = tokio::time::timeout(LIFE + Duration::from_secs(5), rest).await;
    ended.expect("the session goes on without a right");
    // A certificate's end is a whole second.
    assert!(began.elapsed() > LIFE - Duration::from_secs(1), "cut before its time");
}

fn open() -> v1::ActionsRequest {
    let open = v1::OpenSession {
        session: Bytes::from_static(&[7; 16]),
        credit: 1 << 20,
        ..Default::default()
    };
    v1::ActionsRequest { kind: Some(v1::actions_request::Kind::Open(open)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_actions_ends_with_the_token_by_which_it_was_opened() {
    let gate = Gate::open(Duration::from_secs(3600));
    let stranger = gate.stranger().await;
    let asked = v1::CreateTokenRequest {
        roles: vec!["submit".to_owned()],
        ttl_s: LIFE.as_secs(),
        bearer: true,
        ..Default::default()
    };
    let began = Instant::now();
    let secret = gate.operator().create_token(asked).await.unwrap().into_inner().secret;
    let mut request = Request::new(stream::iter([open()]).chain(stream::pending()));
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    let said = ActionsClient::new(stranger).session(request).await.unwrap().into_inner();
    ends_with_its_right(said, began).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_actions_ends_with_the_certificate_by_which_it_was_opened() {
    let began = Instant::now();
    let (authority, keys) = certified(LIFE);
    let roles = Roles::NONE.with(Role::Submit);
    let gate = Gate::open_for(Duration::from_secs(3600), vec![authority], roles);
    let client = gate.comes_with(Some(keys)).await;
    let request = Request::new(stream::iter([open()]).chain(stream::pending()));
    let said = ActionsClient::new(client).session(request).await.unwrap().into_inner();
    ends_with_its_right(said, began).await;
}

/// A worker's session has no right that ends by itself: members alone may open one, and they are removed. The role that the
/// operator's own authority lends opens none.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_s_session_is_opened_by_nothing_that_runs_out() {
    let (authority, keys) = certified(LIFE + Duration::from_secs(60));
    let gate = Gate::open_for(Duration::from_secs(3600), vec![authority], Roles::all());
    let worker = gate.comes_with(Some(keys)).await;
    let hello = v1::Hello {
        protocol: Some(v1::Protocol { low: 1, high: 1, ..Default::default() }),
        worker_id: WorkerId(7).to_string(),
        name: "w".to_owned(),
        slots: 1,
        ..Default::default()
    };
    let hello = v1::WorkerMessage { kind: Some(v1::worker_message::Kind::Hello(hello)) };
    let request = Request::new(stream::iter([hello]).chain(stream::pending()));
    let opened = WorkersClient::new(worker).session(request).await;
    // Whether it is heard as the call's answer or as the stream's is a matter of time.
    let refused = match opened {
        Ok(said) => said.into_inner().message().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
}
