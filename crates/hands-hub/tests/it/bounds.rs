//! What is kept, how long, and what goes.

use std::time::Duration;

use bytes::Bytes;
use hands_hub::HubConfig;
use hands_proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use hands_proto::{REQUEST_METADATA, reapi, v1};
use hands_store::{Store, StoreConfig};
use hands_types::{Digest, DigestFunction};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::support::{Client, World, code, ours, soon};

#[tokio::test]
async fn the_documented_bounds_are_those_of_the_program() {
    let world = World::new();
    let config: HubConfig = world.config();
    assert_eq!(config.stream_limit, 1 << 30);
    assert_eq!(config.history_age, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.history_bytes, 2 << 30);
    assert_eq!(config.pin_inputs, Duration::from_secs(15 * 60));
    assert_eq!(hands_reapi::OPEN_FOR, config.pin_inputs);
    assert_eq!(config.orphan, Duration::from_secs(60));
    assert_eq!(config.lease, Duration::from_secs(10));
    assert_eq!(config.salted_result, Duration::from_secs(3600));
    assert_eq!(StoreConfig::new("x").reserve, 2 << 30);
}

async fn listed(client: &Client) -> Vec<v1::Job> {
    let request = v1::ListRequest { limit: 10_000, ..Default::default() };
    soon("the list", client.jobs().list(request)).await.unwrap().into_inner().jobs
}

#[tokio::test]
async fn finished_actions_go_by_their_bytes_the_oldest_first() {
    // About 60 of those that this test makes.
    let world = World::with(|config| config.history_bytes = 48 << 10);
    let client = world.client();
    let mut worker = world.worker("w").await;
    let mut ids = Vec::new();
    for n in 0..150_u32 {
        let digest = world.action(|action, _| {
            action.do_not_cache = true;
            action.salt = n.to_be_bytes().to_vec().into();
        });
        let following = client.execute(digest).await.unwrap();
        ids.push(following.id());
        worker.run(0).await;
        following.response().await;
    }
    let left: Vec<String> = listed(&client).await.into_iter().map(|job| job.id).collect();
    assert!((20..120).contains(&left.len()), "{}", left.len());
    ids.reverse();
    assert_eq!(left, ids[..left.len()], "the newest stay");
}

#[tokio::test]
async fn finished_actions_go_with_age_and_no_others() {
    let mut world = World::with(|config| config.history_age = Duration::ZERO);
    let client = world.client();
    let mut worker = world.worker("w").await;
    let done = client.execute(world.salted("done")).await.unwrap();
    worker.run(0).await;
    done.response().await;
    drop(worker);
    let mut options = ours();
    options.detach = true;
    let waits = client.execute_with(world.salted("waits"), |_| {}, Some(options)).await.unwrap();
    let id = waits.id();
    world.restart().await;
    let left = listed(&world.client()).await;
    assert_eq!(left.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), [id]);
}

/// Twice as much as the store may hold.
fn blobs(from: u32) -> Vec<Bytes> {
    (from..from + 40).map(|n| n.to_be_bytes().repeat(25_000).into()).collect()
}

const QUOTA: u64 = 2 << 20;

/// What is there of an open invocation is not evicted, whatever else comes; a foreign client that names no invocation
/// has no such promise.
#[tokio::test]
async fn an_open_invocation_loses_nothing_and_others_do() {
    let world = World::with_store(|store| store.quota = Some(QUOTA));
    let client = world.client();
    let upload = async |blobs: Vec<Bytes>, invocation: &str| -> Vec<Digest> {
        let mut digests = Vec::new();
        for data in blobs {
            let digest = hands_tree::hash(DigestFunction::Sha256, &data);
            digests.push(digest);
            let update = reapi::BatchUpdateBlobsRequest {
                requests: vec![reapi::batch_update_blobs_request::Request {
                    digest: Some(digest.into()),
                    data,
                    compressor: 0,
                }],
                ..Default::default()
            };
            let mut request = Request::new(update);
            let metadata = reapi::RequestMetadata {
                tool_invocation_id: invocation.into(),
                ..Default::default()
            };
            let metadata = MetadataValue::from_bytes(&metadata.encode_to_vec());
            request.metadata_mut().insert_bin(REQUEST_METADATA, metadata);
            let mut cas = ContentAddressableStorageClient::new(client.channel.clone());
            let reply = soon("the upload", cas.batch_update_blobs(request)).await.unwrap();
            let status = reply.into_inner().responses.remove(0).status.unwrap_or_default();
            assert_eq!(Code::from(status.code), Code::Ok, "{status:?}");
        }
        digests
    };
    let kept = upload(blobs(0), "open").await;
    let others = upload(blobs(1000), "").await;
    assert!(world.store.usage().total() > QUOTA, "pins may exceed the quota");
    world.store.gc().unwrap();
    assert_eq!(world.store.missing(&kept).unwrap(), []);
    assert!(!world.store.missing(&others).unwrap().is_empty());
}

/// What a queued action needs outlives the hub and the memory of its pins.
#[tokio::test]
async fn inputs_of_a_restored_action_stay_while_it_waits() {
    let mut world = World::with_store(|store| {
        store.quota = Some(QUOTA);
        store.restart_grace = Duration::ZERO;
    });
    let content = world.blob(&[7; 30_000]);
    let root = reapi::Directory {
        files: vec![reapi::FileNode {
            name: "input".into(),
            digest: Some(content.into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let root = world.blob(&root.encode_to_vec());
    let digest = world.action(|action, _| action.input_root_digest = Some(root.into()));
    let mut options = ours();
    options.detach = true;
    let name = {
        let client = world.client();
        let following = client.execute_with(digest, |_| {}, Some(options)).await.unwrap();
        following.name().to_owned()
    };
    world
        .reopen(|store: &mut StoreConfig| {
            store.quota = Some(QUOTA);
            store.restart_grace = Duration::ZERO;
        })
        .await;
    let store: Store = world.store.clone();
    // The action, its command, its directory and its file.
    soon("the pins", async {
        while store.usage().pinned < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for data in blobs(2000) {
        store.put_bytes(DigestFunction::Sha256, &data).unwrap();
    }
    store.gc().unwrap();
    assert_eq!(store.missing(&[content, root, digest]).unwrap(), []);
    let mut worker = world.worker("w").await;
    worker.run(0).await;
    let ended = world.client().wait(&name).await.unwrap().response().await;
    assert_eq!(code(&ended), Code::Ok);
}
