use std::time::Duration;

use hands_proto::reapi;
use hands_proto::rpc::Status;
use hands_types::{DigestFunction, Platform};
use prost::Message;

use super::*;

fn spec(argv: &[&str]) -> JobSpec {
    JobSpec::new(argv.iter().map(|a| (*a).to_owned()).collect())
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

#[test]
fn equal_specifications_are_equal_actions_and_uncached_ones_never_are() {
    let mut one = spec(&["cc", "-c"]);
    one.caching = Caching::Cached;
    one.env = vec![pair("B", "2"), pair("A", "0"), pair("A", "1")];
    one.outputs = vec!["z".to_owned(), "a".to_owned(), "z".to_owned()];
    one.platform = Platform::new(vec![pair("OSFamily", "linux"), pair("ISA", "x86-64")]);
    let mut two = one.clone();
    two.env = vec![pair("A", "1"), pair("B", "2")];
    two.outputs.reverse();
    let encode = |spec: &JobSpec| spec.encode(DigestFunction::Sha256).unwrap();
    assert_eq!(encode(&one).action, encode(&two).action);
    assert_eq!(encode(&one).action_bytes, encode(&two).action_bytes);
    // What people read is not in the key.
    two.title = "compile".to_owned();
    two.priority = 5;
    assert_eq!(encode(&one).action, encode(&two).action);

    one.caching = Caching::Uncached;
    let (first, second) = (encode(&one), encode(&one));
    assert_ne!(first.action, second.action);
    assert_eq!(first.command, second.command);
    let action = reapi::Action::decode(first.action_bytes).unwrap();
    assert!(action.do_not_cache);
    assert_eq!(action.salt.len(), 16);
}

#[test]
fn the_command_says_what_every_engine_reads() {
    let mut job = spec(&["sh", "-c", "true"]);
    job.caching = Caching::Cached;
    job.timeout = Some(Duration::from_millis(1500));
    job.platform = Platform::new(vec![pair("OSFamily", "linux")]);
    let encoded = job.encode(DigestFunction::Sha256).unwrap();
    let command = reapi::Command::decode(encoded.command_bytes).unwrap();
    let action = reapi::Action::decode(encoded.action_bytes).unwrap();
    // Engines of 2.0 and 2.1 read the command's platform, later ones the action's.
    assert_eq!(command.platform, action.platform);
    assert!(action.platform.is_some());
    assert_eq!(action.timeout, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    // An empty input root is the empty blob, which every store holds.
    assert_eq!(action.input_root_digest, Some(hands_tree::empty(DigestFunction::Sha256).into()));
    assert!(action.salt.is_empty() && !action.do_not_cache);
}

#[test]
fn what_no_action_can_be_is_the_users_error() {
    let bad = |job: JobSpec| job.encode(DigestFunction::Sha256).unwrap_err();
    let mut with_env = spec(&["true"]);
    for name in ["", "A=B", "N\0"] {
        with_env.env = vec![pair(name, "x")];
        assert_eq!(bad(with_env.clone()).class(), hands_types::ErrorClass::User);
    }
    assert!(bad(spec(&[])).to_string().contains("no command"));
    assert!(bad(spec(&[""])).to_string().contains("no command"));
    assert!(bad(spec(&["a", "b\0"])).to_string().contains("NUL"));
}

#[test]
fn missing_outputs_are_those_that_nothing_fits() {
    let response = reapi::ExecuteResponse {
        result: Some(reapi::ActionResult {
            output_files: vec![reapi::OutputFile { path: "a/b".to_owned(), ..Default::default() }],
            output_symlinks: vec![reapi::OutputSymlink {
                path: "l".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let result = JobResult::new("id".to_owned(), None, response, false, None);
    let declared: Vec<String> =
        ["./a/b", "l", "gone", "*.o", "*/b", "a", "b[1]"].iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(result.missing_outputs(&declared), ["gone", "*.o", "a", "b[1]"]);
}

#[test]
fn an_engine_that_tells_a_deadline_as_a_death_is_understood() {
    let at = |nanos: i32| Some(prost_types::Timestamp { seconds: 7, nanos });
    let ended = |exit_code: i32, status: Option<Status>, timeout_ms: Option<u64>, foreign: bool| {
        let metadata = reapi::ExecutedActionMetadata {
            execution_start_timestamp: at(100_000_000),
            execution_completed_timestamp: at(362_632_954),
            ..Default::default()
        };
        let result = reapi::ActionResult {
            exit_code,
            execution_metadata: Some(metadata),
            ..Default::default()
        };
        let response =
            reapi::ExecuteResponse { result: Some(result), status, ..Default::default() };
        let timeout = timeout_ms.map(Duration::from_millis);
        JobResult::new("id".to_owned(), None, response, foreign, timeout)
    };
    let message = |result: JobResult| result.failure.map(|failure| failure.message);
    // As Buildbarn answers now and then; and in most cases.
    let dead = ended(-1, None, Some(261), true);
    assert!(dead.timed_out() && dead.exit_code().is_none());
    assert_eq!(message(dead).as_deref(), Some("the command was ended at its time limit"));
    let code = tonic::Code::DeadlineExceeded.into();
    let status = Status { code, message: "context deadline exceeded".to_owned(), details: vec![] };
    let told = "the command was ended at its time limit: context deadline exceeded";
    assert_eq!(message(ended(0, Some(status), Some(261), true)).as_deref(), Some(told));
    // A death that was none of the deadline's, and exit codes of the command's own.
    for (exit_code, timeout_ms, foreign) in
        [(-1, Some(263), true), (-1, None, true), (1, Some(261), true), (-1, Some(261), false)]
    {
        let own = ended(exit_code, None, timeout_ms, foreign);
        assert_eq!(own.exit_code(), Some(exit_code), "{timeout_ms:?}");
    }
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    assert_eq!(printable("plain ü"), "plain ü");
    assert_eq!(printable("a\x1b[31m\r\n\u{202e}b"), r"a\u{1b}[31m\r\n\u{202e}b");
}

#[test]
fn random_numbers_differ() {
    assert_ne!(random_u128().unwrap(), random_u128().unwrap());
    assert!(new_invocation_id().unwrap() != new_invocation_id().unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_says_not_now_is_not_a_lost_connection() {
    let status = tonic::Status::unavailable("no workers yet");
    let error = crate::ClientError::rpc("Execute", "the engine", &status);
    assert!(error.is_lost_connection(), "it is asked again");
    // Nor is one that has no memory now. Where it does not say that this passes, it may be a full disk.
    let crowded = crate::ClientError::rpc("Execute", "it", &hands_proto::Charge::crowded());
    assert!(crowded.is_lost_connection(), "{crowded:?}");
    let full = tonic::Status::resource_exhausted("the disk is full");
    assert!(!crate::ClientError::rpc("Execute", "it", &full).is_lost_connection());
    let contact = crate::retry::Contact::new();
    let trouble = contact.trouble();
    let began = tokio::time::Instant::now();
    let mut backoff = crate::retry::Backoff::new(Some(Duration::from_secs(30)));
    let given_up = loop {
        if let Err(given_up) = backoff.pause(&contact, "the engine", &error).await {
            break given_up;
        }
        // What passes in a moment is not worth a word; what does not is told.
        let told = trouble.borrow().clone();
        let sentence = "the engine says that it can't now; trying for 30 s: no workers yet";
        match began.elapsed() {
            time if time < Duration::from_secs(1) => assert_eq!(told, None),
            time if time > Duration::from_secs(3) => assert_eq!(told.as_deref(), Some(sentence)),
            _ => {}
        }
        // What it does for others does not make this one wait for ever.
        contact.made();
        assert_eq!(*trouble.borrow(), None, "there was an answer");
        assert!(began.elapsed() < std::time::Duration::from_secs(40), "asked for too long");
    };
    assert_eq!(given_up.to_string(), "the engine said for 30 s that it can't: no workers yet");
    assert!(given_up.hint().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_one_request_finds_out_of_a_lost_hub_all_know() {
    let error = crate::ClientError::Connect {
        peer: "the hub".to_owned(),
        why: "nobody listens".to_owned(),
        retry: true,
    };
    let contact = crate::retry::Contact::new();
    let minute = std::time::Duration::from_secs(60);
    let mut backoff = crate::retry::Backoff::new(Some(minute));
    let began = tokio::time::Instant::now();
    // Others have an answer now and then, at moments when this one pauses.
    while began.elapsed() < minute * 3 {
        assert!(backoff.pause(&contact, "the hub", &error).await.is_ok());
        if began.elapsed().as_secs().is_multiple_of(50) {
            contact.made();
        }
    }
    let silent = tokio::time::Instant::now();
    while backoff.pause(&contact, "the hub", &error).await.is_ok() {}
    assert!(silent.elapsed() <= minute && silent.elapsed() > minute / 10, "{silent:?}");
}

/// What opens and ends at once is no answer, whatever others hear meanwhile.
#[tokio::test(start_paused = true)]
async fn what_ends_as_soon_as_it_is_there_is_asked_for_less_and_less_often_and_given_up() {
    let contact = crate::retry::Contact::new();
    let error = ClientError::NotNow { peer: "hub".to_owned(), message: "ended".to_owned() };
    let lost =
        ClientError::Connect { peer: "hub".to_owned(), why: "ended".to_owned(), retry: true };
    let minute = Duration::from_secs(60);
    for (has_served, of) in [(false, &lost), (false, &error)] {
        let mut backoff = crate::retry::Backoff::new(Some(minute));
        let start = tokio::time::Instant::now();
        let mut tries = 0;
        let given_up = loop {
            // It was there.
            contact.made();
            backoff.ended(has_served, Duration::from_millis(3));
            tries += 1;
            match backoff.pause(&contact, "hub", of).await {
                Ok(()) => assert!(tries < 100, "for ever"),
                Err(error) => break error,
            }
        };
        assert!(matches!(given_up, ClientError::Lost { .. } | ClientError::Never { .. }));
        assert!(start.elapsed() >= minute);
    }
    let mut backoff = crate::retry::Backoff::new(Some(minute));
    for _ in 0..100 {
        contact.made();
        backoff.ended(true, Duration::from_millis(3));
        assert!(backoff.pause(&contact, "hub", &lost).await.is_ok(), "it is of use");
    }
    // What answers and has nothing new to say is asked once a second at last, for as long as it answers.
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        contact.made();
        backoff.said_nothing_new();
        assert!(backoff.pause(&contact, "hub", &lost).await.is_ok(), "it answers");
    }
    assert!(start.elapsed() > minute + minute / 2, "{:?}", start.elapsed());
}

#[test]
fn as_many_outputs_as_there_may_be_are_compared_in_a_moment() {
    let declared: Vec<String> = (0..100_000).map(|n| format!("./d//{n}")).collect();
    let file = |n| reapi::OutputFile { path: format!("d/{n}"), ..Default::default() };
    let files = (0..99_999).map(file).collect();
    let result = Some(reapi::ActionResult { output_files: files, ..Default::default() });
    let response = reapi::ExecuteResponse { result, ..Default::default() };
    let result = JobResult::new("id".to_owned(), None, response, false, None);
    let began = std::time::Instant::now();
    assert_eq!(result.missing_outputs(&declared), ["./d//99999"]);
    // Each with each takes minutes.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
