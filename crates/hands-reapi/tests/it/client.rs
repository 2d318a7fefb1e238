use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hands_proto::reapi::{ActionResult, Directory};
use hands_reapi::{Blob, BlobClient, BlobError, LogName, Source, Uploaded};
use hands_store::{Store, StoreConfig};
use hands_types::limits::MAX_BATCH;
use hands_types::{Digest, DigestFunction, ErrorClass};
use prost::Message as _;

use crate::trees::{dir, file};
use crate::{Hub, SHA, digest, noise};

fn client(hub: &Hub) -> BlobClient {
    BlobClient::new(hub.channel.clone(), "a/b", SHA)
}

fn in_memory(content: Vec<u8>) -> Blob {
    Blob { digest: digest(&content), source: Source::Bytes(Bytes::from(content)) }
}

fn local_store(home: &Path) -> Store {
    let mut config = StoreConfig::new(home.join("local"));
    config.reserve = 0;
    Store::open(config).unwrap()
}

#[tokio::test]
async fn many_blobs_of_all_kinds_go_up_once_and_come_down() {
    for compress in [false, true] {
        let hub = Hub::start().await;
        let home = tempfile::tempdir().unwrap();
        let local = local_store(home.path());
        let client = client(&hub).with_compression(compress);
        let mut contents: Vec<Vec<u8>> =
            (0..3000u16).map(|i| noise(i.into(), 100 + usize::from(i))).collect();
        contents.push(b"text ".repeat(1 << 20));
        contents.push(noise(5, 9 << 20));
        contents.push(Vec::new());
        let path = home.path().join("file");
        fs::write(&path, noise(6, 5 << 20)).unwrap();
        let stored = noise(7, 6 << 20);
        local.put_bytes(SHA, &stored).unwrap();
        let mut blobs: Vec<Blob> = contents.iter().cloned().map(in_memory).collect();
        blobs.push(Blob { digest: digest(&noise(6, 5 << 20)), source: Source::Path(path.clone()) });
        blobs.push(Blob { digest: digest(&stored), source: Source::Stored(local.clone()) });
        let small = home.path().join("small");
        fs::write(&small, "small").unwrap();
        let handle = Arc::new(File::open(&small).unwrap());
        blobs.push(Blob { digest: digest(b"small"), source: Source::File(handle, small) });
        // Twice the same is sent once.
        blobs.push(in_memory(contents[0].clone()));
        let sent = client.upload_missing(blobs.clone()).await.unwrap();
        assert_eq!(sent.blobs, 3000 + 2 + 3);
        assert_eq!(client.upload_missing(blobs.clone()).await.unwrap(), Uploaded::default());
        let digests: Vec<Digest> = blobs.iter().map(|b| b.digest).collect();
        assert_eq!(client.find_missing(&digests).await.unwrap(), []);

        for content in [&contents[3], &contents[3000], &contents[3001], &contents[3002]] {
            assert!(client.download(&digest(content)).await.unwrap() == *content);
            let path = home.path().join("down");
            let down = File::options().create(true).truncate(true).write(true).open(&path).unwrap();
            client.download_to(&digest(content), &down, &path).await.unwrap();
            assert!(fs::read(&path).unwrap() == *content);
        }
        let other = tempfile::tempdir().unwrap();
        let into = local_store(other.path());
        let fetched = client.fetch(&digests, &into).await.unwrap();
        assert_eq!(fetched.blobs, sent.blobs);
        assert_eq!(fetched.bytes, sent.bytes);
        assert_eq!(into.missing(&digests).unwrap(), []);
        assert_eq!(client.fetch(&digests, &into).await.unwrap().blobs, 0, "all here");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_in_full() {
    let hub = Hub::start().await;
    let home = tempfile::tempdir().unwrap();
    let into = local_store(home.path());
    let here = hub.put(b"here");
    let large = Digest { size: MAX_BATCH + 1, ..digest(b"large") };
    let wanted = [here, digest(b"gone"), large, digest(b"gone too")];
    let error = client(&hub).fetch(&wanted, &into).await.expect_err("three are missing");
    assert_eq!(error.class(), ErrorClass::Infra { retry: false });
    let BlobError::Missing(mut missing) = error else { panic!("{error}") };
    missing.sort();
    let mut expected = wanted[1..].to_vec();
    expected.sort();
    assert_eq!(missing, expected);
    assert!(into.contains(&here).unwrap(), "what is there was brought");
    for digest in &wanted[1..3] {
        let error = client(&hub).download(digest).await.expect_err("missing");
        assert!(matches!(error, BlobError::Missing(_)), "{error}");
    }
}

#[tokio::test]
async fn a_tree_is_fetched_with_all_that_is_in_it() {
    let hub = Hub::start().await;
    let home = tempfile::tempdir().unwrap();
    let into = local_store(home.path());
    let mut all = Vec::new();
    let mut below = digest(b"");
    for level in 0..5u8 {
        let content = hub.put(&noise(u64::from(level) + 1, 2000));
        let directory = Directory {
            files: vec![file("empty", digest(b"")), file("f", content)],
            directories: vec![dir("below", below), dir("same", below)],
            ..Default::default()
        };
        below = hub.put(&directory.encode_to_vec());
        all.extend([content, below]);
    }
    let client = client(&hub);
    let fetched = client.fetch_tree(&below, &into).await.unwrap();
    assert_eq!(fetched.blobs, 10);
    assert_eq!(into.missing(&all).unwrap(), []);
    assert_eq!(client.fetch_tree(&below, &into).await.unwrap().blobs, 0);
    // A file and a directory gone, at the hub and here: both are named.
    let (lost_file, lost_dir) = (all[8], all[5]);
    for lost in [lost_file, lost_dir] {
        hub.store.delete(&lost).unwrap();
        into.delete(&lost).unwrap();
    }
    let error = client.fetch_tree(&below, &into).await.expect_err("two are missing");
    let BlobError::Missing(mut missing) = error else { panic!("{error}") };
    missing.sort();
    let mut expected = vec![lost_file, lost_dir];
    expected.sort();
    assert_eq!(missing, expected);
    // A file is no directory.
    let not = hub.put(b"\xff\xff\xff not a directory");
    let error = client.fetch_tree(&not, &into).await.expect_err("no directory");
    assert_eq!(error.class(), ErrorClass::User, "{error}");
}

#[tokio::test]
async fn a_file_that_changed_is_the_users_to_know() {
    let hub = Hub::start().await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("f");
    for len in [100, 5 << 20] {
        let old = noise(1, len);
        for new in [noise(2, len), noise(2, len / 2)] {
            fs::write(&path, &new).unwrap();
            let blob = Blob { digest: digest(&old), source: Source::Path(path.clone()) };
            let error = client(&hub).upload(vec![blob]).await.expect_err("it changed");
            assert!(matches!(error, BlobError::Changed { .. }), "{len}: {error:?}");
        }
    }
    fs::remove_file(&path).unwrap();
    let blob = Blob { digest: digest(b"x"), source: Source::Path(path) };
    let error = client(&hub).upload(vec![blob]).await.expect_err("it is gone");
    assert_eq!(error.class(), ErrorClass::Environment);
}

#[tokio::test]
async fn logs_and_action_results_are_within_reach() {
    let hub = Hub::start().await;
    let client = client(&hub);
    let name = LogName {
        instance: "a/b".to_owned(),
        operation: "01h".to_owned(),
        attempt: Some(2),
        stderr: true,
    };
    let mut log = client.read_log(&name, 2).await.unwrap();
    let mut text = Vec::new();
    while let Some(piece) = log.next().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(text, &name.to_string().as_bytes()[2..]);

    let action = digest(b"action");
    assert_eq!(client.action_result(&action).await.unwrap(), None);
    let result = ActionResult { exit_code: 3, ..Default::default() };
    client.update_action_result(&action, result).await.unwrap();
    assert_eq!(client.action_result(&action).await.unwrap().unwrap().exit_code, 3);
    let bad = ActionResult { stdout_digest: Some(digest(b"gone").into()), ..Default::default() };
    let error = client.update_action_result(&action, bad).await.expect_err("stdout is missing");
    assert!(matches!(error, BlobError::Missing(ref d) if *d == [digest(b"gone")]), "{error}");
}

#[tokio::test]
async fn blake3_works_from_end_to_end() {
    let hub = Hub::start().await;
    let client = BlobClient::new(hub.channel.clone(), "", DigestFunction::Blake3);
    let blobs: Vec<Blob> = [noise(1, 100), noise(2, 6 << 20)]
        .into_iter()
        .map(|content| Blob {
            digest: hands_tree::hash(DigestFunction::Blake3, &content),
            source: Source::Bytes(content.into()),
        })
        .collect();
    client.upload_missing(blobs.clone()).await.unwrap();
    for blob in blobs {
        let got = client.download(&blob.digest).await.unwrap();
        assert_eq!(hands_tree::hash(DigestFunction::Blake3, &got), blob.digest);
    }
}
