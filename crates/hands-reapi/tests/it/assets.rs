//! The Remote Asset API.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hands_proto::asset::fetch_client::FetchClient;
use hands_proto::asset::push_client::PushClient;
use hands_proto::asset::{
    FetchBlobRequest, FetchDirectoryRequest, PushBlobRequest, PushDirectoryRequest, Qualifier,
};
use hands_proto::reapi::{Directory, FileNode};
use hands_types::Digest;
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Code;
use tonic::transport::Channel;

use crate::{Hub, SHA, assert_code, digest};

fn qualifiers(pairs: &[(&str, &str)]) -> Vec<Qualifier> {
    let one = |(name, value): &(&str, &str)| Qualifier {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(one).collect()
}

fn uris(uris: &[&str]) -> Vec<String> {
    uris.iter().map(|uri| (*uri).to_owned()).collect()
}

fn sri(digest: Digest) -> String {
    format!("sha256-{}", STANDARD.encode(digest.hash))
}

fn push(hub: &Hub) -> PushClient<Channel> {
    PushClient::new(hub.channel.clone())
}

fn pushed(names: &[&str], pairs: &[(&str, &str)], blob: Digest) -> PushBlobRequest {
    PushBlobRequest {
        uris: uris(names),
        qualifiers: qualifiers(pairs),
        blob_digest: Some(blob.into()),
        ..Default::default()
    }
}

/// The code of the answer, and what it names.
async fn fetched(hub: &Hub, names: &[&str], pairs: &[(&str, &str)]) -> (Code, String, Vec<Digest>) {
    let request =
        FetchBlobRequest { uris: uris(names), qualifiers: qualifiers(pairs), ..Default::default() };
    let reply = FetchClient::new(hub.channel.clone()).fetch_blob(request).await.unwrap();
    let reply = reply.into_inner();
    let digests = reply.blob_digest.iter().map(|digest| digest.to_digest(SHA).unwrap()).collect();
    (Code::from(reply.status.unwrap().code), reply.uri, digests)
}

#[tokio::test]
async fn what_was_pushed_is_fetched_by_each_of_its_names_and_by_no_other() {
    let hub = Hub::start().await;
    let blob = hub.put(b"an archive");
    let names = ["https://a.example/x.tar", "urn:x"];
    let kind = ("resource_type", "application/x-tar");
    let branch = ("vcs.branch", "main");
    push(&hub).push_blob(pushed(&names, &[kind, branch], blob)).await.unwrap();
    for name in names {
        // In whichever order, whatever else is asked for.
        for (asked, pairs) in [(vec![name], [kind, branch]), (vec!["urn:y", name], [branch, kind])]
        {
            let found = fetched(&hub, &asked, &pairs).await;
            assert_eq!(found, (Code::Ok, name.to_owned(), vec![blob]));
        }
    }
    for (name, pairs) in [
        ("urn:y", vec![kind, branch]),
        ("urn:x", vec![kind]),
        ("urn:x", vec![kind, ("vcs.branch", "other")]),
        ("urn:x", vec![kind, branch, ("directory", "a")]),
    ] {
        let (code, uri, digests) = fetched(&hub, &[name], &pairs).await;
        assert_eq!((code, uri.as_str(), digests.len()), (Code::NotFound, name, 0), "{pairs:?}");
    }
    // Another instance, another kind.
    let request = FetchBlobRequest {
        instance_name: "other".to_owned(),
        uris: uris(&names),
        qualifiers: qualifiers(&[kind, branch]),
        ..Default::default()
    };
    let mut fetch = FetchClient::new(hub.channel.clone());
    let reply = fetch.fetch_blob(request).await.unwrap().into_inner();
    assert_eq!(reply.status.unwrap().code, i32::from(Code::NotFound));
    let request = FetchDirectoryRequest {
        uris: uris(&names),
        qualifiers: qualifiers(&[kind, branch]),
        ..Default::default()
    };
    let reply = fetch.fetch_directory(request).await.unwrap().into_inner();
    assert_eq!(reply.status.unwrap().code, i32::from(Code::NotFound));
    // Pushed again it is the other; gone it is not found.
    let next = hub.put(b"another");
    push(&hub).push_blob(pushed(&["urn:x"], &[kind, branch], next)).await.unwrap();
    assert_eq!(fetched(&hub, &["urn:x"], &[kind, branch]).await.2, [next]);
    hub.store.delete(&next).unwrap();
    assert_eq!(fetched(&hub, &["urn:x"], &[kind, branch]).await.0, Code::NotFound);
}

#[tokio::test]
async fn a_checksum_is_held_against_the_content() {
    let hub = Hub::start().await;
    let (blob, other) = (hub.put(b"content"), hub.put(b"other"));
    let (right, wrong) = (sri(blob), sri(other));
    let request = pushed(&["urn:x"], &[("checksum.sri", &wrong)], blob);
    assert_code(push(&hub).push_blob(request).await, Code::InvalidArgument);
    // With a checksum or without, it is the same asset.
    push(&hub).push_blob(pushed(&["urn:x"], &[("checksum.sri", &right)], blob)).await.unwrap();
    for pairs in [&[][..], &[("checksum.sri", right.as_str())]] {
        assert_eq!(fetched(&hub, &["urn:x"], pairs).await.2, [blob], "{pairs:?}");
    }
    let (code, _, digests) = fetched(&hub, &["urn:x"], &[("checksum.sri", &wrong)]).await;
    assert_eq!((code, digests.len()), (Code::Aborted, 0));
    for bad in ["sha512-AAAA", "", "md5-AAAA"] {
        let request = pushed(&["urn:x"], &[("checksum.sri", bad)], blob);
        assert_code(push(&hub).push_blob(request).await, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn times_bound_what_is_given_out() {
    let hub = Hub::start().await;
    let blob = hub.put(b"content");
    let at = |time: SystemTime| Some(Timestamp::from(time));
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    for (expires, code) in [(now - hour, Code::NotFound), (now + hour, Code::Ok)] {
        let request = PushBlobRequest { expire_at: at(expires), ..pushed(&["urn:x"], &[], blob) };
        push(&hub).push_blob(request).await.unwrap();
        assert_eq!(fetched(&hub, &["urn:x"], &[]).await.0, code);
    }
    for (oldest, code) in [(now - hour, Code::Ok), (now + hour, Code::NotFound)] {
        let request = FetchBlobRequest {
            uris: uris(&["urn:x"]),
            oldest_content_accepted: at(oldest),
            ..Default::default()
        };
        let reply = FetchClient::new(hub.channel.clone()).fetch_blob(request).await.unwrap();
        assert_eq!(reply.into_inner().status.unwrap().code, i32::from(code));
    }
}

#[tokio::test]
async fn a_directory_is_given_out_whole_or_not_at_all() {
    let hub = Hub::start().await;
    let file = digest(b"a file");
    let node = FileNode { name: "f".to_owned(), digest: Some(file.into()), ..Default::default() };
    let root = hub.put(&Directory { files: vec![node], ..Default::default() }.encode_to_vec());
    let request = PushDirectoryRequest {
        uris: uris(&["https://git.example/r"]),
        qualifiers: qualifiers(&[("vcs.commit", "abc")]),
        root_directory_digest: Some(root.into()),
        ..Default::default()
    };
    let lacking = push(&hub).push_directory(request.clone()).await;
    let status = assert_code(lacking, Code::FailedPrecondition);
    assert!(status.message().contains(&file.to_string()), "{status:?}");
    hub.put(b"a file");
    push(&hub).push_directory(request.clone()).await.unwrap();
    let asked = FetchDirectoryRequest {
        uris: request.uris.clone(),
        qualifiers: request.qualifiers.clone(),
        ..Default::default()
    };
    let mut fetch = FetchClient::new(hub.channel.clone());
    let reply = fetch.fetch_directory(asked.clone()).await.unwrap().into_inner();
    assert_eq!(reply.root_directory_digest, Some(root.into()));
    assert_eq!((reply.uri, reply.qualifiers), (request.uris[0].clone(), request.qualifiers));
    hub.store.delete(&file).unwrap();
    let reply = fetch.fetch_directory(asked).await.unwrap().into_inner();
    assert_eq!(reply.status.unwrap().code, i32::from(Code::NotFound));
}

#[tokio::test]
async fn what_names_nothing_or_too_much_is_refused() {
    let hub = Hub::start().await;
    let blob = hub.put(b"content");
    let many: Vec<String> = (0..101).map(|n| format!("urn:{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (names, pairs) in
        [(&[][..], &[][..]), (&many[..], &[]), (&["urn:x"], &[("a", "1"), ("b", "2"), ("a", "1")])]
    {
        let refused = push(&hub).push_blob(pushed(names, pairs, blob)).await;
        assert_code(refused, Code::InvalidArgument);
    }
    let absent = push(&hub).push_blob(pushed(&["urn:x"], &[], digest(b"absent"))).await;
    assert_code(absent, Code::FailedPrecondition);
    let nothing = PushBlobRequest { uris: uris(&["urn:x"]), ..Default::default() };
    assert_code(push(&hub).push_blob(nothing).await, Code::InvalidArgument);
}
