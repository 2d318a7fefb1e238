use bytes::Bytes;
use hands_proto::reapi::batch_update_blobs_request::Request;
use hands_proto::reapi::{
    self, BatchReadBlobsRequest, BatchUpdateBlobsRequest, BatchUpdateBlobsResponse,
    FindMissingBlobsRequest, compressor, digest_function,
};
use hands_types::limits::MAX_BATCH;
use hands_types::{Digest, DigestFunction};
use tonic::{Code, Status};

use crate::{Hub, SHA, assert_code, digest, noise};

fn request(digest: Digest, data: impl Into<Bytes>) -> Request {
    Request { digest: Some(digest.into()), data: data.into(), compressor: 0 }
}

async fn update(hub: &Hub, requests: Vec<Request>) -> Result<BatchUpdateBlobsResponse, Status> {
    let request = BatchUpdateBlobsRequest { requests, ..Default::default() };
    Ok(hub.cas().batch_update_blobs(request).await?.into_inner())
}

fn codes(response: &BatchUpdateBlobsResponse) -> Vec<Code> {
    response.responses.iter().map(|r| Code::from(r.status.as_ref().map_or(0, |s| s.code))).collect()
}

#[tokio::test]
async fn the_empty_blob_is_always_there() {
    let hub = Hub::start().await;
    for (function, value) in [
        (SHA, digest_function::Value::Unknown),
        (SHA, digest_function::Value::Sha256),
        (DigestFunction::Blake3, digest_function::Value::Blake3),
    ] {
        let empty = hands_tree::empty(function);
        let request = FindMissingBlobsRequest {
            blob_digests: vec![empty.into()],
            digest_function: value.into(),
            ..Default::default()
        };
        let missing = hub.cas().find_missing_blobs(request).await.unwrap().into_inner();
        assert_eq!(missing.missing_blob_digests, []);
        let request = BatchReadBlobsRequest {
            digests: vec![empty.into()],
            digest_function: value.into(),
            ..Default::default()
        };
        let read = hub.cas().batch_read_blobs(request).await.unwrap().into_inner();
        assert_eq!(read.responses[0].status.as_ref().map_or(0, |s| s.code), 0);
        assert_eq!(hub.read(&format!("blobs/{empty}"), 0, 0).await.unwrap(), b"");
    }
}

#[tokio::test]
async fn each_blob_of_a_batch_has_its_own_fate() {
    let hub = Hub::start().await;
    let (good, other) = (b"good".as_slice(), b"other".as_slice());
    let mut malformed = request(digest(other), other);
    malformed.digest.as_mut().unwrap().hash = "../../x".to_owned();
    let response = update(
        &hub,
        vec![
            request(digest(good), good),
            request(digest(other), good),
            request(Digest { size: 5, ..digest(good) }, good),
            Request { digest: None, ..request(digest(good), good) },
            malformed,
            request(digest(b""), b"".as_slice()),
        ],
    )
    .await
    .unwrap();
    let bad = Code::InvalidArgument;
    assert_eq!(codes(&response), [Code::Ok, bad, bad, bad, bad, Code::Ok]);
    assert_eq!(hub.store.read(&digest(good)).unwrap().as_deref(), Some(good));
    assert_eq!(hub.store.read(&digest(other)).unwrap(), None);

    let request = BatchReadBlobsRequest {
        digests: vec![digest(good).into(), digest(other).into()],
        ..Default::default()
    };
    let read = hub.cas().batch_read_blobs(request).await.unwrap().into_inner().responses;
    assert_eq!(read[0].data, good);
    assert_eq!(read[1].status.as_ref().unwrap().code, i32::from(Code::NotFound));
}

#[tokio::test]
async fn zstd_is_bounded_by_what_was_announced() {
    let hub = Hub::start().await;
    let text = b"manyhands ".repeat(10_000);
    let packed = zstd::bulk::compress(&text, 3).unwrap();
    let zstd = |digest: Digest, data: &[u8]| Request {
        compressor: compressor::Value::Zstd.into(),
        ..request(digest, data.to_vec())
    };
    // 64 MiB of zeroes in a few KiB, announced as small.
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let response = update(
        &hub,
        vec![
            zstd(digest(&text), &packed),
            zstd(Digest { size: 1000, ..digest(b"bomb") }, &bomb),
            zstd(digest(b"cut"), &packed[..packed.len() / 2]),
            zstd(digest(b"not zstd"), b"not zstd"),
            Request {
                compressor: compressor::Value::Brotli.into(),
                ..request(digest(b"b"), b"b".as_slice())
            },
        ],
    )
    .await
    .unwrap();
    let bad = Code::InvalidArgument;
    assert_eq!(codes(&response), [Code::Ok, bad, bad, bad, bad]);

    let request = |acceptable_compressors| BatchReadBlobsRequest {
        digests: vec![digest(&text).into()],
        acceptable_compressors,
        ..Default::default()
    };
    let plain = hub.cas().batch_read_blobs(request(vec![])).await.unwrap().into_inner().responses;
    assert_eq!((plain[0].compressor, plain[0].data.len()), (0, text.len()));
    let accepted = vec![compressor::Value::Zstd.into()];
    let read = hub.cas().batch_read_blobs(request(accepted)).await.unwrap().into_inner().responses;
    assert_eq!(read[0].compressor, i32::from(compressor::Value::Zstd));
    assert_eq!(zstd::bulk::decompress(&read[0].data, text.len()).unwrap(), text);
}

#[tokio::test]
async fn claims_beyond_the_limit_are_refused_before_anything_is_allocated() {
    let hub = Hub::start().await;
    // 17 bytes that claim 2 GiB.
    let claim = reapi::Digest { hash: digest(b"x").hex(), size_bytes: 2 << 30 };
    let huge =
        Request { digest: Some(claim.clone()), data: Bytes::from_static(b"x"), compressor: 1 };
    let status = assert_code(update(&hub, vec![huge]).await, Code::InvalidArgument);
    assert!(status.message().contains(&MAX_BATCH.to_string()), "{status:?}");
    let read = BatchReadBlobsRequest { digests: vec![claim], ..Default::default() };
    assert_code(hub.cas().batch_read_blobs(read).await, Code::InvalidArgument);
    // The sum counts, not the single blob.
    let half = noise(1, 3 << 20);
    let (a, b) = (request(digest(&half), half.clone()), request(digest(&half), half.clone()));
    assert_code(update(&hub, vec![a.clone(), b]).await, Code::InvalidArgument);
    assert_eq!(codes(&update(&hub, vec![a]).await.unwrap()), [Code::Ok]);
}

/// Buck2 sends pieces as large as the largest batch; others count without the envelope.
#[tokio::test]
async fn more_than_grpc_decodes_by_default_is_read() {
    let hub = Hub::start().await;
    let data = noise(5, 8 << 20);
    let digest = digest(&data);
    let uuid = "2f0b4a2e-5d2a-4c0e-9a37-6f0f3ad0c002";
    let name = format!("uploads/{uuid}/blobs/{digest}");
    let sent = hub.write(crate::whole(name, data.clone())).await;
    assert_eq!(sent.unwrap(), data.len() as i64);
    // A batch that is too large is told so, and not cut off by the transport.
    let status =
        assert_code(update(&hub, vec![request(digest, data)]).await, Code::InvalidArgument);
    assert!(status.message().contains("use ByteStream"), "{status:?}");
}

#[tokio::test]
async fn thousands_are_looked_up_in_one_call() {
    let hub = Hub::start().await;
    let blobs: Vec<Vec<u8>> = (0..5000u32).map(|i| i.to_le_bytes().to_vec()).collect();
    for blob in blobs.iter().step_by(2) {
        hub.put(blob);
    }
    let request = FindMissingBlobsRequest {
        blob_digests: blobs.iter().map(|b| digest(b).into()).collect(),
        ..Default::default()
    };
    let missing =
        hub.cas().find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests;
    let expected: Vec<reapi::Digest> =
        blobs.iter().skip(1).step_by(2).map(|b| digest(b).into()).collect();
    assert_eq!(missing, expected);
    let bad = FindMissingBlobsRequest {
        blob_digests: vec![reapi::Digest::default()],
        ..Default::default()
    };
    assert_code(hub.cas().find_missing_blobs(bad).await, Code::InvalidArgument);
    let foreign = FindMissingBlobsRequest {
        digest_function: digest_function::Value::Md5.into(),
        ..Default::default()
    };
    let status = assert_code(hub.cas().find_missing_blobs(foreign).await, Code::InvalidArgument);
    assert!(status.message().contains("MD5"), "{status:?}");
}

#[tokio::test]
async fn functions_do_not_mix() {
    let hub = Hub::start().await;
    let content = b"of blake3";
    let blake = hands_tree::hash(DigestFunction::Blake3, content);
    let batch = |value: digest_function::Value| BatchUpdateBlobsRequest {
        requests: vec![request(blake, content.as_slice())],
        digest_function: value.into(),
        ..Default::default()
    };
    let wrong = hub.cas().batch_update_blobs(batch(digest_function::Value::Sha256)).await.unwrap();
    assert_eq!(codes(&wrong.into_inner()), [Code::InvalidArgument]);
    let right = hub.cas().batch_update_blobs(batch(digest_function::Value::Blake3)).await.unwrap();
    assert_eq!(codes(&right.into_inner()), [Code::Ok]);
    assert_eq!(hub.read(&format!("blobs/{blake}"), 0, 0).await.unwrap(), content);
    let as_sha = Digest { function: SHA, ..blake };
    assert_code(hub.read(&format!("blobs/{as_sha}"), 0, 0).await, Code::NotFound);
}
